"""TCC and XA through the API: the client registers its branches and decides, the server confirms or cancels
(dtm-compat 5.6, 5.7), and what wait_result answers (1.5.4)."""
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest

from cluster import wait_until

# trans_type: what brings it forward, what takes it back
OPS = {"tcc": ("confirm", "cancel"), "xa": ("commit", "rollback")}
each_type = pytest.mark.parametrize("trans_type", OPS)


def prepared(api, trans_type="tcc", **options):
    gid = api.new_gid(trans_type)
    api.done("prepare", gid=gid, trans_type=trans_type, **options)
    return gid


def branch(api, gid, trans_type, branch_id, forward, back, data='{"amount":30}'):
    """Registers a branch. XA has one address for both directions: `forward`."""
    if trans_type == "tcc":
        return api.post("registerBranch", gid=gid, trans_type="tcc", branch_id=branch_id, data=data, confirm=forward,
                        cancel=back)
    return api.post("registerBranch", gid=gid, trans_type="xa", branch_id=branch_id, url=forward)


def branches(api, gid, trans_type, one, *modes):
    """Registers a branch per mode: 01, 02, …"""
    for n, mode in enumerate(modes, 1):
        answer = branch(api, gid, trans_type, f"{n:02}", one.url(f"{mode}/b{n}"), one.url(f"{mode}/b{n}"))
        assert answer.status == 200, answer
    return gid


def call_try(one, gid, branch_id, mode="ok"):
    """What a client does before it decides; the server never does. Returns the status."""
    query = {"branch_id": branch_id, "gid": gid, "op": "try", "trans_type": "tcc"}
    try:
        request = urllib.request.Request(one.url(f"{mode}/b") + "?" + urlencode(query), b"{}")
        return urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def end(api, gid, trans_type, how, **fields):
    return api.post(how, gid=gid, trans_type=trans_type, **fields)


# --- both types ------------------------------------------------------------------------------------

@each_type
def test_forward(api, one, trans_type):
    gid = branches(api, prepared(api, trans_type), trans_type, one, "ok", "ok", "ok")
    api.passed_by(one)
    assert one.sequence(gid) == [], "nothing before the decision"
    assert end(api, gid, trans_type, "submit").status == 200
    api.wait(gid, "succeed")
    forward, back = OPS[trans_type]
    # TCC from the last registered to the first, XA in the order of registration.
    order = ["03", "02", "01"] if trans_type == "tcc" else ["01", "02", "03"]
    assert one.sequence(gid) == [f"{b} {forward}" for b in order]
    assert api.branches(gid) == [(f"{n:02}", op, status) for n in (1, 2, 3)
                                 for op, status in ((back, "prepared"), (forward, "succeed"))]


@each_type
def test_back(api, one, trans_type):
    gid = branches(api, prepared(api, trans_type), trans_type, one, "ok", "ok", "ok")
    assert end(api, gid, trans_type, "abort", rollback_reason="no money").status == 200
    api.wait(gid, "failed")
    forward, back = OPS[trans_type]
    order = ["03", "02", "01"] if trans_type == "tcc" else ["01", "02", "03"]
    assert one.sequence(gid) == [f"{b} {back}" for b in order]
    assert api.statuses(gid) == ["succeed", "prepared"] * 3
    assert api.transaction(gid)["rollback_reason"] == "no money"


@each_type
def test_one_after_the_other(api, one, trans_type):
    gid, gates = prepared(api, trans_type, request_timeout=60), [api.new_gid("gate") for _ in range(2)]
    for n, gate in enumerate(gates, 1):
        assert branch(api, gid, trans_type, f"{n:02}", one.url(f"hold/{gate}"), "").status == 200
    assert end(api, gid, trans_type, "submit").status == 200
    [first] = one.wait_calls(1, gid=gid)
    api.passed_by(one)
    assert len(one.calls(gid=gid)) == 1
    for gate in gates:
        one.release(gate)
    api.wait(gid, "succeed")
    assert first.branch_id == ("02" if trans_type == "tcc" else "01")


@each_type
@pytest.mark.parametrize("how", ["submit", "abort"])
@pytest.mark.parametrize("mode", ["fail", "error", "ongoing", "fail200", "ongoing200", "reset", "lost"])
def test_the_second_phase_is_repeated_until_it_succeeds(api, one, trans_type, how, mode):
    """Neither direction can be refused: FAILURE is an error there."""
    gid = prepared(api, trans_type, retry_interval=1000)
    url = one.url(f"{mode}/b", n=1)
    assert branch(api, gid, trans_type, "01", url, url).status == 200
    assert end(api, gid, trans_type, how).status == 200
    api.hurried(gid, "succeed" if how == "submit" else "failed")
    assert one.sequence(gid) == [f"01 {OPS[trans_type][how == 'abort']}"] * 2


@each_type
def test_no_branch_at_all(api, trans_type):
    gid = prepared(api, trans_type)
    assert end(api, gid, trans_type, "submit").status == 200
    api.wait(gid, "succeed")
    gid = prepared(api, trans_type)
    assert end(api, gid, trans_type, "abort").status == 200
    api.wait(gid, "failed")


@each_type
def test_a_client_that_died_is_rolled_back(api, one, trans_type):
    def registered_in_time():
        begin, gid = time.time(), prepared(api, trans_type, timeout_to_fail=3)
        answer = branch(api, gid, trans_type, "01", one.url("ok/b"), one.url("ok/b"))
        assert answer.status in (200, 409), answer
        return answer.status == 200 and (begin, gid)
    begin, gid = wait_until(registered_in_time, "the machine is fast enough to register")
    api.wait(gid, "failed")
    [call] = one.calls(gid=gid)
    assert call.op == OPS[trans_type][1] and call.at - begin > 2.9
    assert api.transaction(gid)["rollback_reason"] == "Timeout after 3 seconds"
    assert end(api, gid, trans_type, "submit").status == 409, "too late"


@each_type
@pytest.mark.parametrize("status", ["submitted", "aborting", "succeed", "failed"])
def test_a_late_registration_is_refused(api, one, trans_type, status):
    gid = prepared(api, trans_type, retry_interval=1000)
    if status in ("submitted", "aborting"):
        branches(api, gid, trans_type, one, "ongoing")
    assert end(api, gid, trans_type, "submit" if status in ("submitted", "succeed") else "abort").status == 200
    api.wait_status(gid, status)
    before = api.branches(gid)
    answer = branch(api, gid, trans_type, "99", one.url("ok/late"), one.url("ok/late"))
    assert (answer.status, answer.json["dtm_result"]) == (409, "FAILURE")
    assert answer.message == f"no trans with gid: {gid} status: prepared found FAILURE"
    assert api.branches(gid) == before


@each_type
def test_a_registration_races_with_the_timeout(api, one, trans_type):
    """Whatever was registered is rolled back, whatever was refused is not: nothing between."""
    def race():
        gids = [prepared(api, trans_type, timeout_to_fail=2) for _ in range(10)]
        accepted = dict.fromkeys(gids, 0)

        def register_all():
            late = 0
            for gid in gids:
                n = accepted[gid] + 1
                answer = branch(api, gid, trans_type, f"{n:04}", one.url("ok/b"), one.url("ok/b"))
                assert answer.status in (200, 409), answer
                accepted[gid] += answer.status == 200
                late += answer.status == 409
            return late == len(gids)
        wait_until(register_all, "all are rolled back", pause=0.02)  # not too fast: 1 000 branches are the limit
        for gid in gids:
            api.wait(gid, "failed")
            assert sorted(c.branch_id for c in one.calls(gid=gid)) == [f"{n:04}" for n in range(1, accepted[gid] + 1)]
        return sum(accepted.values())
    wait_until(race, "something was registered in time")


@each_type
def test_abort_again_is_another_round(api, one, trans_type):
    gid = prepared(api, trans_type, retry_interval=1000)
    url = one.url("ongoing/b", n=1)
    assert branch(api, gid, trans_type, "01", url, url).status == 200
    assert end(api, gid, trans_type, "abort", rollback_reason="first").status == 200
    api.db.wait_attempts(gid, 1, op=OPS[trans_type][1])
    assert end(api, gid, trans_type, "abort").status == 200
    api.wait(gid, "failed")
    assert len(one.calls(gid=gid)) == 2 and api.transaction(gid)["rollback_reason"] == "first"


@each_type
def test_branch_ids_are_the_clients(api, one, trans_type):
    """dtm's old PHP client pads them on the right; nested ones are long."""
    gid, ids = prepared(api, trans_type), ["10", "20", "0201", "x" * 30, "01020304050607080910"]
    for n in ids:
        assert branch(api, gid, trans_type, n, one.url("ok/b"), one.url("ok/b")).status == 200
    assert end(api, gid, trans_type, "submit").status == 200
    api.wait(gid, "succeed")
    called = [c.branch_id for c in one.calls(gid=gid)]
    assert called == (ids[::-1] if trans_type == "tcc" else ids)


@each_type
def test_branch_headers_and_timeout_are_those_of_prepare(api, one, trans_type):
    gid = prepared(api, trans_type, branch_headers={"X-Tenant": "blue"}, request_timeout=50)
    url = one.url("slow/b", ms=7000)    # longer than the server's own
    assert branch(api, gid, trans_type, "01", url, url).status == 200
    assert end(api, gid, trans_type, "submit").status == 200
    api.wait(gid, "succeed")
    assert [c.header("X-Tenant") for c in one.calls(gid=gid)] == [["blue"]]


# --- waiting ---------------------------------------------------------------------------------------

@each_type
def test_waiting(api, one, trans_type):
    gid = branches(api, prepared(api, trans_type, wait_result=True), trans_type, one, "slow", "ok")
    answer = end(api, gid, trans_type, "submit", wait_result=True)
    assert answer.status == 200 and answer.json == {"dtm_result": "SUCCESS"} and api.status(gid) == "succeed"
    gid = branches(api, prepared(api, trans_type, wait_result=True), trans_type, one, "slow", "ok")
    # The option that was stored at prepare: dtm's clients send it with every call.
    answer = end(api, gid, trans_type, "abort", wait_result=True)
    assert answer.status == 200 and api.status(gid) == "failed"


@each_type
@pytest.mark.parametrize("how", ["submit", "abort"])
def test_waiting_for_an_ongoing_branch(api, one, trans_type, how):
    gid = branches(api, prepared(api, trans_type, wait_result=True, retry_interval=1000), trans_type, one, "ongoing")
    answer = end(api, gid, trans_type, how, wait_result=True)
    assert (answer.status, answer.json["dtm_result"]) == (425, "ONGOING"), answer
    assert api.status(gid) == ("submitted" if how == "submit" else "aborting")


@each_type
@pytest.mark.parametrize("how", ["submit", "abort"])
def test_waiting_for_a_branch_that_errs(api, one, trans_type, how):
    gid = branches(api, prepared(api, trans_type, wait_result=True, retry_interval=1000), trans_type, one, "error")
    answer = end(api, gid, trans_type, how, wait_result=True)
    assert (answer.status, list(answer.json)) == (500, ["message"]) and "out of order" in answer.message, answer


# --- TCC -------------------------------------------------------------------------------------------

def test_tcc_with_its_tries(api, one):
    gid = prepared(api)
    for n in ("01", "02"):
        assert branch(api, gid, "tcc", n, one.url("ok/b"), one.url("ok/b")).status == 200
        assert call_try(one, gid, n) == 200
    assert end(api, gid, "tcc", "submit").status == 200
    api.wait(gid, "succeed")
    assert one.effects(gid) == ["01 confirm", "01 try", "02 confirm", "02 try"]
    assert [(c.method, c.body, c.header("Content-Type")) for c in one.calls(gid=gid, op="confirm")] == [
        ("POST", b'{"amount":30}', ["application/json"])] * 2
    assert one.calls(gid=gid, op="confirm")[0].target == f"/ok/b?branch_id=02&gid={gid}&op=confirm&trans_type=tcc"


def test_tcc_whose_second_try_is_refused(api, one):
    gid = prepared(api)
    for n, mode, status in (("01", "ok", 200), ("02", "fail", 409)):
        assert branch(api, gid, "tcc", n, one.url("ok/b"), one.url("ok/b")).status == 200
        assert call_try(one, gid, n, mode) == status
    assert end(api, gid, "tcc", "abort", rollback_reason="02 refused").status == 200
    api.wait(gid, "failed")
    assert one.effects(gid) == ["01 cancel", "01 try"], "the cancel of 02 was an empty one"


def test_nested_tcc(api, one):
    """A branch registers branches of its own, below its id."""
    gid = prepared(api)
    for n in ("01", "02", "0201", "0202"):
        assert branch(api, gid, "tcc", n, one.url("ok/b"), one.url("ok/b")).status == 200
        assert call_try(one, gid, n) == 200
    assert end(api, gid, "tcc", "submit").status == 200
    api.wait(gid, "succeed")
    assert [c.branch_id for c in one.calls(gid=gid, op="confirm")] == ["0202", "0201", "02", "01"]


def test_tcc_without_data_is_a_get(api, one):
    gid = prepared(api)
    assert branch(api, gid, "tcc", "01", one.url("ok/b"), "", data="").status == 200
    assert end(api, gid, "tcc", "submit").status == 200
    api.wait(gid, "succeed")
    assert [(c.method, c.body) for c in one.calls(gid=gid)] == [("GET", b"")]


# --- XA --------------------------------------------------------------------------------------------

def test_xa_is_always_a_post(api, one):
    gid = branches(api, prepared(api, "xa"), "xa", one, "ok")
    assert api.post("registerBranch", gid=gid, trans_type="xa", branch_id="02", url=one.url("ok/b"),
                    data="with a body").status == 200
    assert end(api, gid, "xa", "submit").status == 200
    api.wait(gid, "succeed")
    assert [(c.method, c.body) for c in one.calls(gid=gid)] == [("POST", b""), ("POST", b"with a body")]
    assert one.calls(gid=gid)[0].target == f"/ok/b1?branch_id=01&gid={gid}&op=commit&trans_type=xa"
