"""Sagas and messages through the API (dtm-compat 5.4, 5.5, 5.9), what wait_result answers for them (1.5.4), and
what is the same for all types: headers, timeouts, intervals, old-style answers. The other types have files of their
own: test_api_tcc_xa.py, test_api_workflow.py; JSON-RPC is in test_api_rpc.py."""
import json
import time

import pytest

from api import both, msg, saga
from cluster import wait_until


LONG = 1000  # seconds: the next attempt comes when a test asks for it


def outcome(answer):
    return answer.status, answer.json.get("dtm_result")


SUCCEEDED, FAILED = (200, "SUCCESS"), (409, "FAILURE")

# --- saga ------------------------------------------------------------------------------------------


def test_saga(api, one):
    gid = saga(api, both(one, "ok"), both(one, "ok"))
    api.wait(gid, "succeed")
    assert api.statuses(gid) == ["prepared", "succeed", "prepared", "succeed"]
    assert [c.target.partition("?")[2] for c in one.calls(gid=gid)] == [
        f"branch_id={b}&gid={gid}&op=action&trans_type=saga" for b in ("01", "02")]
    assert [(c.method, c.body, c.header("Content-Type")) for c in one.calls(gid=gid)] == [
        ("POST", b'{"n":1}', ["application/json"]), ("POST", b'{"n":2}', ["application/json"])]


def test_saga_that_is_rolled_back(api, one):
    gid = saga(api, both(one, "ok"), both(one, "fail"))
    api.wait(gid, "failed")
    assert api.statuses(gid) == ["succeed", "succeed", "succeed", "failed"]
    assert one.sequence(gid) == ["01 action", "02 action", "02 compensate", "01 compensate"]
    reason = api.transaction(gid)["rollback_reason"]
    assert one.url("fail/s") in reason and "return failed" in reason and "refused" in reason


def test_a_prepared_saga_waits_for_its_submit(api, one):
    gid = saga(api, both(one, "ok"), op="prepare")
    api.passed_by(one)
    assert (api.status(gid), one.sequence(gid)) == ("prepared", [])
    assert saga(api, both(one, "ok"), gid=gid) == gid
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def concurrent(orders=None):
    return json.dumps({"concurrent": True, "orders": orders})


def test_concurrent_saga(api, one):
    gate = api.new_gid("gate")
    gid = saga(api, *[both(one, "hold", gate)] * 3, custom_data=concurrent(), concurrent=True, request_timeout=60)
    one.wait_calls(3, gid=gid)
    one.release(gate)
    api.wait(gid, "succeed")


def test_concurrent_saga_with_orders(api, one):
    """0 and 1 together, 2 and 3 after both; back: 2 and 3 before 0 and 1."""
    gates = [api.new_gid("gate") for _ in range(2)]
    gid = saga(api, both(one, "hold", gates[0]), both(one, "hold", gates[1]), both(one, "fail"), both(one, "ok"),
               custom_data=concurrent({"2": [0, 1], "3": [0, 1]}), request_timeout=60)
    one.wait_calls(2, gid=gid)
    one.release(gates[0])
    wait_until(lambda: one.effects(gid), "the first is done")
    api.passed_by(one)
    assert sorted(one.sequence(gid)) == ["01 action", "02 action"]
    one.release(gates[1])
    api.wait(gid, "failed")
    calls = one.sequence(gid)
    assert sorted(calls[2:4]) == ["03 action", "04 action"]
    back = calls[4:]
    assert sorted(back[:2]) == ["03 compensate", "04 compensate"], calls
    assert sorted(back[2:]) == ["01 compensate", "02 compensate"], calls


def test_orders_hold_without_concurrent_too(api, one):
    gid = saga(api, both(one, "ok"), both(one, "ok"), custom_data='{"orders":{"1":[0]}}')
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


def test_saga_timeout(api, one):
    begin = time.time()
    gid = saga(api, both(one, "ongoing"), both(one, "ok"), timeout_to_fail=4)
    api.wait(gid, "failed")
    assert api.statuses(gid) == ["succeed", "prepared", "prepared", "prepared"]
    assert api.transaction(gid)["rollback_reason"] == "Timeout after 4 seconds"
    assert one.calls(gid=gid, op="compensate")[0].at - begin > 3.9


@pytest.mark.parametrize("limit, status", [(3, "succeed"), (1, "failed")])
def test_saga_retry_limit(api, one, limit, status):
    """As dtm's own test has it: three errors pass with limit 3, and fail with limit 1."""
    gid = saga(api, both(one, "ok"), (one.url("error/s", n=limit if status == "succeed" else 3), one.url("ok/undo")),
               retry_limit=limit)
    api.wait(gid, status)
    if status == "failed":
        assert api.statuses(gid) == ["succeed", "succeed", "succeed", "prepared"]
        assert api.transaction(gid)["rollback_reason"] == "RetryCount is greater than RetryLimit, RetryLimit: 1"


def test_saga_with_empty_addresses(api, one):
    gid = saga(api, ("", ""), (one.url("ok/s"), ""), ("", one.url("ok/undo")), (one.url("fail/s"), ""))
    api.wait(gid, "failed")
    assert one.sequence(gid) == ["02 action", "04 action", "03 compensate"]


# --- saga: the answer that waits -------------------------------------------------------------------

def test_waiting_for_a_saga(api, one):
    gate = api.new_gid("gate")
    answer, gid = saga(api, both(one, "ok"), both(one, "slow"), answer=True, wait_result=True)
    assert outcome(answer) == SUCCEEDED
    assert api.status(gid) == "succeed" and one.effects(gid) == ["01 action", "02 action"], "answered after the end"
    # Without it, while a branch hangs:
    gid = saga(api, both(one, "hold", gate), request_timeout=60)
    assert api.status(gid) == "submitted"
    one.release(gate)
    api.wait(gid, "succeed")


def test_waiting_for_a_saga_that_fails(api, one):
    answer, gid = saga(api, both(one, "ok"), both(one, "fail"), answer=True, wait_result=True)
    assert outcome(answer) == FAILED and api.status(gid) == "failed"
    reason = api.transaction(gid)["rollback_reason"]
    assert answer.message == reason.removesuffix(" FAILURE") + " FAILURE" and "refused" in reason


@pytest.mark.parametrize("mode", ["error", "never", "reset"])
def test_waiting_for_a_saga_whose_branch_errs(api, one, mode):
    """Not a success, and no end either: it is retried."""
    answer, gid = saga(api, both(one, mode), answer=True, wait_result=True, request_timeout=1, retry_interval=LONG)
    assert outcome(answer) == FAILED and answer.message == "wait result not return success: FAILURE"
    assert api.status(gid) == "submitted"


def test_waiting_for_a_submit_that_is_refused(api, one):
    gid = saga(api, both(one, "ok"), wait_result=True)
    answer, _ = saga(api, both(one, "ok"), gid=gid, answer=True, wait_result=True)
    assert outcome(answer) == FAILED and "current status 'succeed'" in answer.message


# --- msg -------------------------------------------------------------------------------------------

def test_message_prepared_and_submitted(api, one):
    gid = msg(api, one.url("ok/a"), one.url("ok/b"), op="prepare", query_prepared=one.url("ok/q"))
    api.passed_by(one)
    assert (api.status(gid), api.statuses(gid), one.sequence(gid)) == ("prepared", ["prepared"] * 2, [])
    msg(api, one.url("ok/a"), one.url("ok/b"), gid=gid)
    api.wait(gid, "succeed")
    assert api.statuses(gid) == ["succeed", "succeed"]
    assert one.sequence(gid) == ["01 action", "02 action"], "nobody asked the query"


def test_a_message_that_nobody_submits_is_asked_for(api, one):
    begin = time.time()
    gid = msg(api, one.url("ok/a"), op="prepare", query_prepared=one.url("ok/q"), timeout_to_fail=2)
    api.wait(gid, "succeed")
    query, action = one.calls(gid=gid)
    assert (query.method, query.branch_id, query.op, query.body) == ("GET", "00", "msg", b"")
    assert query.target == f"/ok/q?branch_id=00&gid={gid}&op=msg&trans_type=msg"
    assert query.at - begin > 1.9 and (action.branch_id, action.op) == ("01", "action")


@pytest.mark.parametrize("mode", ["fail", "fail200"])
def test_a_message_whose_query_says_failure(api, one, mode):
    gid = msg(api, one.url("ok/a"), op="prepare", query_prepared=one.url(f"{mode}/q"), timeout_to_fail=1)
    api.wait(gid, "failed")
    assert api.statuses(gid) == ["prepared"]
    assert one.sequence(gid) == ["00 msg"]


@pytest.mark.parametrize("mode", ["ongoing", "ongoing200", "error"])
def test_a_message_whose_query_has_no_answer_yet(api, one, mode):
    gid = msg(api, one.url("ok/a"), op="prepare", query_prepared=one.url(f"{mode}/q", n=2), timeout_to_fail=1,
              retry_interval=LONG)
    api.tried(gid, 2, "00", "msg")
    assert api.status(gid) == "prepared"
    api.hurry(gid)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["00 msg"] * 3 + ["01 action"]


def test_a_message_with_a_delay(api, one):
    later = msg(api, one.url("ok/a"), custom_data='{"delay":1000}')
    begin = time.time()
    gid = msg(api, one.url("ok/a"), custom_data='{"delay":2}')
    api.wait(gid, "succeed")
    assert one.calls(gid=gid)[0].at - begin > 1.9
    assert (api.status(later), one.sequence(later)) == ("submitted", [])


def test_a_message_with_a_delay_that_is_over_can_be_hurried(api, one):
    gid = msg(api, one.url("ongoing/a", n=1), custom_data='{"delay":1}', retry_interval=LONG)
    api.tried(gid, 1)
    api.hurry(gid)
    api.wait(gid, "succeed")


def test_a_concurrent_message(api, one):
    gate = api.new_gid("gate")
    gid = msg(api, *[one.url(f"hold/{gate}")] * 3, concurrent=True, request_timeout=60)
    one.wait_calls(3, gid=gid)
    one.release(gate)
    api.wait(gid, "succeed")


def test_a_message_repeats_what_failed(api, one):
    gid = msg(api, one.url("fail/a", n=1), one.url("ok/b"), retry_interval=LONG)
    api.tried(gid, 1)
    api.hurry(gid)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "01 action", "02 action"]


def test_topics(api, one, two):
    topic = api.new_gid("topic")
    for service in (one, two):
        assert api.get("subscribe", topic=topic, url=service.url("ok/t")).status == 200
    gid = msg(api, f"topic://{topic}", one.url("ok/after"), op="prepare")
    assert api.branches(gid) == [("01-01", "action", "prepared"), ("01-02", "action", "prepared"),
                                 ("02", "action", "prepared")]
    # Frozen by the prepare: whoever subscribes later gets the next message.
    assert api.get("unsubscribe", topic=topic, url=two.url("ok/t")).status == 200
    msg(api, f"topic://{topic}", one.url("ok/after"), gid=gid)
    api.wait(gid, "succeed")
    assert (one.sequence(gid), two.sequence(gid)) == (["01-01 action", "02 action"], ["01-02 action"])
    single = msg(api, f"topic://{topic}")
    api.wait(single, "succeed")
    assert (one.sequence(single), two.sequence(single)) == (["01 action"], [])


def test_waiting_for_a_message(api, one):
    answer, gid = msg(api, one.url("ok/a"), one.url("slow/b"), answer=True, wait_result=True)
    assert outcome(answer) == SUCCEEDED and api.status(gid) == "succeed"
    answer, gid = msg(api, one.url("error/a"), answer=True, wait_result=True, retry_interval=LONG)
    assert outcome(answer) == (500, None) and "out of order" in answer.message and api.status(gid) == "submitted"


def test_waiting_for_a_message_with_a_delay(api, one):
    """Accepted, and not done."""
    answer, gid = msg(api, one.url("ok/a"), answer=True, wait_result=True, custom_data='{"delay":1000}')
    assert outcome(answer) == FAILED and answer.message == "wait result not return success: FAILURE"
    assert api.status(gid) == "submitted"
    api.passed_by(one)
    assert one.sequence(gid) == []


# --- all types -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, status", [("fail200", "failed"), ("ok", "succeed")])
def test_old_style_answers(api, one, mode, status):
    """F47: 200 with {"dtm_result": "FAILURE"} in the body."""
    answer, gid = saga(api, both(one, mode), answer=True, wait_result=True)
    assert outcome(answer) == (SUCCEEDED if status == "succeed" else FAILED) and api.status(gid) == status


def test_an_old_style_ongoing(api, one):
    gid = saga(api, (one.url("ongoing200/s", n=2), ""), retry_interval=LONG)
    api.tried(gid, 2)
    assert api.transaction(gid)["next_cron_interval"] == LONG
    api.hurry(gid)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] * 3


@pytest.mark.parametrize("status", [201, 202, 204, 302, 404])
def test_only_200_is_success(api, one, status):
    gid = saga(api, (one.url("status/s", status=status, n=1), ""), retry_interval=LONG)
    api.tried(gid, 1)
    assert api.transaction(gid)["next_cron_interval"] == 2 * LONG
    api.hurry(gid)
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 2


def test_an_empty_200_is_success(api, one):
    answer, _ = saga(api, (one.url("status/s", status=200), ""), answer=True, wait_result=True)
    assert outcome(answer) == SUCCEEDED


def test_branch_headers(api, one):
    gid = saga(api, both(one, "ok"), both(one, "fail"), branch_headers={"X-Tenant": "blue", "test_header": "t"})
    api.wait(gid, "failed")
    assert [(c.header("X-Tenant"), c.header("test_header")) for c in one.calls(gid=gid)] == [(["blue"], ["t"])] * 4
    gid = msg(api, one.url("ok/a"), op="prepare", query_prepared=one.url("ok/q"), timeout_to_fail=1,
              branch_headers={"X-Tenant": "red"})
    api.wait(gid, "succeed")
    assert [c.header("X-Tenant") for c in one.calls(gid=gid)] == [["red"]] * 2, "with the query, too"


def test_request_timeout(api, one):
    """A call may take longer than the server's 6 s, or less, as the request says."""
    gid = saga(api, (one.url("slow/s", ms=7000), ""), request_timeout=50)
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 1
    begin = time.monotonic()
    answer, gid = saga(api, both(one, "never"), answer=True, wait_result=True, request_timeout=1, retry_interval=LONG)
    assert answer.status != 200 and time.monotonic() - begin > 0.9


def test_retry_interval(api, one):
    gid = saga(api, (one.url("ongoing/s", n=2), ""), retry_interval=1)
    api.wait(gid, "succeed")
    calls = one.calls(gid=gid)
    assert all(b.at - a.at > 0.9 for a, b in zip(calls, calls[1:])) and len(calls) == 3
    gid = saga(api, (one.url("error/s"), ""), retry_interval=100)
    api.db.wait_attempts(gid, 1)
    assert api.transaction(gid)["next_cron_interval"] == 200, "an error doubles it"


def test_empty_payload_is_a_get(api, one):
    gid = msg(api, one.url("ok/a"), payloads=[""])
    api.wait(gid, "succeed")
    assert [(c.method, c.body) for c in one.calls(gid=gid)] == [("GET", b"")]
    gid = msg(api, one.url("ok/a"), payloads=["null"])
    api.wait(gid, "succeed")
    assert [(c.method, c.body) for c in one.calls(gid=gid)] == [("POST", b"null")]


def test_payload_bytes_travel_untouched(api, one):
    payload = '{ "z" : 1.50 ,\n "a":"Zoë 漢字 🐘 \\u00e9" }'
    body = json.dumps({"gid": (gid := api.new_gid()), "trans_type": "msg", "steps": [{"action": one.url("ok/a")}],
                       "payloads": [payload]}, ensure_ascii=False)
    api.done("submit", body)
    api.wait(gid, "succeed")
    assert one.calls(gid=gid)[0].body == payload.encode()
