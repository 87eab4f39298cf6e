"""The language of the API: routes, statuses, bodies, types of contents, what is tolerated and what is refused
(dtm-compat 1.1-1.3, 1.5, 1.7)."""
import json
import re

import pytest

from api import BASE, JSON, Raw, chunked_text, get_text, post_text
from cluster import wait_until

# --- routes ----------------------------------------------------------------------------------------

ROUTES = [("GET", "version"), ("GET", "newGid"), ("POST", "prepare"), ("POST", "submit"), ("POST", "abort"),
          ("POST", "forceStop"), ("POST", "registerBranch"), ("POST", "registerXaBranch"),
          ("POST", "registerTccBranch"), ("POST", "prepareWorkflow"), ("GET", "query"), ("GET", "all"),
          ("GET", "resetCronTime"), ("POST", "resetNextCronTime"), ("GET", "subscribe"), ("GET", "unsubscribe"),
          ("DELETE", "topic/nobody"), ("GET", "scanKV"), ("GET", "queryKV")]


def is_unknown(answer):
    return (answer.status, answer.text.strip(), answer.type.partition(";")[0]) == (
        404, "404 page not found", "text/plain")


@pytest.mark.parametrize("method, op", ROUTES)
def test_every_route_is_there(api, method, op):
    answer = api.request(method, BASE + op, b"" if method == "POST" else None)
    assert answer.status in (200, 400, 500), answer
    assert isinstance(answer.json, dict)


@pytest.mark.parametrize("method, op", ROUTES)
def test_a_wrong_method_is_an_unknown_page(api, method, op):
    for wrong in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - {method}:
        assert is_unknown(api.request(wrong, BASE + op)), wrong


@pytest.mark.parametrize("path", [
    BASE, BASE + "queryTopic", BASE + "metrics", BASE + "ping", BASE + "Submit", BASE + "SUBMIT", "/health", "/api",
    "/api/dtmsvr2/version", "/API/dtmsvr/version", BASE + "version/more", BASE + "%ff", "/api/ping/pong",
    BASE + "topic", "/" + "x" * 8000])
def test_unknown_paths(api, path):
    for method in ("GET", "POST"):
        assert is_unknown(api.request(method, path)), path


def test_head_is_no_method(api):
    answer = api.request("HEAD", BASE + "version")
    assert (answer.status, answer.body) == (404, b"")
    assert api.get("version").status == 200, "the connection is still in step"


@pytest.mark.parametrize("method, op, status", [(m, o, 301 if m == "GET" else 307) for m, o in ROUTES])
def test_a_trailing_slash_is_redirected(api, method, op, status):
    answer = api.request(method, BASE + op + "/?gid=a%20b", b"{}" if method == "POST" else None)
    assert answer.status == status, answer
    assert re.fullmatch(r"(http://127\.0\.0\.1:\d+)?" + re.escape(BASE + op) + r"\?gid=a%20b",
                        answer.header("Location")), answer.headers


def test_a_redirect_names_the_same_topic(api):
    path = BASE + "topic/orders%3Fold%25%20x"
    answer = api.request("DELETE", path + "/")
    assert answer.status == 307 and answer.header("Location").endswith(path), answer.headers


def test_doubled_slashes(api):
    """404 as in dtm, or accepted: services behind dtm's C# client produce them (appendix A)."""
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    answer = api.request("POST", "/api/dtmsvr//registerBranch", {
        "gid": gid, "trans_type": "tcc", "branch_id": "01", "confirm": "http://127.0.0.1:1/", "cancel": "", "data": ""})
    assert answer.status == 200 and len(api.branches(gid)) == 2 or is_unknown(answer)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "ANYTHING"])
def test_ping_is_for_every_method(api, method):
    answer = api.request(method, "/api/ping")
    assert (answer.status, answer.json, answer.type) == (200, {"msg": "pong"}, JSON)


def test_version(api):
    answer = api.get("version")
    assert (answer.status, answer.type, list(answer.json)) == (200, JSON, ["version"])
    assert re.match(r"v\d+\.\d+", answer.json["version"])


# --- the connection --------------------------------------------------------------------------------

def test_keep_alive_and_pipelining(api):
    with Raw(api.cluster) as raw:
        for _ in range(3):
            raw.send(get_text("/api/ping"))
            assert raw.answer().json == {"msg": "pong"}
        gids = [api.new_gid("pipe") for _ in range(20)]
        raw.send(b"".join(post_text(BASE + "prepare", json.dumps({"gid": g, "trans_type": "tcc"})) for g in gids)
                 + get_text(BASE + "query?gid=" + gids[-1]).encode() + get_text("/api/nothing").encode())
        assert [raw.answer().status for _ in gids] == [200] * len(gids)
        assert raw.answer().json["transaction"]["gid"] == gids[-1], "answers come in the order of the requests"
        assert raw.answer().status == 404


def test_connection_close_and_http_1_0(api):
    with Raw(api.cluster) as raw:
        raw.send(get_text("/api/ping", "Connection: close"))
        assert raw.answer().status == 200 and raw.closed()
    with Raw(api.cluster) as raw:
        raw.send("GET /api/ping HTTP/1.0\r\n\r\n")
        assert raw.answer().json == {"msg": "pong"} and raw.closed()


def test_a_chunked_body(api):
    gid = api.new_gid()
    body = json.dumps({"gid": gid, "trans_type": "tcc"}).encode()
    with Raw(api.cluster) as raw:
        raw.send(chunked_text(BASE + "prepare", body[:7], body[7:8], body[8:]))
        assert raw.answer().json == {"dtm_result": "SUCCESS"}
        raw.send(get_text("/api/ping"))
        assert raw.answer().status == 200
    assert api.status(gid) == "prepared"


def test_expect_100_continue(api):
    body = json.dumps({"gid": api.new_gid(), "trans_type": "tcc"})
    with Raw(api.cluster) as raw:
        head, _, rest = post_text(BASE + "prepare", body, "Expect: 100-continue").partition(b"\r\n\r\n")
        raw.send(head + b"\r\n\r\n")
        assert raw.answer().status == 100
        raw.send(rest)
        assert raw.answer().status == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded",
                                          "nonsense", None])
def test_the_type_of_the_request_is_ignored(api, content_type):
    gid = api.new_gid()
    answer = api.request("POST", BASE + "prepare", {"gid": gid, "trans_type": "tcc"},
                         {"Content-Type": content_type} if content_type else {})
    assert (answer.status, answer.type) == (200, JSON)
    assert api.status(gid) == "prepared"


# --- newGid ----------------------------------------------------------------------------------------

def test_new_gid(api):
    answers = [api.get("newGid") for _ in range(100)]
    for a in answers:
        # dtm's Go client reads it into a map of strings, and only where the type is JSON.
        assert (a.status, a.type, a.json["dtm_result"], sorted(a.json)) == (200, JSON, "SUCCESS", ["dtm_result", "gid"])
        assert re.fullmatch(r"[^\x00-\x1f'\";\\]{1,128}", a.json["gid"])
    assert len({a.json["gid"] for a in answers}) == 100


# --- commands and statuses: table 5.2 --------------------------------------------------------------

COMMANDS = ("prepare", "submit", "abort", "forceStop", "registerBranch")
TABLE = {"none": (200, 200, 500, 500, 409), "prepared": (200,) * 5, "submitted": (409, 200, 409, 200, 409),
         "aborting": (409, 409, 200, 200, 409), "succeed": (409,) * 5, "failed": (409,) * 5}
BECOMES = {"submit": {"none": {"succeed"}, "prepared": {"submitted", "succeed"}},
           "abort": {"prepared": {"aborting", "failed"}}, "prepare": {"none": {"prepared"}},
           "forceStop": {s: {"failed"} for s in ("prepared", "submitted", "aborting")}}


def tcc_in(api, one, status, trans_type="tcc"):
    """A TCC (or XA) in that status, which lasts: its branch has no answer yet."""
    gid = api.new_gid(status)
    if status == "none":
        return gid
    api.done("prepare", gid=gid, trans_type=trans_type, retry_interval=1000)
    if status in ("submitted", "aborting"):
        api.done("registerBranch", gid=gid, trans_type=trans_type, branch_id="01", data="1",
                 **{k: one.url("ongoing/" + k) for k in ("confirm", "cancel", "url")})
    if status != "prepared":
        api.done("submit" if status in ("submitted", "succeed") else "abort", gid=gid, trans_type=trans_type)
    api.wait_status(gid, status)
    return gid


def command(api, op, gid, trans_type="tcc"):
    fields = {"branch_id": "02", "confirm": "", "cancel": "", "url": "", "data": ""} if op == "registerBranch" else {}
    return api.post(op, gid=gid, trans_type=trans_type, **fields)


@pytest.mark.parametrize("trans_type", ["tcc", "xa"])
@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("op", COMMANDS)
def test_what_a_command_does_in_each_status(api, one, status, op, trans_type):
    gid = tcc_in(api, one, status, trans_type)
    rows = len(api.query(gid)["branches"])
    answer = command(api, op, gid, trans_type)
    expected = TABLE[status][COMMANDS.index(op)]
    assert (answer.status, answer.type) == (expected, JSON), answer
    assert answer.json.get("dtm_result") == {200: "SUCCESS", 409: "FAILURE", 500: None}[expected]
    if expected == 200:
        assert "FAILURE" not in answer.text
        becomes = BECOMES.get(op, {}).get(status, {status})
        wait_until(lambda: api.status(gid) in becomes, f"{status} becomes {becomes} by {op}")
    else:
        assert api.status(gid) == (None if status == "none" else status)
    assert len(api.query(gid)["branches"]) == rows + (2 if op == "registerBranch" and status == "prepared" else 0)


@pytest.mark.parametrize("op, status, text", [
    ("prepare", "succeed", "current status 'succeed', cannot prepare. FAILURE"),
    ("submit", "failed", "current status 'failed', cannot "),
    ("abort", "submitted", "trans type: 'tcc' current status 'submitted', cannot abort. FAILURE"),
    ("abort", "none", "no TransGlobal with gid: GID found"),
    ("forceStop", "succeed", "global transaction force stop error. status: succeed. error: FAILURE"),
    ("registerBranch", "none", "no trans with gid: GID status: prepared found FAILURE"),
    ("registerBranch", "submitted", "no trans with gid: GID status: prepared found FAILURE"),
])
def test_refusals_have_dtms_words(api, one, op, status, text):
    gid = tcc_in(api, one, status)
    assert text.replace("GID", gid) in command(api, op, gid).message


def test_abort_of_a_message(api, one):
    gid = api.new_gid()
    body = {"gid": gid, "trans_type": "msg", "steps": [{"action": one.url("ok/a")}], "payloads": ["1"]}
    api.done("prepare", body)
    api.done("abort", body)
    assert (api.status(gid), api.statuses(gid)) == ("failed", ["prepared"])
    api.refused(409, "cannot abort. FAILURE", "abort", body)
    api.passed_by(one)
    assert one.sequence(gid) == []


@pytest.mark.parametrize("trans_type", ["saga", "workflow"])
def test_a_saga_or_a_workflow_cannot_be_aborted(api, one, trans_type):
    gid = api.new_gid()
    body = {"gid": gid, "trans_type": trans_type}
    if trans_type == "saga":
        api.done("prepare", body | {"steps": [{"action": one.url("ok/a")}], "payloads": ["1"]})
    else:
        api.post("prepareWorkflow", body | {"query_prepared": one.url("ok/w"), "custom_data": '{"name":"w"}'})
    api.refused(409, f"trans type: '{trans_type}' current status 'prepared', cannot abort. FAILURE", "abort", body)
    assert api.status(gid) == "prepared"


def test_force_stop_calls_nobody(api, one):
    gid = tcc_in(api, one, "submitted")
    before = len(one.wait_calls(1, gid=gid))
    api.done("forceStop", gid=gid)
    found = api.transaction(gid)
    assert found["status"] == "failed" and found["rollback_time"] and "finish_time" not in found
    api.passed_by(one)
    assert len(one.calls(gid=gid)) == before


def test_prepare_again_changes_nothing(api, one):
    gid = api.new_gid()
    body = {"gid": gid, "trans_type": "msg", "steps": [{"action": one.url("ok/a")}], "payloads": ["1"],
            "query_prepared": one.url("ok/q")}
    api.done("prepare", body)
    before = api.query(gid)
    api.done("prepare", body | {"steps": [{"action": one.url("ok/other")}] * 2, "payloads": ["2", "3"]})
    assert api.query(gid) == before


# --- registerBranch --------------------------------------------------------------------------------

@pytest.mark.parametrize("op", ["registerBranch", "registerTccBranch", "registerXaBranch"])
def test_the_three_names_of_register_branch(api, op):
    tcc, xa = api.new_gid(), api.new_gid()
    api.done("prepare", gid=tcc, trans_type="tcc")
    api.done("prepare", gid=xa, trans_type="xa")
    # status and try: what old clients send.
    api.done(op, gid=tcc, trans_type="tcc", branch_id="01", data='{"a":1}', confirm="http://127.0.0.1:1/c",
             cancel="http://127.0.0.1:1/x", status="prepared", **{"try": "http://127.0.0.1:1/t"})
    api.done(op, gid=xa, trans_type="xa", branch_id="0101", url="http://127.0.0.1:1/p2", data=None)
    cancel, confirm = api.query(tcc)["branches"]
    assert [(b["branch_id"], b["op"], b["status"], b["url"], b["bin_data"]) for b in (cancel, confirm)] == [
        ("01", "cancel", "prepared", "http://127.0.0.1:1/x", "eyJhIjoxfQ=="),
        ("01", "confirm", "prepared", "http://127.0.0.1:1/c", "eyJhIjoxfQ==")]
    rollback, commit = api.query(xa)["branches"]
    assert [(b["branch_id"], b["op"], b["status"], b["url"], "bin_data" in b) for b in (rollback, commit)] == [
        ("0101", "rollback", "prepared", "http://127.0.0.1:1/p2", False),
        ("0101", "commit", "prepared", "http://127.0.0.1:1/p2", False)]


def test_a_branch_is_registered_once(api):
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    branch = {"gid": gid, "trans_type": "tcc", "branch_id": "10", "data": "1", "confirm": "http://127.0.0.1:1/c",
              "cancel": "http://127.0.0.1:1/x"}
    api.done("registerBranch", branch)
    # dtm's old PHP client gives its tenth branch the name of the first (appendix A).
    assert api.post("registerBranch", branch | {"data": "2"}).status == 500
    assert len(api.branches(gid)) == 2


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"text"', b"nonsense", b'{"gid":"GID","trans_type":"tcc","branch_id":1}',
    b'{"gid":"GID","trans_type":"tcc","branch_id":"01","data":{"a":1}}',
    b'{"gid":"GID","trans_type":"tcc","branch_id":"01","data":true}', b'{"gid":\xff}'])
def test_a_registration_that_cannot_be_read_is_a_400(api, body):
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    answer = api.post("registerBranch", body.replace(b"GID", gid.encode()))
    assert answer.status == 400 and list(answer.json) == ["message"] and answer.message, answer
    assert api.branches(gid) == []


def test_garbage_after_a_registration_is_ignored(api):
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    api.done("registerBranch", json.dumps({"gid": gid, "trans_type": "tcc", "branch_id": "01", "data": "1",
                                           "confirm": "", "cancel": ""}) + " and so on {")
    assert len(api.branches(gid)) == 2


def test_an_unknown_type_cannot_be_registered(api):
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    api.refused(500, "trans type: nonsense", "registerBranch", gid=gid, trans_type="nonsense", branch_id="01")


# --- what is tolerated: 1.1.1, 1.4 -----------------------------------------------------------------

def saga_text(gid, url, more=""):
    return f'{{"gid":"{gid}","trans_type":"saga","steps":[{{"action":"{url}"}}],"payloads":["1"]{more}}}'


@pytest.mark.parametrize("more", [
    ',"subType":"1","subType":"2"', ',"passthrough_headers":[]', ',"branch_id":"01","op":"action","url":"x","dtm":"y"',
    ',"status":"failed","options":"{}","ext_data":"x","owner":"me","result":"r","id":7',
    ',"next_cron_interval":3,"next_cron_time":"2026-01-02T03:04:05Z","create_time":null,"finish_time":"x"',
    ',"custom_data":null,"query_prepared":null,"protocol":null,"wait_result":null,"timeout_to_fail":null,'
    '"request_timeout":null,"retry_interval":null,"branch_headers":null,"concurrent":null,"retry_limit":null,'
    '"retry_count":null,"rollback_reason":null,"req_extra":null', ',"custom_data":""', ',"protocol":""', '  \n\t',
    ',"retry_count":0,"unknown":{"deep":[1,2,{"a":null}]}', ',"branch_headers":{}', ',"retry_limit":0'])
def test_what_other_clients_send_is_tolerated(api, one, more):
    gid = api.new_gid()
    api.done("submit", saga_text(gid, one.url("ok/a"), more))
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] and one.calls(gid=gid)[0].body == b"1"


def test_keys_in_any_case_and_the_last_duplicate_wins(api, one):
    gid = api.new_gid()
    api.done("submit", f'{{"GID":"nobody","Gid":"{gid}","Trans_Type":"msg","STEPS":[{{"action":"{one.url("ok/a")}"}}],'
             '"payLoads":["1"],"payloads":["2"]}')
    api.wait(gid, "succeed")
    assert one.calls(gid=gid)[0].body == b"2"
    assert api.status("nobody") is None


def test_payloads_in_the_steps_as_long_ago(api, one):
    """F19: `data` of a step, no `payloads`, and a type that is not JSON's."""
    gid = api.new_gid()
    answer = api.request("POST", BASE + "submit", {"gid": gid, "trans_type": "saga", "steps": [
        {"action": one.url("ok/a"), "compensate": "", "data": '{"n":1}'},
        {"action": one.url("ok/b"), "compensate": "", "data": '{"n":2}'}]}, {"Content-Type": "text/plain"})
    assert answer.status == 200, answer
    api.wait(gid, "succeed")
    assert [c.body for c in one.calls(gid=gid)] == [b'{"n":1}', b'{"n":2}']


def test_payloads_without_a_step_are_ignored(api, one):
    gid = api.new_gid()
    api.done("submit", gid=gid, trans_type="msg", steps=[{"action": one.url("ok/a")}], payloads=["1", "2", "3"])
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 1


# --- what is refused, and leaves nothing -----------------------------------------------------------

BAD = {
    "empty": b"", "half": b'{"gid":"GID"', "a list": b"[]", "null": b"null", "text": b'"GID"', "not JSON": b"gid=GID",
    "garbage after it": b'{"gid":"GID","trans_type":"tcc"} x', "two": b'{"gid":"GID","trans_type":"tcc"}{}',
    "not UTF-8": b'{"gid":"GID\xff","trans_type":"tcc"}', "BOM": b'\xef\xbb\xbf{"gid":"GID","trans_type":"tcc"}',
    "NUL": b'{"gid":"GID\\u0000","trans_type":"tcc"}', "deep": b'{"gid":"GID","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no gid": b'{"trans_type":"tcc"}', "gid a number": b'{"gid":1,"trans_type":"tcc"}',
    "long gid": b'{"gid":"' + b"g" * 129 + b'","trans_type":"tcc"}',
    "no type": b'{"gid":"GID"}', "unknown type": b'{"gid":"GID","trans_type":"at"}',
    "type a number": b'{"gid":"GID","trans_type":3}',
    "bool a string": b'{"gid":"GID","trans_type":"tcc","wait_result":"true"}',
    "bool a number": b'{"gid":"GID","trans_type":"tcc","wait_result":1}',
    "number a string": b'{"gid":"GID","trans_type":"tcc","timeout_to_fail":"3"}',
    "fraction": b'{"gid":"GID","trans_type":"tcc","retry_interval":1.5}',
    "huge": b'{"gid":"GID","trans_type":"tcc","request_timeout":1e300}',
    "headers a list": b'{"gid":"GID","trans_type":"tcc","branch_headers":["a"]}',
    "header a number": b'{"gid":"GID","trans_type":"tcc","branch_headers":{"a":1}}',
    "header with a line break": b'{"gid":"GID","trans_type":"tcc","branch_headers":{"a":"b\\r\\nHost: evil"}}',
    "steps an object": b'{"gid":"GID","trans_type":"saga","steps":{},"payloads":[]}',
    "step a string": b'{"gid":"GID","trans_type":"saga","steps":["http://127.0.0.1:1/"],"payloads":["1"]}',
    "action a number": b'{"gid":"GID","trans_type":"saga","steps":[{"action":1}],"payloads":["1"]}',
    "payload an object": b'{"gid":"GID","trans_type":"msg","steps":[{"action":""}],"payloads":[{"a":1}]}',
    "too few payloads": b'{"gid":"GID","trans_type":"msg","steps":[{"action":""},{"action":""}],"payloads":["1"]}',
    "orders a list": b'{"gid":"GID","trans_type":"saga","steps":[{"action":""}],"payloads":["1"],'
                     b'"custom_data":"{\\"concurrent\\":true,\\"orders\\":[0]}"}',
    "custom_data an object": b'{"gid":"GID","trans_type":"saga","steps":[{"action":""}],"payloads":["1"],'
                             b'"custom_data":{"concurrent":true}}',
    "topic of nobody": b'{"gid":"GID","trans_type":"msg","steps":[{"action":"topic://nobody-GID"}],"payloads":["1"]}',
    "no URL": b'{"gid":"GID","trans_type":"saga","steps":[{"action":"ftp://x/"}],"payloads":["1"]}',
}


@pytest.mark.parametrize("op", ["prepare", "submit"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_body_is_refused_and_leaves_nothing(api, kind, op):
    gid, before = api.new_gid("bad"), api.count()
    answer = api.post(op, BAD[kind].replace(b"GID", gid.encode()))
    assert (answer.status, answer.type, list(answer.json)) == (500, JSON, ["message"]), answer
    assert answer.message and len(answer.message) < 1000
    assert api.count() == before and api.status(gid) is None
    if kind == "topic of nobody":
        assert "topic not found" in answer.message


@pytest.mark.parametrize("op", ["abort", "forceStop", "resetNextCronTime", "prepareWorkflow"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"gid":""}', b'{"gid":7}', b'{"gid":"a"} x'])
def test_a_bad_body_of_other_commands_is_refused(api, op, body):
    before = api.count()
    answer = api.post(op, body)
    assert (answer.status, answer.type, list(answer.json)) == (500, JSON, ["message"]), answer
    assert api.count() == before
