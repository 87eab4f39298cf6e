"""Defects of dtm that a client of the API can see, and what happens here instead: one test at least per number of
dtm-compat 9.2 (design 7.2). What cannot be seen through HTTP: D5, D44, D45 (gRPC), D13 (webhook, test_retry.py),
D14-D16 (test_retry.py, test_trouble.py), D29, D42, D46, D47 (stores, drivers, pages we do not have), D39
(test_retention.py), D40, D41, D43 (test_lifecycle.py)."""
import json

import pytest

from api import SUCCESS, both, metrics, msg, saga, value, wait_listening
from cluster import wait_until

LONG = 1000  # seconds: the next attempt comes only when a test asks for it


def tcc(api, one, mode="ok", **options):
    """A prepared TCC with one branch."""
    gid = api.new_gid("tcc")
    api.done("prepare", gid=gid, trans_type="tcc", **options)
    api.done("registerBranch", gid=gid, trans_type="tcc", branch_id="01", data="1", confirm=one.url(f"{mode}/c"),
             cancel=one.url(f"{mode}/x"))
    return gid


def restart_coordinator(api):
    cluster, before = api.cluster, api.cluster.coordinators()
    cluster.expect("terminating (background worker|connection)", "due to administrator command")
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'dtm coordinator'")
    cluster.wait_coordinator(other_than=before)
    api.close()
    wait_listening(api)


@pytest.fixture
def reloaded(api):
    """Changes settings for one test: reloaded(timeout_to_fail=1)."""
    changed = {}

    def change(**settings):
        for name, new in settings.items():
            changed.setdefault(f"dtm.{name}", api.cluster.settings.get(f"dtm.{name}"))
            api.cluster.settings[f"dtm.{name}"] = new
        load()

    def load():
        api.cluster.reload()
        for name in changed:
            if name in api.cluster.settings:
                wait_until(lambda n=name: api.db.one("select setting from pg_settings where name = %s", n)
                           == str(api.cluster.settings[n]), f"{name} is loaded")
        # The coordinator has it as well: it looks at its settings before it takes up what comes.
        api.passed_by(api.one)
    yield change
    for name, old in changed.items():
        api.cluster.settings.pop(name) if old is None else api.cluster.settings.update({name: old})
    load()


@pytest.fixture(autouse=True)
def remember(api, one):
    api.one = one


# --- submitting again ------------------------------------------------------------------------------

@pytest.mark.parametrize("trans_type, op, key", [("tcc", "confirm", "confirm"), ("xa", "commit", "url")])
def test_d01_repeated_submit_of_a_tcc_waits_for_its_branches(api, one, trans_type, op, key):
    """dtm: succeed at once, although the confirmation is outstanding."""
    gid, gate = api.new_gid(), api.new_gid("gate")
    api.done("prepare", gid=gid, trans_type=trans_type, request_timeout=60)
    api.done("registerBranch", gid=gid, trans_type=trans_type, branch_id="01", data="1", cancel="",
             **{key: one.url(f"hold/{gate}")})
    api.done("submit", gid=gid, trans_type=trans_type)
    one.wait_calls(1, gid=gid)
    api.done("submit", gid=gid, trans_type=trans_type)
    api.passed_by(one)
    assert api.status(gid) == "submitted" and "succeed" not in api.statuses(gid)
    one.release(gate)
    api.wait(gid, "succeed")
    assert one.effects(gid) == [f"01 {op}"] and api.statuses(gid) == ["prepared", "succeed"]


@pytest.mark.parametrize("make", [saga, msg])
def test_d02_repeated_submit_calls_only_what_is_open(api, one, make):
    """dtm: all actions again, and rows that stay prepared."""
    actions = [one.url("ok/a"), one.url("ongoing/b", n=2), one.url("ok/c")]
    steps = [(a, one.url("ok/undo")) for a in actions] if make is saga else actions
    gid = make(api, *steps, retry_interval=LONG)
    for attempt in (1, 2):
        api.db.wait_attempts(gid, attempt, "02")
        assert make(api, *steps, gid=gid, retry_interval=LONG) == gid
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] + ["02 action"] * 3 + ["03 action"]
    assert set(s for b, op, s in api.branches(gid) if op == "action") == {"succeed"}


# --- JSON-RPC branches -----------------------------------------------------------------------------

def rpc_saga(api, one, error, payload='{"a":1}', **fields):
    url = one.url(f"status/{(name := api.new_gid('rpc'))}", status=200, body=json.dumps({"error": error}), method="m")
    gid = api.new_gid()
    api.done("submit", gid=gid, trans_type="saga", protocol="json-rpc", steps=[{"action": url}], payloads=[payload],
             **fields)
    return gid, name


def test_d03_codes_of_json_rpc_branches_count(api, one):
    """dtm: both are temporary errors."""
    gid, _ = rpc_saga(api, one, {"code": -32901, "message": "no"})
    api.wait(gid, "failed")
    gid, _ = rpc_saga(api, one, {"code": -32902, "message": "later"}, retry_interval=LONG)
    api.db.wait_attempts(gid, 1)
    assert api.transaction(gid)["next_cron_interval"] == LONG


@pytest.mark.parametrize("payload", ["", "null", "{}"])
def test_d04_json_rpc_branch_without_parameters(api, one, payload):
    """dtm: the round panics, for ever."""
    gid, name = rpc_saga(api, one, None, payload)
    api.wait(gid, "succeed")
    assert json.loads(one.calls(name=name)[0].body)["params"] == {
        "gid": gid, "trans_type": "saga", "branch_id": "01", "op": "action"}


@pytest.mark.parametrize("payload", ["[1]", "7", '"text"', "no JSON", "{"])
def test_d04_json_rpc_branch_with_a_payload_that_is_no_object(api, one, payload):
    """Refused once, at the submit: nobody would want a saga that can neither go on nor back."""
    before = api.count()
    api.refused(500, "payloads[0] must be the JSON text of an object", "submit", gid=api.new_gid(), trans_type="saga",
                protocol="json-rpc", steps=[{"action": one.url("ok/a", method="m")}], payloads=[payload])
    assert api.count() == before


@pytest.mark.parametrize("data", ["", "null", "[1]", "no JSON"])
def test_d04_data_of_a_json_rpc_tcc_branch(api, one, data):
    """It was registered, so it is called, without what is no object."""
    gid, name = api.new_gid(), api.new_gid("rpc")
    url = one.url(f"status/{name}", status=200, body='{"result":"ok"}', method="m")
    api.done("prepare", gid=gid, trans_type="tcc", protocol="json-rpc")
    api.done("registerBranch", gid=gid, trans_type="tcc", branch_id="01", data=data, confirm=url, cancel=url)
    api.done("submit", gid=gid, trans_type="tcc", protocol="json-rpc")
    api.wait(gid, "succeed")
    [call] = one.calls(name=name)
    assert json.loads(call.body)["params"] == {"gid": gid, "trans_type": "tcc", "branch_id": "01", "op": "confirm"}


# --- what is stored --------------------------------------------------------------------------------

def test_d06_results_of_workflow_steps_are_always_stored(api, one):
    """dtm with UpdateBranchSync=0: without their data, and whatever the status."""
    gid = api.new_gid()
    custom = json.dumps({"name": "w", "data": None})
    begin = {"gid": gid, "trans_type": "workflow", "custom_data": custom, "query_prepared": one.url("ok/w")}
    api.post("prepareWorkflow", begin)
    step = {"gid": gid, "trans_type": "workflow", "op": "action", "status": "succeed", "data": "the result"}
    api.done("registerBranch", step | {"branch_id": "01"})
    assert api.post("prepareWorkflow", begin).json["progresses"][0]["bin_data"] == "dGhlIHJlc3VsdA=="
    api.done("submit", gid=gid, trans_type="workflow", req_extra={"status": "failed"})
    assert api.post("registerBranch", step | {"branch_id": "02"}).status == 409


def test_d07_texts_of_any_length(api, one):
    """dtm: more than 1024 characters, and the transaction is stuck."""
    long = "Zoë " * 1000
    gid = saga(api, (one.url("status/s", status=409, body=long[:1500]), one.url("ok/undo")))
    api.wait(gid, "failed")
    assert long[:1500].strip() in api.transaction(gid)["rollback_reason"]
    gid = tcc(api, one)
    api.done("abort", gid=gid, trans_type="tcc", rollback_reason=long)
    api.wait(gid, "failed")
    assert api.transaction(gid)["rollback_reason"] == long
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc", custom_data=long, branch_headers={"X-Long": "x" * 4000})
    assert api.transaction(gid)["custom_data"] == long
    gid = api.new_gid()
    api.post("prepareWorkflow", gid=gid, trans_type="workflow", custom_data='{"name":"w"}', query_prepared="http://h/")
    api.done("submit", gid=gid, trans_type="workflow", req_extra={"status": "succeed", "result": "QUJD" * 5000})
    assert api.transaction(gid)["result"] == "QUJD" * 5000


def test_d08_the_timeout_that_applied_is_named(api, one, reloaded):
    """dtm: Timeout after 0 seconds."""
    reloaded(timeout_to_fail=2)
    gid = api.new_gid("tcc")
    api.done("prepare", gid=gid, trans_type="tcc")
    api.wait(gid, "failed")
    assert api.transaction(gid)["rollback_reason"] == "Timeout after 2 seconds"


# --- the answer that waits -------------------------------------------------------------------------

@pytest.mark.parametrize("make", [saga, msg])
def test_d10_an_ongoing_branch_is_told_as_dtm_does(api, one, make):
    """Kept, for dtm's clients expect an error and nothing finer: 409, and the transaction goes on."""
    url = one.url("ongoing/a", n=1)
    answer, gid = make(api, (url, "") if make is saga else url, answer=True, wait_result=True, retry_interval=LONG)
    assert (answer.status, answer.message) == (409, "wait result not return success: FAILURE"), answer
    assert api.status(gid) == "submitted"
    api.done("resetNextCronTime", gid=gid)
    api.wait(gid, "succeed")


@pytest.mark.parametrize("how, kind", [("submit", "tcc"), ("abort", "tcc"), ("submit", "msg")])
def test_d11_a_refusal_that_will_be_repeated_is_no_failure(api, one, how, kind):
    """dtm: 409 for a confirmation that said FAILURE, and calls it again later."""
    if kind == "msg":
        answer, gid = msg(api, one.url("fail/a"), answer=True, wait_result=True, retry_interval=LONG)
    else:
        gid = tcc(api, one, "fail", wait_result=True, retry_interval=LONG)
        answer = api.post(how, gid=gid, trans_type="tcc", wait_result=True)
    assert answer.status == 500 and "FAILURE" not in answer.text and "tried again" in answer.message, answer
    assert api.status(gid) == ("aborting" if how == "abort" else "submitted")


# --- intervals and retries -------------------------------------------------------------------------

def test_d12_the_back_off_ends_somewhere(api, one, reloaded):
    """dtm: 10, 20, 40 … without end."""
    reloaded(max_retry_interval=300)
    gid = saga(api, both(one, "error"), retry_interval=100)
    intervals = []
    for attempt in range(1, 6):
        api.db.wait_attempts(gid, attempt)
        intervals.append(api.transaction(gid)["next_cron_interval"])
        api.done("resetNextCronTime", gid=gid)
    assert intervals == [200, 300, 300, 300, 300]


def test_d17_topics_are_as_they_are_now(api, one, two):
    """dtm: a deleted topic goes on being used, one that is made again is not."""
    topic = api.new_gid("topic")
    for _ in range(3):
        assert api.get("subscribe", topic=topic, url=two.url("ok/t")).json == SUCCESS
        assert api.get("unsubscribe", topic=topic, url=two.url("ok/t")).json == SUCCESS
    assert api.request("DELETE", f"/api/dtmsvr/topic/{topic}").json == SUCCESS
    answer, gid = msg(api, f"topic://{topic}", answer=True)
    assert answer.status == 500 and "topic not found" in answer.message and api.status(gid) is None
    assert api.get("subscribe", topic=topic, url=one.url("ok/t")).json == SUCCESS
    gid = msg(api, f"topic://{topic}")
    api.wait(gid, "succeed")
    assert (one.sequence(gid), two.sequence(gid)) == (["01 action"], [])


def test_d18_a_subscription_is_usable_at_once(api, one):
    """dtm: after ConfigUpdateInterval, on each instance."""
    for _ in range(10):
        topic = api.new_gid("topic")
        assert api.get("subscribe", topic=topic, url=one.url("ok/t")).json == SUCCESS
        msg(api, f"topic://{topic}")


def test_d19_a_result_that_cannot_be_stored_now_ends_nobody(api, one):
    """dtm: an error while a concurrent message stores a status kills the process."""
    before, gate = api.cluster.coordinators(), api.new_gid("gate")
    gid = msg(api, *[one.url(f"hold/{gate}")] * 3, concurrent=True, request_timeout=60)
    one.wait_calls(3, gid=gid)
    with api.cluster.connect() as other, other.transaction():
        other.execute("select from dtm.trans where gid = %s for update", (gid,))
        one.release(gate)
        wait_until(lambda: len(one.effects(gid)) == 3, "all have answered")
        api.passed_by(one)
    api.wait(gid, "succeed")
    assert api.cluster.coordinators() == before


def test_d20_labels_of_metrics_are_bounded(api, one):
    """dtm: the query string is a label, and background rounds always are `ok`."""
    before, _ = metrics(api)
    for _ in range(5):
        api.query(api.new_gid("label"))
        api.get("all", gid=api.new_gid("label"))
        api.request("GET", f"/api/dtmsvr/{api.new_gid('label')}")
        api.request("DELETE", f"/api/dtmsvr/topic/{api.new_gid('label')}")
    gid = saga(api, *[(one.url("ok/a"), "")] * 150, (one.url("error/z"), ""), retry_interval=LONG)
    api.db.wait_attempts(gid, 1, "151")
    after, _ = metrics(api)
    grown = set(after) - set(before)
    assert not [labels for name, labels in after if "label-" in str(labels) or "gid=" in str(labels)]
    assert len({labels for name, labels in grown if name == "dtm_branch_process_total"}) < 50
    assert value(after, "dtm_server_process_total", api="query") >= 5
    assert value(after, "dtm_branch_process_total", status="fail") > value(before, "dtm_branch_process_total",
                                                                           status="fail")


# --- concurrency -----------------------------------------------------------------------------------

def test_d21_actions_in_flight_are_waited_for(api, one):
    """dtm: compensates a branch whose action is still running."""
    gate = api.new_gid("gate")
    gid = saga(api, both(one, "hold", gate), both(one, "fail"), custom_data='{"concurrent":true}', request_timeout=60)
    one.wait_calls(1, gid=gid, branch_id="02", op="compensate")
    api.passed_by(one)
    assert "01 action" in one.sequence(gid) and "01 compensate" not in one.sequence(gid)
    assert api.status(gid) == "aborting"
    one.release(gate)
    api.wait(gid, "failed")
    assert one.effects(gid) == ["01 action", "01 compensate"]
    assert api.statuses(gid) == ["succeed", "succeed", "succeed", "failed"]


def test_d22_waiting_lasts_as_long_as_the_request_allows(api, one, reloaded):
    """dtm: gives up after the server's RequestTimeout and two seconds."""
    reloaded(request_timeout=1)
    answer, gid = saga(api, (one.url("slow/s", ms=3500), ""), answer=True, wait_result=True, request_timeout=30)
    assert (answer.status, answer.json) == (200, SUCCESS) and api.status(gid) == "succeed"


def test_d23_retries_are_counted_per_branch_and_survive(api, one):
    """dtm: one counter for all branches, forgotten with each round."""
    limit = {"retry_limit": 2, "retry_interval": 1, "request_timeout": 60}
    gid = saga(api, (one.url("error/a", n=2), ""), (one.url("error/b", n=2), ""), **limit)
    api.wait(gid, "succeed")
    gate = api.new_gid("gate")
    gid = saga(api, (one.url(f"hold/{gate}", then="error"), one.url("ok/undo")), **limit)
    one.wait_calls(1, gid=gid)
    one.release(gate)
    api.wait(gid, "failed")
    assert one.sequence(gid) == ["01 action"] * 3 + ["01 compensate"]
    assert api.transaction(gid)["rollback_reason"] == "RetryCount is greater than RetryLimit, RetryLimit: 2"


def test_d28_registering_again_is_no_error_when_it_is_the_same(api, one):
    """dtm: 500 for a client that lost the answer and sends its registration again."""
    for trans_type, urls in (("tcc", {"confirm": one.url("ok/c"), "cancel": one.url("ok/x")}),
                             ("xa", {"url": one.url("ok/p")})):
        gid = api.new_gid()
        api.done("prepare", gid=gid, trans_type=trans_type)
        branch = {"gid": gid, "trans_type": trans_type, "branch_id": "01", "data": "1", **urls}
        api.done("registerBranch", branch)
        api.done("registerBranch", branch)
        assert len(api.branches(gid)) == 2
        for other in ({"data": "2"}, {name: one.url("ok/other") for name in urls}):
            assert api.post("registerBranch", branch | other).status == 500
        api.done("submit", gid=gid, trans_type=trans_type)
        api.wait(gid, "succeed")
        assert len(one.calls(gid=gid)) == 1


def test_d30_has_remaining_says_whether_there_are_more(api, one):
    """dtm: true whenever exactly `limit` rows were reset."""
    gids = [saga(api, (one.url("ongoing/a", n=1), ""), retry_interval=3000) for _ in range(3)]
    for gid in gids:
        api.db.wait_attempts(gid, 1)
    assert api.get("resetCronTime", timeout=2000, limit=2).json == {"has_remaining": True, "succeed_count": 2}
    assert api.get("resetCronTime", timeout=2000, limit=1).json == {"has_remaining": False, "succeed_count": 1}
    for gid in gids:
        api.wait(gid, "succeed")


@pytest.mark.parametrize("gid", ["it's", "x'; drop table dtm.trans; --", "' or '1'='1"])
def test_d31_a_quote_in_a_gid_is_only_a_character(api, gid):
    """dtm: becomes part of the SQL."""
    before = api.db.q("select gid, next_cron_time from dtm.trans order by gid")
    for op in ("resetNextCronTime", "forceStop", "abort", "prepare", "submit"):
        answer = api.post(op, gid=gid, trans_type="tcc")
        assert answer.status == 500 and "syntax" not in answer.message, answer
    assert api.query(gid) == {"transaction": None, "branches": []}
    assert api.db.q("select gid, next_cron_time from dtm.trans order by gid") == before


def test_d32_what_submit_says_is_kept(api, one):
    """dtm: the delay of a submit is lost when the server crashes."""
    gid = msg(api, one.url("ok/a"), op="prepare", query_prepared=one.url("ok/q"))
    msg(api, one.url("ok/a"), gid=gid, custom_data='{"delay":1000}', branch_headers={"X-Tenant": "blue"})
    restart_coordinator(api)
    api.passed_by(one)
    assert (api.status(gid), one.sequence(gid)) == ("submitted", [])
    other = msg(api, one.url("ongoing/a", n=1), op="prepare", query_prepared=one.url("ok/q"))
    msg(api, one.url("ongoing/a", n=1), gid=other, retry_interval=LONG, branch_headers={"X-Tenant": "blue"})
    api.db.wait_attempts(other, 1)
    restart_coordinator(api)
    api.done("resetNextCronTime", gid=other)
    api.wait(other, "succeed")
    assert [c.header("X-Tenant") for c in one.calls(gid=other)] == [["blue"]] * 2


def test_d33_a_submitted_one_is_not_taken_twice(api, one):
    """dtm: the cron picks it up while the submit's own round is running."""
    gate = api.new_gid("gate")
    options = {"retry_interval": 1, "request_timeout": 60}
    gid = msg(api, one.url(f"hold/{gate}"), op="prepare", query_prepared=one.url("ok/q"), timeout_to_fail=LONG,
              **options)
    msg(api, one.url(f"hold/{gate}"), gid=gid, timeout_to_fail=2, **options)
    one.wait_calls(1, gid=gid)
    later = msg(api, one.url("ok/a"), custom_data='{"delay":4}')
    api.wait(later, "succeed")
    assert one.sequence(gid) == ["01 action"]
    one.release(gate)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


# --- what is checked -------------------------------------------------------------------------------

@pytest.mark.parametrize("extra", [{"status": ""}, {"status": "submitted"}, {"status": "Succeed"}, {"status": "x"}, {},
                                   None])
def test_d35_a_workflow_ends_as_succeed_or_failed(api, one, extra):
    """dtm: stores any text."""
    gid = api.new_gid()
    api.post("prepareWorkflow", gid=gid, trans_type="workflow", custom_data='{"name":"w"}', query_prepared="http://h/")
    answer = api.post("submit", gid=gid, trans_type="workflow", req_extra=extra)
    assert answer.status == 500 and "status" in answer.message, answer
    assert api.status(gid) == "prepared"


@pytest.mark.parametrize("op", ["abort", "submit", "prepare"])
def test_d36_the_type_must_be_that_of_the_transaction(api, one, op):
    """dtm: aborts a saga as a TCC, and submits a TCC as a message."""
    stored = saga(api, both(one, "ok"), op="prepare")
    answer = api.post(op, gid=stored, trans_type="tcc")
    assert (answer.status, answer.json["dtm_result"]) == (409, "FAILURE"), answer
    gid = tcc(api, one)
    answer = api.post(op, gid=gid, trans_type="msg", steps=[{"action": one.url("ok/a")}], payloads=["1"])
    assert answer.status == 409, answer
    assert (api.status(stored), api.status(gid)) == ("prepared", "prepared")
    assert api.post("registerBranch", gid=gid, trans_type="xa", branch_id="02", url=one.url("ok/p")).status == 409
    api.passed_by(one)
    assert one.sequence(stored) == one.sequence(gid) == []


@pytest.mark.parametrize("op", ["prepare", "submit", "abort", "prepareWorkflow", "forceStop", "resetNextCronTime",
                                "registerBranch"])
@pytest.mark.parametrize("gid", ["", None])
def test_d37_an_empty_gid_is_refused(api, op, gid):
    """dtm: stores it."""
    before = api.count()
    answer = api.post(op, gid=gid, trans_type="workflow" if "W" in op else "tcc", custom_data='{"name":"w"}',
                      branch_id="01", query_prepared="http://h/")
    assert answer.status in (500, 400) and answer.json == {"message": answer.message} and "gid" in answer.message
    assert api.count() == before


def test_d37_messages_are_no_panic_texts(api):
    for body in ({"trans_type": "at"}, {"trans_type": "msg", "steps": [{"action": "http://h/"}], "payloads": []}):
        message = api.refused(500, "", "submit", body | {"gid": api.new_gid()})
        assert "panic" not in message and "runtime error" not in message and len(message) > 10


@pytest.mark.parametrize("char", [";", "\r", "\n", "\t", "\x7f", "'", '"', "\\"])
def test_d38_what_a_gid_may_not_hold_is_refused_everywhere(api, char):
    """dtm: taken out on HTTP, kept on JSON-RPC, so the transaction cannot be found under its name."""
    gid, before = f"{api.new_gid()}{char}x", api.count()
    for op in ("prepare", "submit"):
        assert api.post(op, gid=gid, trans_type="tcc").status == 500
        assert api.rpc(op, {"gid": gid, "trans_type": "tcc"}).json["error"]["code"] == -32603
    assert api.post("registerBranch", gid=gid, trans_type="tcc", branch_id="01").status in (409, 500)
    assert api.count() == before and api.status(gid.replace(char, "")) is None
