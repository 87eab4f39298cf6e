"""Requests in the shapes that the clients of other languages send, byte for byte as dtm-compat describes them
(appendices A and B), and what each client looks at in the answer. They are recorded shapes, not the clients: those of
Go and Python are run in test_go_client.py and test_python_client.py; npm, Maven, NuGet, Packagist and RubyGems, where
the others live, are out of reach of these tests."""
import base64
import json

import pytest

from api import BASE, JSON


class Shape:
    """Sends bodies with GID, URL, OK, UNDO … replaced, and nothing else touched."""

    def __init__(self, api, one):
        self.api, self.one, self.gid = api, one, api.new_gid("shape")

    def text(self, body):
        for word, value in {"GID": self.gid, "OK": self.one.url("ok/a"), "BAD": self.one.url("fail/a"),
                            "UNDO": self.one.url("ok/undo"), "QUERY": self.one.url("ok/q"),
                            "CALLBACK": self.one.url("ok/resume")}.items():
            body = body.replace(f"<{word}>", value)
        return body

    def send(self, op, body, content_type="application/json"):
        """The answer, which must be a success in the eyes of every client."""
        answer = self.api.request("POST", BASE + op, self.text(body), {"Content-Type": content_type})
        assert (answer.status, answer.type) == (200, JSON), answer
        # Go, Python, Java, Node and C# search the text; Java wants dtm_result; Java's refuses blank answers.
        assert "FAILURE" not in answer.text and answer.json["dtm_result"] == "SUCCESS"
        return answer

    def ends(self, status, calls):
        self.api.wait(self.gid, status)
        assert self.one.sequence(self.gid) == calls


@pytest.fixture
def shape(api, one):
    return Shape(api, one)


# --- Go (appendix B) -------------------------------------------------------------------------------

def test_go_saga(shape):
    shape.send("submit", '{"gid":"<GID>","trans_type":"saga","concurrent":false,"steps":[{"action":"<OK>","compensate":'
               '"<UNDO>"}],"payloads":["{\\"amount\\":30}"],"protocol":""}')
    shape.ends("succeed", ["01 action"])
    assert shape.one.calls(gid=shape.gid)[0].body == b'{"amount":30}'


def test_go_saga_with_everything(shape):
    shape.send("submit", '{"gid":"<GID>","trans_type":"saga","custom_data":"{\\"concurrent\\":true,\\"orders\\"'
                         ':{\\"2\\":'
               '[0,1]}}","wait_result":true,"timeout_to_fail":60,"request_timeout":5,"retry_interval":20,"branc'
               'h_headers":'
               '{"h":"v"},"concurrent":true,"retry_limit":3,"steps":[{"action":"<OK>","compensate":"<UNDO>"},{"action":'
               '"<OK>","compensate":"<UNDO>"},{"action":"<OK>","compensate":"<UNDO>"}],"payloads":["{\\"amount\\":30}",'
               '"null","3"],"protocol":""}')
    calls = shape.one.sequence(shape.gid)
    assert sorted(calls[:2]) == ["01 action", "02 action"] and calls[2:] == ["03 action"]
    assert shape.one.calls(gid=shape.gid)[0].header("h") == ["v"] and shape.api.status(shape.gid) == "succeed"


def test_go_msg(shape):
    shape.send("prepare", '{"gid":"<GID>","trans_type":"msg","concurrent":false,"steps":[{"action":"<OK>"}],"payloads":'
               '["1"],"query_prepared":"<QUERY>","protocol":""}')
    shape.send("submit", '{"gid":"<GID>","trans_type":"msg","custom_data":"{\\"delay\\":1}","concurrent":false,"steps":'
               '[{"action":"<OK>"}],"payloads":["1"],"query_prepared":"<QUERY>","protocol":""}')
    shape.ends("succeed", ["01 action"])


def test_go_tcc(shape):
    base = '{"gid":"<GID>","trans_type":"tcc","concurrent":false,"protocol":""}'
    shape.send("prepare", base)
    shape.send("registerBranch", '{"branch_id":"01","cancel":"<UNDO>","confirm":"<OK>","data":"{\\"amount\\":30'
                                 '}","gid":'
               '"<GID>","trans_type":"tcc"}')
    shape.send("abort", base[:-1] + ',"rollback_reason":"no money"}')
    shape.ends("failed", ["01 cancel"])


def test_go_xa(shape):
    base = '{"gid":"<GID>","trans_type":"xa","concurrent":false,"protocol":""}'
    shape.send("prepare", base)
    shape.send("registerBranch", '{"branch_id":"01","gid":"<GID>","trans_type":"xa","url":"<OK>"}')
    shape.send("submit", base)
    shape.ends("succeed", ["01 commit"])


def test_go_workflow(shape):
    begin = ('{"gid":"<GID>","trans_type":"workflow","custom_data":"{\\"data\\":\\"eyJhbW91bnQiOjMwfQ==\\",\\"name\\":'
             '\\"wf1\\"}","concurrent":false,"query_prepared":"<CALLBACK>","protocol":"http"}')
    answer = shape.api.post("prepareWorkflow", shape.text(begin))
    # The client reads it with protojson: an object, a list, base64.
    assert answer.json["transaction"]["status"] == "prepared" and answer.json["progresses"] == []
    shape.send("registerBranch", '{"branch_id":"01","data":"<result>","gid":"<GID>","op":"action","status":"succeed",'
               '"trans_type":"workflow"}')
    shape.send("submit", '{"gid":"<GID>","req_extra":{"result":"b2s=","rollback_reason":"","status":"succeed"},'
               '"trans_type":"workflow"}')
    answer = shape.api.post("prepareWorkflow", shape.text(begin)).json
    assert (answer["transaction"]["status"], answer["transaction"]["result"]) == ("succeed", "b2s=")
    assert base64.b64decode(answer["progresses"][0]["bin_data"]) == b"<result>"


def test_go_json_rpc(shape):
    answer = shape.api.request("POST", "/api/json-rpc", shape.text(
        '{"id":"no-use","jsonrpc":"2.0","method":"submit","params":{"gid":"<GID>","trans_type":"msg","concurren'
        't":false,'
        '"steps":[{"action":"<OK>"}],"payloads":["{\\"amount\\":30}"],"protocol":"json-rpc"}}'))
    assert answer.status == 200 and answer.type == JSON and answer.json["error"] is None
    shape.ends("succeed", ["01 action"])


# --- Java ------------------------------------------------------------------------------------------

def test_java_saga(shape):
    """subType twice, nulls, passthrough_headers; custom_data null unless concurrent."""
    answer = shape.api.request("GET", "/api/ping")
    assert answer.status < 400 and answer.body
    shape.send("submit", '{"gid":"<GID>","subType":"saga","trans_type":"saga","custom_data":null,"wait_result":false,'
               '"timeout_to_fail":0,"retry_interval":0,"passthrough_headers":null,"branch_headers":null,"steps"'
               ':[{"action":'
               '"<OK>","compensate":"<UNDO>"},{"action":"<BAD>","compensate":"<UNDO>"}],"payloads":["{\\"amount'
               '\\":30}",'
               '"{\\"amount\\":30}"],"query_prepared":null,"protocol":null,"subType":"saga"}')
    shape.ends("failed", ["01 action", "02 action", "02 compensate", "01 compensate"])


def test_java_concurrent_saga(shape):
    shape.send("submit", '{"gid":"<GID>","trans_type":"saga","subType":"x","subType":"y","custom_data":"{\\"ord'
                         'ers\\":{},'
               '\\"concurrent\\":true}","passthrough_headers":[],"steps":[{"action":"<OK>","compensate":"<UNDO>'
               '"},{"action":'
               '"<OK>","compensate":"<UNDO>"}],"payloads":["1","2"],"concurrent":true}')
    shape.api.wait(shape.gid, "succeed")


def test_java_tcc(shape):
    """The prepare is gid and trans_type alone."""
    shape.send("prepare", '{"gid":"<GID>","trans_type":"tcc"}')
    shape.send("registerBranch", '{"gid":"<GID>","trans_type":"tcc","branch_id":"01","status":"prepared","data":'
               '"{\\"amount\\":30}","confirm":"<OK>","cancel":"<UNDO>","op":null,"url":null}')
    shape.send("submit", '{"gid":"<GID>","trans_type":"tcc"}')
    shape.ends("succeed", ["01 confirm"])


# --- C# --------------------------------------------------------------------------------------------

def test_csharp_saga_and_query(shape):
    shape.send("submit", '{"steps":[{"action":"<OK>","compensate":"<UNDO>"}],"payloads":["{\\"Amount\\":30}"],"gid":'
               '"<GID>","trans_type":"saga","custom_data":null,"query_prepared":null,"protocol":null,"wait_resu'
               'lt":false,'
               '"timeout_to_fail":0,"retry_interval":0,"branch_headers":null,"passthrough_headers":null,"concur'
               'rent":false,'
               '"request_timeout":0,"rollback_reason":null}', "application/json; charset=utf-8")
    shape.ends("succeed", ["01 action"])
    found = shape.api.query(shape.gid)
    assert 0 < found["transaction"]["id"] < 2 ** 31 and isinstance(found["branches"], list)
    # Its model has no room for null in these; absent is fine.
    assert None not in found["transaction"].values() and found["transaction"]["finish_time"]


def test_csharp_tcc_and_its_double_slash(shape):
    """The address that it hands on ends with a slash, so services below it make //registerBranch: dtm says 404."""
    shape.send("prepare", '{"gid":"<GID>","trans_type":"tcc","custom_data":null,"wait_result":false,"timeout_to'
                          '_fail":0,'
               '"retry_interval":0,"branch_headers":null}')
    body = ('{"data":"{\\"Amount\\":30}","branch_id":"01","confirm":"<OK>","cancel":"<UNDO>","gid":"<GID>","tra'
            'ns_type":'
            '"tcc"}')
    answer = shape.api.request("POST", BASE + "/registerBranch", shape.text(body))
    assert answer.status in (200, 404)
    if answer.status == 404:
        shape.send("registerBranch", body)
    shape.send("submit", '{"gid":"<GID>","trans_type":"tcc","custom_data":null}')
    shape.ends("succeed", ["01 confirm"])


def test_csharp_workflow(shape):
    answer = shape.api.post("prepareWorkflow", shape.text(
        '{"gid":"<GID>","trans_type":"workflow","custom_data":"{\\"name\\":\\"wf\\",\\"data\\":null}","query_prepared":'
        '"<CALLBACK>","protocol":"http","steps":null,"payloads":null,"branch_headers":null,"rollback_reason":nu'
        'll}')).json
    assert isinstance(answer["progresses"], list) and isinstance(answer["transaction"], dict)
    shape.api.done("submit", json.loads(shape.text(
        '{"gid":"<GID>","trans_type":"workflow","req_extra":{"status":"failed","rollback_reason":"no","result":'
        'null}}')))
    assert shape.api.status(shape.gid) == "failed"


# --- Python ----------------------------------------------------------------------------------------

def test_python_msg(shape):
    body = ('{"gid": "<GID>", "trans_type": "msg", "custom_data": null, "steps": [{"action": "<OK>"}], "payloads": '
            '["{\\"amount\\": 30}"], "query_prepared": null, "protocol": null, "wait_result": false, "timeout_t'
            'o_fail": 0, '
            '"request_timeout": 8, "retry_interval": 0, "passthrough_headers": [], "branch_headers": {}, "concurrent": '
            'false}')
    shape.send("prepare", body)
    shape.send("submit", body)
    shape.ends("succeed", ["01 action"])
    assert shape.one.calls(gid=shape.gid)[0].body == b'{"amount": 30}'


# --- Node ------------------------------------------------------------------------------------------

def test_node_tcc(shape):
    """registerTccBranch, with try and status."""
    shape.send("prepare", '{"gid":"<GID>","trans_type":"tcc"}')
    shape.send("registerTccBranch", '{"gid":"<GID>","branch_id":"01","trans_type":"tcc","status":"prepared","data":'
               '"{\\"amount\\":30}","try":"<OK>","confirm":"<OK>","cancel":"<UNDO>"}', "application/json;charset=utf-8")
    shape.send("submit", '{"gid":"<GID>","trans_type":"tcc"}')
    shape.ends("succeed", ["01 confirm"])


def test_node_saga(shape):
    """Payloads in the steps."""
    shape.send("submit", '{"gid":"<GID>","trans_type":"saga","steps":[{"action":"<OK>","compensate":"<UNDO>","data":'
               '"{\\"amount\\":30}"}]}')
    shape.ends("succeed", ["01 action"])
    assert shape.one.calls(gid=shape.gid)[0].body == b'{"amount":30}'


def test_node_new_gid(api):
    assert isinstance(api.get("newGid").json["gid"], str)


# --- PHP -------------------------------------------------------------------------------------------

def test_old_php_tcc(shape):
    """Branch ids are padded on the right, so the tenth is the first again."""
    shape.send("prepare", '{"gid":"<GID>","trans_type":"tcc"}', "application/x-www-form-urlencoded")
    body = ('{"gid":"<GID>","branch_id":"NN","trans_type":"tcc","status":"prepared","data":"{\\"amount\\":NN}","try":'
            '"<OK>","confirm":"<OK>","cancel":"<UNDO>"}')
    for n in range(1, 10):
        shape.send("registerTccBranch", body.replace("NN", f"{n}0"))
    tenth = shape.api.post("registerTccBranch", shape.text(body.replace('"NN"', '"10"').replace("NN", "100")))
    assert tenth.status == 500, "another branch under the name of the first"
    shape.send("submit", '{"gid":"<GID>","trans_type":"tcc"}')
    shape.ends("succeed", [f"{n}0 confirm" for n in range(9, 0, -1)])


def test_php_saga(shape):
    """dtm-php/dtm-client: snake-cased fields of its context, orders null."""
    answer = shape.api.get("newGid")
    assert answer.json["dtm_result"] == "SUCCESS"
    shape.send("submit", '{"gid":"<GID>","trans_type":"saga","dtm":"http:\\/\\/127.0.0.1:36789","custom_data":'
               '"{\\"concurrent\\":true,\\"orders\\":null}","steps":[{"action":"<OK>","compensate":"<UNDO>"}],"'
               'payloads":'
               '["{\\"amount\\":30}"],"bin_payloads":[],"branch_id":"","op":"","phase2_url":"","query_prepared":"",'
               '"protocol":"http","wait_result":false,"timeout_to_fail":0,"retry_interval":0,"passthrough_headers":[],'
               '"branch_headers":{},"rollback_reason":"","sub_branch_id":0,"barrier_id":0}')
    shape.ends("succeed", ["01 action"])
    found = shape.api.get("all", gid=shape.gid)
    assert found.status == 200 and found.json["transactions"][0]["gid"] == shape.gid
    assert shape.api.get("query", gid=shape.gid).status == 200


def test_php_subscribes_by_get(shape):
    topic = shape.api.new_gid("topic")
    assert shape.api.get("subscribe", topic=topic, url=shape.one.url("ok/t"), remark="").status == 200
    shape.send("submit", f'{{"gid":"<GID>","trans_type":"msg","steps":[{{"action":"topic:\\/\\/{topic}"}}],"payloads":'
               '["1"]}')
    shape.ends("succeed", ["01 action"])


def test_php_json_rpc(shape):
    """hyperf looks at `result` before `error`; it does not send the protocol."""
    answer = shape.api.request("POST", "/api/json-rpc", shape.text(
        '{"jsonrpc":"2.0","method":"prepare","params":{"gid":"<GID>","trans_type":"tcc"},"id":"6566ab","context":[]}'))
    assert answer.json == {"error": None, "id": "6566ab", "jsonrpc": "2.0", "result": None} and "result" in answer.json
    assert shape.api.transaction(shape.gid)["protocol"] == "http"
    answer = shape.api.request("POST", "/api/json-rpc", shape.text(
        '{"jsonrpc":"2.0","method":"registerBranch","params":{"gid":"nobody","trans_type":"tcc","branch_id":"01"},"id":'
        '"1"}'))
    assert answer.json["error"]["code"] == -32901 and answer.json["result"] == {}


# --- what their query strings look like to services ------------------------------------------------

@pytest.mark.parametrize("protocol", ["", "http"])
def test_services_get_the_four_parameters(shape, protocol):
    shape.send("submit", f'{{"gid":"<GID>","trans_type":"msg","steps":[{{"action":"<OK>?dtm=mine"}}],"payloads":["1"],'
               f'"protocol":"{protocol}"}}')
    shape.ends("succeed", ["01 action"])
    assert shape.one.calls(gid=shape.gid)[0].target == (
        f"/ok/a?dtm=mine&branch_id=01&gid={shape.gid}&op=action&trans_type=msg")
