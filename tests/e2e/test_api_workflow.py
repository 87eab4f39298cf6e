"""Workflows through the API: the client drives, the server keeps its progress and calls it back
(dtm-compat 1.5.5, 1.5.9, 5.8)."""
import base64
import json

import pytest

from api import JSON
from cluster import wait_until


def b64(data):
    return base64.b64encode(data).decode()


def begin(api, one, gid=None, name="wf1", data=b'{"amount":30}', path="ok/resume", **options):
    """prepareWorkflow; returns the answer, which is that of an existing gid too."""
    gid = gid or api.new_gid("workflow")
    custom = json.dumps({"data": None if data is None else b64(data), "name": name})
    answer = api.post("prepareWorkflow", gid=gid, trans_type="workflow", custom_data=custom, concurrent=False,
                      query_prepared=one.url(path), protocol="http", **options)
    assert (answer.status, answer.type) == (200, JSON), answer
    assert isinstance(answer.json["transaction"], dict) and isinstance(answer.json["progresses"], list)
    return gid, answer.json


def progress(api, gid, branch_id="01", op="action", status="succeed", data="result"):
    return api.post("registerBranch", gid=gid, trans_type="workflow", branch_id=branch_id, op=op, status=status,
                    data=data)


def finish(api, gid, status="succeed", result=b"", reason=""):
    return api.post("submit", gid=gid, trans_type="workflow",
                    req_extra={"status": status, "rollback_reason": reason, "result": b64(result)})


def test_begin(api, one):
    gid, answer = begin(api, one)
    assert answer["progresses"] == []
    t = answer["transaction"]
    assert (t["gid"], t["trans_type"], t["status"]) == (gid, "workflow", "prepared")
    assert t["query_prepared"] == one.url("ok/resume")
    assert json.loads(t["custom_data"]) == {"name": "wf1", "data": b64(b'{"amount":30}')}
    assert "result" not in t and "rollback_reason" not in t and None not in t.values()


def test_resume_sees_the_progress(api, one):
    gid, _ = begin(api, one)
    texts = {"01": "first", "02": '{"json": "Zoë 漢字 🐘"}', "03": "", "04": "x" * 5000}
    for n, text in texts.items():
        assert progress(api, gid, n, data=text).status == 200
    assert progress(api, gid, "05", status="failed", data="no money").status == 200
    assert progress(api, gid, "04", op="commit").status == 200
    assert progress(api, gid, "04", op="rollback").status == 200
    assert progress(api, gid, "06", op="business").status == 200
    _, answer = begin(api, one, gid)
    assert [(p["branch_id"], p["op"], p["status"], base64.b64decode(p.get("bin_data", "")).decode())
            for p in answer["progresses"]] == [
                *((n, "action", "succeed", text) for n, text in texts.items()),
                ("05", "action", "failed", "no money"), ("04", "commit", "succeed", "result"),
                ("04", "rollback", "succeed", "result"), ("06", "business", "succeed", "result")]
    assert answer["progresses"] == api.query(gid)["branches"]


def test_a_step_is_recorded_once(api, one):
    gid, _ = begin(api, one)
    assert progress(api, gid, data="first").status == 200
    answer = progress(api, gid, data="second")
    assert answer.status == 500, "the second executor must stop"
    [row] = begin(api, one, gid)[1]["progresses"]
    assert base64.b64decode(row["bin_data"]) == b"first"


@pytest.mark.parametrize("status", ["succeed", "failed"])
def test_the_result(api, one, status):
    gid, _ = begin(api, one)
    assert progress(api, gid).status == 200
    answer = finish(api, gid, status, b"bytes \x00\xff" if status == "succeed" else b"",
                    "no money. FAILURE" if status == "failed" else "")
    assert (answer.status, answer.json) == (200, {"dtm_result": "SUCCESS"})
    _, answer = begin(api, one, gid)
    t = answer["transaction"]
    assert t["status"] == status and len(answer["progresses"]) == 1
    if status == "succeed":
        assert base64.b64decode(t["result"]) == b"bytes \x00\xff" and t["finish_time"] and "rollback_reason" not in t
    else:
        assert t["rollback_reason"] == "no money. FAILURE" and t["rollback_time"] and "finish_time" not in t


def test_a_second_result_is_refused(api, one):
    gid, _ = begin(api, one)
    assert finish(api, gid).status == 200
    answer = finish(api, gid, "failed", reason="changed my mind")
    assert answer.status == 500 and "NotFound" in answer.message, answer
    assert api.status(gid) == "succeed"
    assert finish(api, api.new_gid()).status == 500


@pytest.mark.parametrize("status", ["succeed", "failed"])
def test_no_progress_after_the_result(api, one, status):
    gid, _ = begin(api, one)
    assert finish(api, gid, status).status == 200
    answer = progress(api, gid)
    assert (answer.status, answer.json["dtm_result"]) == (409, "FAILURE"), answer
    assert begin(api, one, gid)[1]["progresses"] == []


def test_any_existing_gid_is_shown(api, one):
    """Whatever its type: an error would crash dtm's Go client."""
    gid = api.new_gid()
    api.done("submit", gid=gid, trans_type="saga", steps=[{"action": one.url("ok/a")}], payloads=["1"],
             wait_result=True)
    _, answer = begin(api, one, gid)
    assert (answer["transaction"]["trans_type"], answer["transaction"]["status"]) == ("saga", "succeed")
    assert [(p["op"], p["status"]) for p in answer["progresses"]] == [("compensate", "prepared"), ("action", "succeed")]


def test_the_callback(api, one):
    """A client that died is called after the base interval, again and again until it reports."""
    gid, _ = begin(api, one, name="wf name/1", retry_interval=1, branch_headers={"X-Tenant": "blue"})
    calls = one.wait_calls(2, gid=gid)
    for call in calls:
        assert (call.method, call.body, call.branch_id, call.op) == ("POST", b'{"amount":30}', "00", "wf name/1")
        assert call.header("X-Tenant") == ["blue"] and call.header("Content-Type") == ["application/json"]
    assert calls[0].target.partition("?")[2].split("&")[0::3] == ["branch_id=00", "trans_type=workflow"]
    assert calls[1].at - calls[0].at > 0.9
    assert api.status(gid) == "prepared", "its answer decides nothing"
    assert finish(api, gid).status == 200
    count = len(one.calls(gid=gid))
    later, _ = begin(api, one, retry_interval=1)
    one.wait_calls(2, gid=later)
    assert len(one.calls(gid=gid)) <= count + 1, "nobody calls a finished workflow"


@pytest.mark.parametrize("mode", ["fail", "error", "ongoing", "never"])
def test_whatever_the_callback_answers(api, one, mode):
    gid, _ = begin(api, one, path=f"{mode}/resume", retry_interval=1, request_timeout=1)
    api.hurry(gid)
    api.tried(gid, 1, "00", "wf1")
    api.hurry(gid)
    one.wait_calls(2, gid=gid)
    assert api.status(gid) == "prepared"
    assert finish(api, gid).status == 200
    assert api.status(gid) == "succeed"


def test_the_callback_of_a_resumed_one_sees_all(api, one):
    """Progress that was registered between two callbacks stays."""
    gid, _ = begin(api, one, retry_interval=1)
    for n in range(1, 6):
        one.wait_calls(n, gid=gid)
        api.hurry(gid)
        assert progress(api, gid, f"{n:02}").status == 200
    assert [p["branch_id"] for p in begin(api, one, gid)[1]["progresses"]] == [f"{n:02}" for n in range(1, 6)]
    assert finish(api, gid).status == 200


def test_input_without_data(api, one):
    gid, _ = begin(api, one, data=None)
    api.hurry(gid)
    [call] = one.wait_calls(1, gid=gid)[:1]
    assert call.body == b"" and call.op == "wf1"
    assert finish(api, gid).status == 200


def test_input_bytes_travel_untouched(api, one):
    data = bytes(range(256)) * 10
    gid, _ = begin(api, one, data=data)
    api.hurry(gid)
    assert one.wait_calls(1, gid=gid)[0].body == data
    assert finish(api, gid).status == 200


@pytest.mark.parametrize("custom_data", ["", "{", "[]", '{"data":"x"}', '{"name":"w","data":"*"}', '{"name":7}', None])
def test_custom_data_that_cannot_be_used(api, one, custom_data):
    """dtm stores it, and no callback ever succeeds."""
    gid, before = api.new_gid(), api.count()
    answer = api.post("prepareWorkflow", gid=gid, trans_type="workflow", custom_data=custom_data,
                      query_prepared=one.url("ok/w"))
    assert (answer.status, list(answer.json)) == (500, ["message"]) and "custom_data" in answer.message, answer
    assert api.count() == before


def test_two_executors_at_once(api, one):
    """Both get the same rows; whoever records a step second is told, and one result stays."""
    gid, _ = begin(api, one)
    begin(api, one, gid)
    assert [progress(api, gid, data=d).status for d in "ab"] == [200, 500]
    assert [finish(api, gid, result=d).status for d in (b"a", b"b")] == [200, 500]
    assert base64.b64decode(api.transaction(gid)["result"]) == b"a"


def test_force_stop_of_a_workflow(api, one):
    gid, _ = begin(api, one)
    api.hurry(gid)
    one.wait_calls(1, gid=gid)
    api.done("forceStop", gid=gid)
    assert api.status(gid) == "failed" and finish(api, gid).status == 500
    wait_until(lambda: begin(api, one, gid)[1]["transaction"]["status"] == "failed", "resume sees it")
