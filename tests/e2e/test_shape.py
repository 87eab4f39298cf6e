"""The exact shape of a branch call (dtm-compat 4.2, 4.5)."""
import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from dtm import step


def request_with(payload, url, compensate=None, **fields):
    steps = [{"action": url} | ({"compensate": compensate} if compensate else {})]
    return {"trans_type": "saga", "steps": steps, "payloads": [payload]} | fields


def only_call(db, service, gid):
    db.wait(gid, "succeed")
    calls = service.calls(gid=gid)
    assert len(calls) == 1, calls
    return calls[0]


def test_query_parameters_are_the_four_sorted_ones(db, one):
    gid = db.saga(step(one.url("ok/shape"), payload={"a": 1}))
    call = only_call(db, one, gid)
    assert call.target == f"/ok/shape?branch_id=01&gid={gid}&op=action&trans_type=saga"


def test_parameters_are_appended_to_an_existing_query(db, one):
    gid = db.saga(step(one.url("ok/shape") + "?zebra=1&gid=mine&empty=", payload={"a": 1}))
    db.wait(gid, "succeed")
    call = one.calls(name="shape")[-1]
    assert call.target == (f"/ok/shape?zebra=1&gid=mine&empty=&branch_id=01&gid={gid}&op=action"
                           "&trans_type=saga")


def test_gid_is_url_encoded(db, one):
    gid = db.new_gid("a b&c=d/e?ü+%")
    db.saga(step(one.url("ok/shape"), payload={}), gid=gid)
    call = only_call(db, one, gid)
    assert parse_qsl(urlsplit(call.target).query) == [
        ("branch_id", "01"), ("gid", gid), ("op", "action"), ("trans_type", "saga")]


@pytest.mark.parametrize("payload", [
    '{"amount":30}', '{ "b" : 1 ,\n\t"a":  "two  spaces" }', '{"name":"Zoë Ωmega 漢字 🐘","esc":"\\u00e9\\n"}',
    "null", "not json at all", " ", '{"a":1}{"b":2}', "x" * 100_000, "ü" * 450_000,
], ids=["compact", "whitespace", "non-ascii", "null", "text", "blank", "two values", "100 kB", "900 kB"])
def test_payload_bytes_travel_untouched(db, one, payload):
    gid = db.submit_request(request_with(payload, one.url("ok/payload")))
    call = only_call(db, one, gid)
    assert call.method == "POST"
    assert call.body == payload.encode()
    assert call.header("Content-Length") == [str(len(payload.encode()))]


def test_payload_of_dtm_step_is_the_same_json(db, one):
    payload = {"text": "Zoë \n 漢字", "n": 1.50, "list": [1, None, True], "deep": {"a": {}}}
    gid = db.saga(step(one.url("ok/payload"), payload=payload))
    call = only_call(db, one, gid)
    assert json.loads(call.body) == payload


def test_content_type_is_json(db, one):
    gid = db.saga(step(one.url("ok/shape"), payload={"a": 1}))
    assert only_call(db, one, gid).header("Content-Type") == ["application/json"]


def test_no_expect_and_no_chunks(db, one):
    gid = db.submit_request(request_with("x" * 1_000_000, one.url("ok/shape")))
    call = only_call(db, one, gid)
    assert call.header("Transfer-Encoding") == []
    assert call.header("Expect") == []


@pytest.mark.parametrize("form", ["request", "step"])
def test_empty_payload_is_a_get(db, one, form):
    if form == "request":
        gid = db.submit_request(request_with("", one.url("ok/shape")))
    else:
        gid = db.saga(step(one.url("ok/shape")))
    call = only_call(db, one, gid)
    assert (call.method, call.body) == ("GET", b"")
    assert call.target == f"/ok/shape?branch_id=01&gid={gid}&op=action&trans_type=saga"


def test_branch_headers_are_sent_and_win(db, one):
    gid = db.saga(step(one.url("ok/shape"), payload={"a": 1}),
                  branch_headers={"X-Tenant": "blue", "Content-Type": "application/x-own", "X-Empty": ""})
    call = only_call(db, one, gid)
    assert call.header("X-Tenant") == ["blue"]
    assert call.header("Content-Type") == ["application/x-own"]


def test_branch_headers_go_with_compensations_too(db, one):
    gid = db.saga(step(one.url("ok/a"), one.url("ok/b"), {"a": 1}), step(one.url("fail/c"), None, {}),
                  branch_headers={"X-Tenant": "blue"})
    db.wait(gid, "failed")
    assert [c.header("X-Tenant") for c in one.calls(gid=gid)] == [["blue"]] * 3


def test_compensation_gets_the_payload_and_id_of_its_action(db, one):
    gid = db.submit_request({"trans_type": "saga", "payloads": ['{"a" :1}', '{"b" :2}'], "steps": [
        {"action": one.url("ok/a"), "compensate": one.url("ok/undo")},
        {"action": one.url("fail/b"), "compensate": one.url("ok/undo")}]})
    db.wait(gid, "failed")
    assert [(c.branch_id, c.op, c.body) for c in one.calls(gid=gid)] == [
        ("01", "action", b'{"a" :1}'), ("02", "action", b'{"b" :2}'),
        ("02", "compensate", b'{"b" :2}'), ("01", "compensate", b'{"a" :1}')]


def test_branch_ids_have_at_least_two_digits(db, one):
    gid = db.saga(*[step(one.url("ok/many"), payload={}) for _ in range(101)])
    db.wait(gid, "succeed")
    ids = [c.branch_id for c in one.calls(gid=gid)]
    assert ids == [f"{n:02}" for n in range(1, 102)]


def test_message_says_trans_type_msg(db, one):
    gid = db.msg(step(one.url("ok/shape"), payload={"a": 1}))
    assert only_call(db, one, gid).target.endswith(f"gid={gid}&op=action&trans_type=msg")


def test_connections_are_reused(db, one):
    for _ in range(5):
        db.wait(db.saga(*[step(one.url("ok/reuse"), payload={})] * 4), "succeed")
    calls = one.calls(name="reuse")
    assert len(calls) == 20
    assert len({c.conn for c in calls}) <= 3, "a new connection for every call"


def test_redirects_are_not_followed(db, one):
    gid = db.saga(step(one.url("status/redirect", status=302), payload={}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    assert db.status(gid) == "submitted"
    assert len(one.calls(gid=gid)) == 1
