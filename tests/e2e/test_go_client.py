"""dtm's Go client, the published module (github.com/dtm-labs/client, dtmcli and workflow), with services that guard
their accounts by its barrier in PostgreSQL, fail, hang and say ONGOING (tests/interop/go/client). Whatever happens,
money neither vanishes nor appears."""
import json

import pytest

from client_place import GoClient, go, place  # noqa: F401
from cluster import wait_until
from dtm import AFTER_A_STALL

SOON = {"retry_interval": 1, "request_timeout": 1}  # of the coordinator's calls
ONCE = {"times": 1}


@pytest.fixture
def ab(place):
    """Two accounts, with 100 and nothing."""
    return place.accounts(100, 0)


FAULTS = [{"fault": "hang", **ONCE}, {"fault": "late", **ONCE}, {"fault": "ongoing", "times": 2},
          {"fault": "error", **ONCE}]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=[f["fault"] for f in FAULTS])


def test_gids(go):
    gids = {go.do("gid")["result"] for _ in range(20)}
    assert len(gids) == 20 and "" not in gids


# --- saga ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("wait", [False, True])
def test_saga(place, go, ab, concurrent, wait):
    gid = go.good("saga", steps=go.transfer(*ab), options={"wait_result": wait, "concurrent": concurrent})
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    assert place.api.statuses(gid) == ["prepared", "succeed"] * 2


@pytest.mark.parametrize("concurrent", [False, True])
def test_saga_refused(place, go, ab, concurrent):
    steps = go.transfer(*ab, into={"fault": "fail"})
    gid, error = go.run("saga", steps=steps, options={"wait_result": True, "concurrent": concurrent,
                                                      "request_timeout": 60})
    assert "FAILURE" in error and "refused on demand" in error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


def test_saga_without_money(place, go, ab):
    gid = go.good("saga", steps=go.transfer(*ab, amount=101))
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    assert "too little money" in place.api.transaction(gid)["rollback_reason"]


@each_fault
@pytest.mark.parametrize("end", ["succeed", "failed"])
def test_saga_with_trouble(place, go, ab, fault, end):
    """In an action, or in a compensation."""
    if end == "succeed":
        steps = go.transfer(*ab, out=fault, into=fault)
    else:
        steps = go.transfer(*ab, out={**fault, "on": "compensate"}, into={"fault": "fail"})
    gid = go.good("saga", steps=steps, options=SOON)
    place.wait(gid, end)
    assert place.balances(*ab) == ([70, 30] if end == "succeed" else [100, 0])


def test_saga_with_orders(place, go):
    """Two payments out together, then two in; the second of these is refused."""
    for refused, balances in ((False, [70, 80, 30, 20]), (True, [100, 100, 0, 0])):
        a, b, c, d = place.accounts(100, 100, 0, 0)
        steps = [go.step("out", a, 30), go.step("out", b, 20), go.step("in", c, 30),
                 go.step("in", d, 20, fault="fail" if refused else None)]
        gid = go.good("saga", steps=steps, orders={2: [0, 1], 3: [0, 1]},
                      options={"concurrent": True, "request_timeout": 60})
        place.wait(gid, "failed" if refused else "succeed")
        assert place.balances(a, b, c, d) == balances
        first, second = (set(go.calls(gid)[i:i + 2]) for i in (0, 2))
        assert (first, second) == ({"01 action", "02 action"}, {"03 action", "04 action"})


def test_saga_timeout(place, go, ab):
    steps = go.transfer(*ab, into={"fault": "ongoing"})
    gid = go.good("saga", steps=steps, options={"timeout_to_fail": 2, **SOON})
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


def test_saga_again(place, go, ab):
    gid = go.good("saga", steps=go.transfer(*ab), options={"wait_result": True})
    _, error = go.run("saga", gid, steps=go.transfer(*ab))
    assert "current status 'succeed'" in error and place.balances(*ab) == [70, 30]


# --- message ---------------------------------------------------------------------------------------

def message(go, ab, local_fault="", into=None, **fields):
    """The local transaction takes 30 from the first account, the message gives them to the second. A client that
    dies leaves it to the coordinator to ask, which must not overtake the commit."""
    fields.setdefault("options", {"timeout_to_fail": AFTER_A_STALL if local_fault == "die" else 1000, **SOON})
    return go.run("msg", steps=[go.step("in", ab[1], **(into or {}))], query=go.url("query"),
                  local={"account": ab[0], "amount": -30, "fault": local_fault}, **fields)


def test_message(place, go, ab):
    gid, error = message(go, ab)
    assert not error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30] and "00 msg" not in go.calls(gid)


@pytest.mark.parametrize("fault, says, status", [
    ("fail", "FAILURE", "failed"),               # the client aborts
    ("error", "has a problem", "failed"),        # rolled back: the client asks its own query, and aborts
    ("lost", "is lost", "succeed"),              # committed: it asks, and submits
    ("die", "", "succeed")])                     # committed, never submitted: the coordinator asks
def test_message_with_a_local_transaction_that_ends_otherwise(place, go, ab, fault, says, status):
    gid, error = message(go, ab, fault)
    assert says in error if says else not error
    place.wait(gid, status)
    assert place.balances(*ab) == ([70, 30] if status == "succeed" else [100, 0])
    assert ("00 msg" in go.calls(gid)) == (fault != "fail")


def test_message_whose_sender_died_before_the_commit(place, go):
    a, b = place.accounts(10, 0)    # too little: the local transaction is rolled back, nobody aborts
    gid, error = message(go, (a, b), "die")
    assert "too little" in error
    place.wait(gid, "failed")
    assert place.balances(a, b) == [10, 0] and "00 msg" in go.calls(gid)


@each_fault
def test_message_with_trouble(place, go, ab, fault):
    gid, error = message(go, ab, into=fault)
    assert not error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


@each_fault
def test_message_whose_query_has_trouble(place, go, ab, fault):
    gid, _ = go.run("msg", steps=[go.step("in", ab[1])], query=go.url("query", **fault),
                    local={"account": ab[0], "amount": -30, "fault": "die"},
                    options={"timeout_to_fail": AFTER_A_STALL, **SOON})
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


def test_message_without_a_query(place, go, ab):
    gid = go.good("msg", steps=[go.step("in", ab[1]), go.step("in", ab[1], 5)],
                  options={"wait_result": True, "concurrent": True})
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [100, 35]


def test_message_with_a_delay(place, go, ab):
    later, soon = (go.good("msg", steps=[go.step("in", ab[1])], delay=delay) for delay in (1000, 1))
    place.wait(soon, "succeed")
    assert place.balances(*ab) == [100, 30] and go.calls(later) == [""]


def test_message_to_a_topic(place, go, ab):
    topic = place.new_gid()
    for account in ab:
        step = go.step("in", account)
        assert place.api.get("subscribe", topic=topic, url=step["action"] + f"?to={account}").status == 200

    def sent():     # dtm itself knows the topic after some seconds
        gid, error = go.run("msg", topic=topic, steps=[go.step("in", ab[1])])
        assert not error or "topic not found" in error, error
        return not error and gid
    place.wait(wait_until(sent, "the topic is known", pause=1), "succeed")
    assert place.balances(*ab) == [100, 60]


# --- TCC -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("wait", [False, True])
def test_tcc(place, go, ab, wait):
    gid = go.good("tcc", steps=go.transfer(*ab, style="tcc"), options={"wait_result": wait})
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    assert go.calls(gid) == ["01 try", "02 try", "02 confirm", "01 confirm"]


@pytest.mark.parametrize("into", [{"fault": "fail", "on": "try"}, {"fault": "error", "on": "try"},
                                  {"fault": "ongoing", "on": "try"}], ids=lambda f: f["fault"])
def test_tcc_whose_try_does_not_succeed(place, go, ab, into):
    gid, error = go.run("tcc", steps=go.transfer(*ab, style="tcc", into=into))
    assert error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    assert go.calls(gid) == ["01 try", "02 try", "02 cancel", "01 cancel"]
    assert place.api.transaction(gid)["rollback_reason"]


def test_tcc_without_money(place, go, ab):
    gid, error = go.run("tcc", steps=go.transfer(*ab, amount=101, style="tcc"))
    assert "too little money" in error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


@each_fault
@pytest.mark.parametrize("on", ["confirm", "cancel"])
def test_tcc_with_trouble(place, go, ab, fault, on):
    steps = go.transfer(*ab, style="tcc", out={**fault, "on": on})
    if on == "cancel":
        steps.append(go.step("in", ab[1], style="tcc", fault="fail", on="try"))
    gid, error = go.run("tcc", steps=steps, options=SOON)
    assert bool(error) == (on == "cancel")
    place.wait(gid, "succeed" if on == "confirm" else "failed")
    assert place.balances(*ab) == ([70, 30] if on == "confirm" else [100, 0])


@pytest.mark.parametrize("refused", [False, True])
def test_nested_tcc(place, go, ab, refused):
    inner = go.step("in", ab[1], style="tcc", **({"fault": "fail", "on": "try"} if refused else {}))
    steps = [go.step("out", ab[0], style="tcc"),
             {r: go.url(f"bank/nested/{r}") for r in ("try", "confirm", "cancel")} | {"body": {"inner": inner}}]
    gid, error = go.run("tcc", steps=steps)
    assert bool(error) == refused
    place.wait(gid, "failed" if refused else "succeed")
    assert place.balances(*ab) == ([100, 0] if refused else [70, 30])
    assert "0201 try" in go.calls(gid) and ("0201 cancel" if refused else "0201 confirm") in go.calls(gid)


@pytest.mark.parametrize("style", ["tcc", "xa"])
def test_a_client_that_panics(place, go, ab, style):
    gid, error = go.run(style, steps=go.transfer(*ab, style=style), panic=True)
    assert "panic" in error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


# --- XA --------------------------------------------------------------------------------------------

def nothing_prepared(place, gid):
    assert [g for g, in place.prepared() if g.startswith(gid)] == []


@pytest.mark.parametrize("wait", [False, True])
def test_xa(place, go, ab, wait):
    gid = go.good("xa", steps=go.transfer(*ab, style="xa"), options={"wait_result": wait})
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    assert go.calls(gid) == ["01 action", "02 action", "01 commit", "02 commit"]
    nothing_prepared(place, gid)


@pytest.mark.parametrize("into", [{"fault": "fail"}, {"fault": "error"}, {"fault": "ongoing"}],
                         ids=lambda f: f["fault"])
def test_xa_whose_action_does_not_succeed(place, go, ab, into):
    gid, error = go.run("xa", steps=go.transfer(*ab, style="xa", into={**into, "fault_op": "action"}))
    assert error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    nothing_prepared(place, gid)


def test_xa_without_money(place, go, ab):
    gid, error = go.run("xa", steps=go.transfer(*ab, amount=101, style="xa"))
    assert "too little money" in error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    nothing_prepared(place, gid)


@each_fault
@pytest.mark.parametrize("on", ["commit", "rollback"])
def test_xa_with_trouble(place, go, ab, fault, on):
    steps = go.transfer(*ab, style="xa", out={**fault, "fault_op": on})
    if on == "rollback":
        steps.append(go.step("in", ab[1], style="xa", fault="fail"))
    gid, error = go.run("xa", steps=steps, options=SOON)
    assert bool(error) == (on == "rollback")
    place.wait(gid, "succeed" if on == "commit" else "failed")
    assert place.balances(*ab) == ([70, 30] if on == "commit" else [100, 0])
    nothing_prepared(place, gid)


def test_xa_whose_client_hangs(place, go, ab):
    """The second branch never answers its client, which never decides: rolled back by the timeout."""
    gid = place.new_gid()
    steps = go.transfer(*ab, style="xa", into={"fault": "hang", "fault_op": "action"})
    go.start("xa", gid=gid, steps=steps, options={"timeout_to_fail": 2, **SOON})
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    nothing_prepared(place, gid)


# --- workflow --------------------------------------------------------------------------------------

def workflow(go, steps, gid=None, name="transfer"):
    gid = gid or go.place.new_gid()
    answer = go.do("workflow", gid=gid, name=name, steps=steps)
    return gid, answer["error"], answer["result"]


def local_steps(kind, ab):
    return [{"action": f"{kind}:{direction}", "body": {"account": account, "amount": 30}}
            for direction, account in zip(("out", "in"), ab)]


def steps_of(go, style, ab):
    if style in ("local", "xa"):
        return local_steps(style, ab)
    if style == "mixed":
        return [go.step("out", ab[0], style="tcc"), local_steps("xa", ab)[1]]
    return go.transfer(*ab, style=style)


each_style = pytest.mark.parametrize("style", ["saga", "tcc", "xa", "local", "mixed"])


@each_style
def test_workflow(place, go, ab, style):
    steps = steps_of(go, style, ab)
    gid, error, result = workflow(go, steps)
    assert (error, result) == ("", "2 steps")
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    # Once more: the stored result, and no effect.
    assert workflow(go, steps, gid)[1:] == ("", "2 steps") and place.balances(*ab) == [70, 30]
    nothing_prepared(place, gid)


@each_style
def test_workflow_that_is_refused(place, go, ab, style):
    steps = steps_of(go, style, ab) + [go.step("in", ab[1], fault="fail")]
    gid, error, result = workflow(go, steps)
    assert "FAILURE" in error and "step 3 was refused" in error and not result
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]
    again = workflow(go, steps, gid)
    assert "FAILURE" in again[1] and "step 3 was refused" in again[1], "the stored reason"
    nothing_prepared(place, gid)


@pytest.mark.parametrize("fault", ["ongoing", "error"])
def test_workflow_that_is_called_back(place, go, ab, fault):
    """A step has no result yet: the caller is told, the coordinator calls until there is one."""
    gid, error, _ = workflow(go, go.transfer(*ab, into={"fault": fault, "times": 2}), name="another name")
    assert error and "FAILURE" not in error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    assert go.calls(gid).count("01 action") == 1, "a recorded step is not done again"
    assert "00 another name" in go.calls(gid)


@each_style
def test_workflow_of_a_client_that_is_killed(place, ab, style):
    """After its first step; another life of the program is called back and goes on."""
    first = GoClient(place, hold_after=1)
    gid = place.new_gid()
    try:
        steps = steps_of(first, style, ab)
        first.start("workflow", gid=gid, name="transfer", steps=steps)
        wait_until(lambda: place.api.branches(gid), "the first step is recorded")
    finally:
        first.destroy()
    second = GoClient(place, port=first.port)
    try:
        place.wait(gid, "succeed")
        assert place.balances(*ab) == [70, 30]
        assert json.loads(place.api.transaction(gid)["custom_data"])["name"] == "transfer"
        nothing_prepared(place, gid)
    finally:
        second.destroy()


# --- JSON-RPC --------------------------------------------------------------------------------------

RPC = {"protocol": "json-rpc"}


def test_saga_over_json_rpc(place, go, ab):
    gid = go.good("saga", steps=go.transfer(*ab, style="rpc"), options={"wait_result": True}, **RPC)
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]
    gid, error = go.run("saga", steps=go.transfer(*ab, amount=71, style="rpc"), options={"wait_result": True}, **RPC)
    assert "-32901" in error
    place.wait(gid, "failed")
    assert place.balances(*ab) == [70, 30]


@each_fault
def test_saga_over_json_rpc_with_trouble(place, go, ab, fault):
    if fault["fault"] == "late":
        fault = {**fault, "fault": "hang"}
    gid = go.good("saga", steps=go.transfer(*ab, style="rpc", out=fault, into=fault), options=SOON, **RPC)
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


def test_message_over_json_rpc(place, go, ab):
    gid, error = go.run("msg", steps=[go.step("in", ab[1], style="rpc")], query=go.url("query"),
                        local={"account": ab[0], "amount": -30, "fault": ""}, **RPC)
    assert not error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


@pytest.mark.parametrize("refused", [False, True])
def test_tcc_over_json_rpc(place, go, ab, refused):
    steps = go.transfer(*ab, style="rpc tcc", into={"fault": "fail", "on": "try"} if refused else None)
    gid, error = go.run("tcc", steps=steps, **RPC)
    assert bool(error) == refused
    place.wait(gid, "failed" if refused else "succeed")
    assert place.balances(*ab) == ([100, 0] if refused else [70, 30])


def test_registering_late_over_json_rpc(place, go, ab):
    gid = go.good("tcc", steps=[], **RPC)
    place.wait(gid, "succeed")
    _, error = go.run("tcc", gid, steps=go.transfer(*ab, style="rpc tcc"), **RPC)
    assert "-32901" in error and place.balances(*ab) == [100, 0]
