"""What the API shows: query, all, topics, key-value rows, metrics; and the two wake-up calls
(dtm-compat 1.5.10-1.5.18, 1.6, 7.1)."""
import json
import re
import time
from datetime import datetime
from urllib.parse import quote

import pytest

from api import JSON, SUCCESS, both, metrics, saga, value
from cluster import wait_until
from dtm import step

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def is_recent(text):
    assert TIME.fullmatch(text), text
    age = time.time() - datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return -60 < age < 600


def ok(answer):
    assert (answer.status, answer.type) == (200, JSON), answer
    return answer.json


def error(answer, text):
    assert (answer.status, answer.type, list(answer.json)) == (500, JSON, ["message"]), answer
    assert text in answer.message, answer


# --- query -----------------------------------------------------------------------------------------

def test_query_without_a_gid(api):
    error(api.get("query"), "no gid specified")
    error(api.get("query", gid=""), "no gid specified")


def test_query_of_an_unknown_gid(api):
    answer = api.get("query", gid="nobody;\r\n' \" \\ %00")
    assert ok(answer) == {"transaction": None, "branches": []}


def test_query_of_a_finished_saga(api, one):
    gid = api.new_gid()
    steps = [{"action": one.url("ok/a"), "compensate": one.url("ok/ac")},
             {"action": one.url("ok/b"), "compensate": one.url("ok/bc")}]
    api.done("submit", gid=gid, trans_type="saga", steps=steps, payloads=['{"n":1}', '{"n":2}'], wait_result=True,
             timeout_to_fail=600, request_timeout=60, retry_interval=20, branch_headers={"h": "v"}, retry_limit=3)
    found = api.query(gid)
    assert sorted(found) == ["branches", "transaction"]
    t = found["transaction"]
    assert (t["gid"], t["trans_type"], t["status"], t["protocol"]) == (gid, "saga", "succeed", "http")
    assert t["concurrent"] is False
    assert isinstance(t["id"], int) and 0 < t["id"] < 2 ** 31, "dtm's C# client reads 32 bits"
    assert is_recent(t["create_time"]) and is_recent(t["update_time"]) and is_recent(t["finish_time"])
    # Absent, not null: dtm's C# client has no room for a null in a time.
    assert "rollback_time" not in t and "rollback_reason" not in t and None not in t.values()
    assert [(b["branch_id"], b["op"], b["status"], b["url"], b["bin_data"]) for b in found["branches"]] == [
        ("01", "compensate", "prepared", one.url("ok/ac"), "eyJuIjoxfQ=="),
        ("01", "action", "succeed", one.url("ok/a"), "eyJuIjoxfQ=="),
        ("02", "compensate", "prepared", one.url("ok/bc"), "eyJuIjoyfQ=="),
        ("02", "action", "succeed", one.url("ok/b"), "eyJuIjoyfQ==")]
    for b in found["branches"]:
        assert b["gid"] == gid and isinstance(b["id"], int) and 0 < b["id"] < 2 ** 31
        assert is_recent(b["create_time"]) and is_recent(b["update_time"]) and None not in b.values()
        assert ("finish_time" in b) == (b["status"] == "succeed")
    assert [b["id"] for b in found["branches"]] == sorted({b["id"] for b in found["branches"]})


def test_query_of_a_failed_tcc_and_of_an_open_one(api, one):
    gid, open_one = api.new_gid(), api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    api.done("abort", gid=gid, trans_type="tcc", rollback_reason="changed <my> mind & \u2028 went home")
    api.wait(gid, "failed")
    t = api.transaction(gid)
    assert t["rollback_reason"] == "changed <my> mind & \u2028 went home"
    assert is_recent(t["rollback_time"]) and "finish_time" not in t
    api.done("submit", gid=open_one, trans_type="msg", steps=[{"action": one.url("ongoing/a")}], payloads=["1"],
             retry_interval=1000)
    wait_until(lambda: api.transaction(open_one).get("next_cron_interval") == 1000, "the answer was written down")
    t = api.transaction(open_one)
    assert TIME.fullmatch(t["next_cron_time"]) and "finish_time" not in t and "rollback_time" not in t
    assert api.statuses(open_one) == ["prepared"]


def test_a_transaction_of_sql_looks_the_same(api, one):
    gid = api.db.saga(step(one.url("ok/a"), one.url("ok/c"), {"n": 1}))
    api.wait(gid, "succeed")
    assert api.branches(gid) == [("01", "compensate", "prepared"), ("01", "action", "succeed")]


# --- all -------------------------------------------------------------------------------------------

@pytest.fixture
def five(api):
    """Five finished XAs with one prepared TCC after them, nothing newer."""
    gids = [api.new_gid("list") for _ in range(5)]
    for gid in gids:
        api.done("submit", gid=gid, trans_type="xa", wait_result=True)
    gids.append(api.new_gid("list"))
    api.done("prepare", gid=gids[-1], trans_type="tcc")
    return gids


def test_all_is_newest_first_in_pages(api, five):
    seen, position = [], ""
    while len(seen) < 6:
        page = ok(api.get("all", limit=2, position=position))
        assert sorted(page) == ["next_position", "transactions"] and len(page["transactions"]) == 2
        seen += [t["gid"] for t in page["transactions"]]
        position = page["next_position"]
        assert isinstance(position, str) and position
    assert seen == five[::-1]


def test_all_ends(api, five):
    total = api.count()
    position, seen = "", []
    while True:
        page = ok(api.get("all", limit=7, position=position))
        seen += [t["gid"] for t in page["transactions"]]
        position = page["next_position"]
        if not position:
            break
        assert len(page["transactions"]) == 7 and len(seen) <= total
    assert len(seen) == len(set(seen)) == total


def test_all_with_filters(api, five):
    def found(**filters):
        page = ok(api.get("all", limit=1000, **filters))["transactions"]
        return [t for t in page if t["gid"] in five], page
    mine, page = found(status="prepared")
    assert [t["gid"] for t in mine] == five[5:] and {t["status"] for t in page} == {"prepared"}
    mine, page = found(transType="xa")
    assert [t["gid"] for t in mine] == five[4::-1] and {t["trans_type"] for t in page} == {"xa"}
    assert found(transType="xa", status="prepared")[0] == []
    assert len(found()[0]) == 6


def test_all_by_time(api, five):
    """Milliseconds that are cut to seconds, both ends belong to it."""
    [created] = [int(t["create_time"] and datetime.fromisoformat(t["create_time"].replace("Z", "+00:00")).timestamp())
                 for t in ok(api.get("all", gid=five[2]))["transactions"]]

    def found(**filters):
        return [t["gid"] for t in ok(api.get("all", limit=1000, transType="xa", **filters))["transactions"]]
    assert five[2] in found(createTimeStart=created * 1000 - 5000)
    assert five[2] in found(createTimeStart=created * 1000 - 5000, createTimeEnd=created * 1000 + 5000)
    assert five[2] not in found(createTimeStart=created * 1000 + 5000)
    assert five[2] not in found(createTimeEnd=created * 1000 - 5000)


def test_all_of_one_gid(api, five):
    page = ok(api.get("all", gid=five[0], status="prepared", position="7"))
    assert [t["gid"] for t in page["transactions"]] == five[:1] and page["next_position"] == "7"
    assert page["transactions"][0] == api.transaction(five[0])
    assert ok(api.get("all", gid="nobody")) == {"next_position": "", "transactions": None}


def test_all_has_a_default_limit(api):
    for _ in range(101 - min(101, api.count())):
        api.done("prepare", gid=api.new_gid("fill"), trans_type="tcc")
    page = ok(api.get("all"))
    assert len(page["transactions"]) == 100 and page["next_position"]


@pytest.mark.parametrize("parameter", ["limit", "createTimeStart", "createTimeEnd"])
@pytest.mark.parametrize("value", ["x", "1.5", "1e3", "99999999999999999999999"])
def test_all_with_what_is_no_number(api, parameter, value):
    error(api.get("all", **{parameter: value}), f"convert to int error: {value}")


@pytest.mark.parametrize("op", ["all", "scanKV"])
@pytest.mark.parametrize("position", ["x", "' or true --", "-", "\x00", "9" * 400])
def test_a_position_that_nobody_gave(api, op, position):
    answer = api.get(op, position=position, cat="topics")
    assert answer.status in (200, 500) and isinstance(answer.json, dict)


@pytest.mark.parametrize("limit", ["0", "-1", "100000000"])
def test_a_strange_limit_is_survived(api, limit):
    answer = api.get("all", limit=limit)
    assert answer.status in (200, 500) and isinstance(answer.json, dict)


# --- waking up -------------------------------------------------------------------------------------

def waiting(api, one, retry_interval=1000):
    """A message whose branch said ONGOING and is asked again after the interval."""
    gid = api.new_gid()
    api.done("submit", gid=gid, trans_type="msg", steps=[{"action": one.url("ongoing/a", n=1)}], payloads=["1"],
             retry_interval=retry_interval)
    api.db.wait_attempts(gid, 1)
    return gid


def test_reset_next_cron_time(api, one):
    gid = waiting(api, one)
    api.passed_by(one)
    assert len(one.calls(gid=gid)) == 1
    api.done("resetNextCronTime", gid=gid)
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 2
    api.refused(500, "nobody", "resetNextCronTime", gid="nobody")
    api.done("resetNextCronTime", gid=gid)
    assert api.status(gid) == "succeed"


def test_reset_next_cron_time_beside_a_call_in_flight(api, one):
    gid, name, gate = api.new_gid(), api.new_gid("name"), api.new_gid("gate")
    api.done("submit", gid=gid, trans_type="msg", retry_interval=1000, request_timeout=1000, concurrent=True,
             steps=[{"action": one.url(f"error/{name}")}, {"action": one.url(f"hold/{gate}")}], payloads=["1", "2"])
    one.wait_calls(1, name=gate)
    api.db.wait_attempts(gid, 1)
    one.set_mode(name, "ok")
    api.done("resetNextCronTime", gid=gid)
    one.wait_calls(2, name=name)
    one.release(gate)
    api.wait(gid, "succeed")
    assert (len(one.calls(name=name)), len(one.calls(name=gate))) == (2, 1)
    assert api.db.q("select verb from dtm.event where gid = %s", gid) == [("retry_now",)]


def test_reset_cron_time(api, one):
    begin = api.db.one("select clock_timestamp()")
    gids = [waiting(api, one, 3000) for _ in range(3)]
    soon = waiting(api, one, 1000)
    assert ok(api.get("resetCronTime", timeout=2000, limit=100)) == {"has_remaining": False, "succeed_count": 3}
    for gid in gids:
        api.wait(gid, "succeed")
    assert api.status(soon) == "submitted"
    # Without parameters: 105 seconds, 100 rows.
    assert ok(api.get("resetCronTime")) == {"has_remaining": False, "succeed_count": 1}
    api.wait(soon, "succeed")
    assert ok(api.get("resetCronTime")) == {"has_remaining": False, "succeed_count": 0}
    assert api.db.q("select role, detail from dtm.event where verb = 'retry_all' and time >= %s order by time", begin
                    ) == [("postgres", "3 transactions"), ("postgres", "1 transaction")]
    for parameter in ("timeout", "limit"):
        error(api.get("resetCronTime", **{parameter: "x"}), "convert to int error: x")


# --- topics and key-value rows ---------------------------------------------------------------------

def kv(api, topic):
    [row] = ok(api.get("queryKV", cat="topics", key=topic))["kv"]
    return row


def test_subscribe_and_unsubscribe(api, one, two):
    topic = api.new_gid("topic")
    assert ok(api.get("subscribe", topic=topic, url=one.url("ok/t"), remark="first <&>")) == SUCCESS
    row = kv(api, topic)
    assert sorted(row) == ["cat", "create_time", "id", "k", "update_time", "v", "version"]
    assert (row["cat"], row["k"], row["version"]) == ("topics", topic, 1) and isinstance(row["id"], int)
    assert is_recent(row["create_time"]) and is_recent(row["update_time"])
    assert json.loads(row["v"]) == [{"url": one.url("ok/t"), "remark": "first <&>"}]
    assert ok(api.get("subscribe", topic=topic, url=two.url("ok/t"))) == SUCCESS
    assert kv(api, topic)["version"] == 2
    error(api.get("subscribe", topic=topic, url=two.url("ok/t")), "this url exists")
    assert ok(api.get("unsubscribe", topic=topic, url=one.url("ok/t"))) == SUCCESS
    assert [s["url"] for s in json.loads(kv(api, topic)["v"])] == [two.url("ok/t")]
    error(api.get("unsubscribe", topic=topic, url=one.url("ok/t")), "no such an url")
    assert ok(api.get("unsubscribe", topic=topic, url=two.url("ok/t"))) == SUCCESS
    assert (json.loads(kv(api, topic)["v"]), kv(api, topic)["version"]) == ([], 4), "the topic stays"
    error(api.get("unsubscribe", topic=topic, url=two.url("ok/t")), "this topic is empty")
    answer = api.request("DELETE", f"/api/dtmsvr/topic/{topic}")
    assert ok(answer) == SUCCESS
    assert ok(api.get("queryKV", cat="topics", key=topic)) == {"kv": []}
    error(api.request("DELETE", f"/api/dtmsvr/topic/{topic}"), "NotFound")
    error(api.get("unsubscribe", topic=topic, url=two.url("ok/t")), "no such a topic")
    first, second = f"topic {topic}: " + one.url("ok/t"), f"topic {topic}: " + two.url("ok/t")
    assert api.db.q("select verb, role, detail from dtm.event where detail ~ %s order by time", topic) == [
        ("subscribe", "postgres", first), ("subscribe", "postgres", second), ("unsubscribe", "postgres", first),
        ("unsubscribe", "postgres", second), ("drop_topic", "postgres", f"topic {topic}")]


@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
def test_topics_without_a_name_or_an_address(api, op):
    error(api.get(op, url="http://127.0.0.1:1/"), "empty topic")
    error(api.get(op, topic="t"), "empty url")
    assert ok(api.get("queryKV", cat="topics", key="t")) == {"kv": []}


def test_the_name_of_a_topic_is_decoded(api, one):
    topic = api.new_gid("t o/p%&ü")
    assert ok(api.get("subscribe", topic=topic, url=one.url("ok/t"), remark="")) == SUCCESS
    assert api.db.one("select count(*) from dtm.topic where topic = %s", topic) == 1
    answer = api.request("DELETE", "/api/dtmsvr/topic/" + quote(topic.replace("/", "-"), safe=""))
    error(answer, "NotFound")
    api.db.q("select dtm_drop_topic(%s)", topic)


def test_scan_kv(api, one):
    topics = [api.new_gid("scan") for _ in range(5)]
    for topic in topics:
        api.db.q("select dtm_subscribe(%s, %s, '')", topic, one.url("ok/t"))
    seen, position = [], ""
    for _ in range(2):
        page = ok(api.get("scanKV", cat="topics", limit=2, position=position))
        assert sorted(page) == ["kv", "next_position"] and len(page["kv"]) == 2
        seen += [row["k"] for row in page["kv"]]
        position = page["next_position"]
        assert position
    assert seen == topics[:0:-1], "newest first"
    assert ok(api.get("scanKV", cat="nothing")) == {"kv": [], "next_position": ""}
    assert len(ok(api.get("scanKV", cat="topics"))["kv"]) >= 5
    assert len(ok(api.get("queryKV", cat="topics"))["kv"]) >= 5
    assert [row["k"] for row in ok(api.get("queryKV", key=topics[0]))["kv"]] == topics[:1]
    error(api.get("scanKV", cat="topics", limit="x"), "convert to int error: x")


# --- metrics ---------------------------------------------------------------------------------------

def test_metrics_have_dtms_names_and_count(api, one):
    before, types = metrics(api)
    assert {n: types.get(n) for n in (
        "dtm_server_info", "dtm_server_process_total", "dtm_server_response_duration",
        "dtm_transaction_process_total", "dtm_transaction_handled_duration", "dtm_branch_process_total")} == {
            "dtm_server_info": "gauge", "dtm_server_process_total": "counter",
            "dtm_server_response_duration": "histogram", "dtm_transaction_process_total": "counter",
            "dtm_transaction_handled_duration": "histogram", "dtm_branch_process_total": "counter"}
    assert value(before, "dtm_server_info") == 1
    for _ in range(3):
        api.done("submit", gid=api.new_gid(), trans_type="saga", wait_result=True, payloads=["1", "2"],
                 steps=[{"action": one.url("ok/a")}, {"action": one.url("ok/b")}])
    api.refused(500, "trans type", "submit", gid=api.new_gid(), trans_type="nonsense")
    after, _ = metrics(api)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)
    assert grown("dtm_server_process_total", type="http", api="submit", status="ok") == 3
    assert grown("dtm_server_process_total", type="http", api="submit", status="fail") == 1
    assert grown("dtm_server_response_duration_count", type="http", api="submit") == 4
    assert grown("dtm_server_response_duration_bucket", type="http", api="submit", le="+Inf") == 4
    assert grown("dtm_transaction_process_total", model="saga", status="ok") == 3
    assert grown("dtm_transaction_handled_duration_count", model="saga") == 3
    assert grown("dtm_branch_process_total", model="saga", branchtype="action", status="ok") == 6


# --- times -----------------------------------------------------------------------------------------

def test_times_where_it_is_tomorrow(server, one):
    """Whatever the time zone of the server is, a time is the moment that it was."""
    api = server(timezone="Pacific/Kiritimati")
    gid = saga(api, both(one, "ok"), wait_result=True)
    found = api.query(gid)
    times = [v for row in (found["transaction"], *found["branches"]) for k, v in row.items() if k.endswith("_time")]
    assert len(times) >= 7 and all(is_recent(t) for t in times), times
    created = datetime.fromisoformat(found["transaction"]["create_time"].replace("Z", "+00:00"))
    ms = int(created.timestamp() * 1000)

    def listed(**filters):
        return [t["gid"] for t in ok(api.get("all", **filters))["transactions"] or []]
    assert listed(createTimeStart=ms - 5000, createTimeEnd=ms + 5000) == [gid]
    assert listed(createTimeStart=ms + 5000) == listed(createTimeEnd=ms - 5000) == []
    [row] = ok(api.get("all"))["transactions"]
    assert is_recent(row["create_time"]) and is_recent(row["finish_time"])
