"""JSON-RPC: the server's endpoint (dtm-compat Part 3) and branches that speak it (3.3, 4.3)."""
import json
from urllib.parse import quote

import pytest

from api import JSON

MEMBERS = ["error", "id", "jsonrpc", "result"]


def good(answer, result=None, id_="no-use"):
    assert (answer.status, answer.type) == (200, JSON), answer
    assert answer.json == {"error": None, "id": id_, "jsonrpc": "2.0", "result": result}, answer
    return answer


def bad(answer, code, text="", id_="no-use", status=200):
    assert answer.status == status, answer
    found = answer.json
    assert sorted(found) == MEMBERS and (found["id"], found["jsonrpc"]) == (id_, "2.0"), answer
    # `result` stays beside `error`: PHP's hyperf looks for it.
    assert found["error"]["code"] == code and text in found["error"]["message"], answer
    return found["error"]["message"]


# --- the endpoint ----------------------------------------------------------------------------------

@pytest.mark.parametrize("params", [None, {}, [], "whatever", 7, {"gid": 3}])
def test_new_gid(api, params):
    answer = api.rpc("newGid", params)
    assert sorted(answer.json) == MEMBERS and list(answer.json["result"]) == ["gid"] and answer.json["error"] is None
    assert answer.json["result"]["gid"] and answer.json["id"] == "no-use"


def test_the_members_in_their_order(api):
    answer = api.rpc("prepare", {"gid": api.new_gid(), "trans_type": "tcc"}, id="my <id>")
    good(answer, id_="my <id>")
    assert list(answer.json) == MEMBERS


def test_a_transaction(api, one):
    gid = api.new_gid()
    body = {"gid": gid, "trans_type": "msg", "protocol": "json-rpc", "steps": [{"action": one.url("ok/a")}],
            "payloads": ['{"amount":30}'], "concurrent": False}
    good(api.rpc("prepare", body))
    good(api.rpc("prepare", body))
    assert api.status(gid) == "prepared"
    good(api.rpc("submit", body))
    api.wait(gid, "succeed")
    message = bad(api.rpc("prepare", body), -32901)
    assert message == "current status 'succeed', cannot prepare. FAILURE"


def test_tcc(api, one):
    gid = api.new_gid()
    good(api.rpc("prepare", {"gid": gid, "trans_type": "tcc"}))
    good(api.rpc("registerBranch", {"gid": gid, "trans_type": "tcc", "branch_id": "01", "data": "1",
                                    "confirm": one.url("ok/c"), "cancel": one.url("ok/x")}))
    good(api.rpc("abort", {"gid": gid, "trans_type": "tcc", "rollback_reason": "no"}))
    api.wait(gid, "failed")
    assert one.sequence(gid) == ["01 cancel"]
    bad(api.rpc("registerBranch", {"gid": gid, "trans_type": "tcc", "branch_id": "02"}), -32901,
        f"no trans with gid: {gid} status: prepared found FAILURE")
    bad(api.rpc("abort", {"gid": "nobody", "trans_type": "tcc"}), -32603, "no TransGlobal with gid: nobody found")


def test_ongoing_is_no_error_of_its_own(api, one):
    gid = api.new_gid()
    good(api.rpc("prepare", {"gid": gid, "trans_type": "tcc", "wait_result": True, "retry_interval": 1000}))
    good(api.rpc("registerBranch", {"gid": gid, "trans_type": "tcc", "branch_id": "01", "data": "1",
                                    "confirm": one.url("ongoing/c"), "cancel": ""}))
    bad(api.rpc("submit", {"gid": gid, "trans_type": "tcc", "wait_result": True}), -32603, "ONGOING")


def test_waiting(api, one):
    body = {"trans_type": "saga", "wait_result": True, "payloads": ["1"]}
    gid = api.new_gid()
    good(api.rpc("submit", body | {"gid": gid, "steps": [{"action": one.url("slow/a")}]}))
    assert api.status(gid) == "succeed"
    gid = api.new_gid()
    bad(api.rpc("submit", body | {"gid": gid, "steps": [{"action": one.url("fail/a")}]}), -32901, "refused")
    assert api.status(gid) == "failed"


@pytest.mark.parametrize("body, id_", [
    (b"", ""), (b"{", ""), (b"[]", ""), (b'[{"jsonrpc":"2.0","id":"a","method":"newGid"}]', ""), (b"nonsense", ""),
    (b'"text"', ""), (b'{"jsonrpc":"2.0","id":1,"method":"newGid"}', None), (b'{"jsonrpc":2.0,"id":"a"}', None),
    (b'{"jsonrpc":"2.0","id":"a","method":7}', None)])
def test_what_cannot_be_decoded(api, body, id_):
    answer = api.request("POST", "/api/json-rpc", body)
    found = answer.json
    assert answer.status == 400 and sorted(found) == MEMBERS and found["error"]["code"] == -32700, answer
    assert isinstance(found["id"], str) and (id_ is None or found["id"] == id_)


@pytest.mark.parametrize("members", [{"id": None}, {"id": ""}, {"jsonrpc": None}, {"jsonrpc": "1.0"}, {"jsonrpc": ""}])
def test_an_invalid_request(api, members):
    bad(api.rpc("newGid", {}, **members), -32600, "newGid", id_=members.get("id", "no-use") or "")


@pytest.mark.parametrize("method", ["forceStop", "query", "newgid", "", "system.listMethods"])
def test_an_unknown_method(api, method):
    bad(api.rpc(method, {}), -32601)


@pytest.mark.parametrize("params", [[], ["gid"], "text", 7, None, {}, {"gid": 7}, {"gid": "a", "trans_type": "at"}])
@pytest.mark.parametrize("method", ["prepare", "submit", "abort", "registerBranch"])
def test_params_that_cannot_be_used(api, method, params):
    before = api.count()
    answer = api.rpc(method, params)
    if method == "registerBranch" and params == {"gid": "a", "trans_type": "at"}:
        bad(answer, -32603, "trans type")
    else:
        assert answer.json["error"]["code"] in (-32603, -32700, -32602, -32901) and answer.json["error"]["message"]
    assert sorted(answer.json) == MEMBERS and api.count() == before


def test_garbage_after_the_call_is_ignored(api):
    good(api.request("POST", "/api/json-rpc", json.dumps({
        "jsonrpc": "2.0", "id": "no-use", "method": "prepare",
        "params": {"gid": api.new_gid(), "trans_type": "tcc"}}) + "}}"))


# --- branches that speak JSON-RPC ------------------------------------------------------------------

def rpc_url(service, name, status=200, **body):
    """A method at the participant that answers the same every time."""
    return service.url(f"status/{name}", status=status, body=json.dumps({"jsonrpc": "2.0", "id": "x"} | body),
                       method="Trans Out")


def submit(api, *actions, trans_type="saga", payload='{"amount":30}', compensate="", **fields):
    gid = api.new_gid()
    answer = api.post("submit", gid=gid, trans_type=trans_type, protocol="json-rpc",
                      steps=[{"action": a, "compensate": compensate} for a in actions],
                      payloads=[payload] * len(actions), **fields)
    return answer, gid


def test_the_shape_of_a_call(api, one):
    name = api.new_gid("rpc")
    url = rpc_url(one, name, result={})
    answer, gid = submit(api, url, wait_result=True, branch_headers={"X-Tenant": "blue"},
                         payload='{"amount":30,"gid":"overwritten","deep":{"a":[1,null]}}')
    assert answer.status == 200, answer
    [call] = one.calls(name=name)
    assert one.url(call.target[1:]) == url, "no parameters are added"
    assert call.method == "POST" and call.header("Content-Type") == ["application/json"]
    assert call.header("X-Tenant") == ["blue"]
    body = json.loads(call.body)
    assert sorted(body) == ["id", "jsonrpc", "method", "params"]
    assert (body["jsonrpc"], body["method"]) == ("2.0", "Trans Out") and isinstance(body["id"], str) and body["id"]
    assert body["params"] == {"amount": 30, "deep": {"a": [1, None]}, "gid": gid, "trans_type": "saga",
                              "branch_id": "01", "op": "action"}


def test_an_address_without_method_is_plain_http(api, one):
    answer, gid = submit(api, one.url("ok/a"), wait_result=True)
    assert answer.status == 200
    [call] = one.calls(gid=gid)
    assert call.body == b'{"amount":30}' and call.op == "action"


def test_protocol_http_calls_no_method(api, one):
    name = api.new_gid("rpc")
    gid = api.new_gid()
    api.done("submit", gid=gid, trans_type="msg", steps=[{"action": rpc_url(one, name)}], payloads=["1"])
    api.wait(gid, "succeed")
    assert one.calls(name=name)[0].body == b"1"


def test_failure_rolls_back(api, one):
    name, undo = api.new_gid("rpc"), api.new_gid("undo")
    error = {"code": -32901, "message": "no money"}
    answer, gid = submit(api, rpc_url(one, name, error=error), compensate=rpc_url(one, undo), wait_result=True)
    assert answer.status == 409 and api.status(gid) == "failed", answer
    assert "no money" in api.transaction(gid)["rollback_reason"]
    assert json.loads(one.calls(name=undo)[0].body)["params"]["op"] == "compensate"


@pytest.mark.parametrize("code", [-32902, {"FAILURE": -32901, "ONGOING": -32902, "OTHER": -1}])
def test_ongoing_keeps_the_interval(api, one, code):
    _, gid = submit(api, rpc_url(one, api.new_gid("rpc"), error={"code": code, "message": "later"}),
                    retry_interval=1000)
    api.db.wait_attempts(gid, 1)
    t = api.transaction(gid)
    assert (t["status"], t["next_cron_interval"]) == ("submitted", 1000)


@pytest.mark.parametrize("body", [
    json.dumps({"jsonrpc": "2.0", "id": "x", "error": {"code": -32603, "message": "out of order"}}),
    json.dumps({"jsonrpc": "2.0", "id": "x", "error": {"code": "-32603"}}), json.dumps({"error": "text"}), "no JSON",
    "[]", ""])
def test_other_errors_double_it(api, one, body):
    url = one.url(f"status/{api.new_gid('rpc')}", status=200) + "&method=m&body=" + quote(body)
    _, gid = submit(api, url, retry_interval=100)
    api.db.wait_attempts(gid, 1)
    t = api.transaction(gid)
    assert (t["status"], t["next_cron_interval"]) == ("submitted", 200)


def test_the_http_rules_come_first(api, one):
    for status, text, end in ((409, "", "failed"), (200, "so we say FAILURE", "failed")):
        url = one.url(f"status/{api.new_gid('rpc')}", status=status, body=text, method="m")
        answer, gid = submit(api, url, wait_result=True)
        assert answer.status == 409 and api.status(gid) == end


def test_confirm_and_cancel_over_json_rpc(api, one):
    gid, name = api.new_gid(), api.new_gid("rpc")
    good(api.rpc("prepare", {"gid": gid, "trans_type": "tcc", "protocol": "json-rpc"}))
    good(api.rpc("registerBranch", {"gid": gid, "trans_type": "tcc", "branch_id": "01", "data": '{"a":1}',
                                    "confirm": rpc_url(one, name, result="ok"), "cancel": ""}))
    good(api.rpc("submit", {"gid": gid, "trans_type": "tcc", "protocol": "json-rpc"}))
    api.wait(gid, "succeed")
    assert json.loads(one.calls(name=name)[0].body)["params"] == {
        "a": 1, "gid": gid, "trans_type": "tcc", "branch_id": "01", "op": "confirm"}
