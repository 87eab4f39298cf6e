"""Sagas from the outside: what is called, in which order, and how it ends (dtm-compat 5.5, P3-P6)."""
import pytest

from cluster import wait_until
from dtm import AFTER_A_STALL, step


def steps(service, *modes):
    """One step per mode, with compensation and payload."""
    return [step(service.url(f"{mode}/s{n}"), service.url(f"ok/u{n}"), {"n": n})
            for n, mode in enumerate(modes)]


def test_serial_success(db, one):
    gid = db.saga(*steps(one, "ok", "ok", "ok"))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action", "03 action"]
    row = db.row(gid)
    assert row["finish_time"] is not None and row["rollback_time"] is None


def test_a_step_waits_for_the_one_before(db, one):
    gid = db.saga(step(one.url(f"hold/{db.new_gid('gate')}"), None, {}), *steps(one, "ok"),
                  request_timeout=60)
    gate = one.wait_calls(1, gid=gid)[0].name
    db.passed_by(one)
    assert one.sequence(gid) == ["01 action"]
    one.release(gate)
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


def test_failure_compensates_in_reverse(db, one):
    gid = db.saga(*steps(one, "ok", "ok", "fail", "ok"))
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 action", "02 action", "03 action",
                                 "03 compensate", "02 compensate", "01 compensate"]
    # Branch 03 refused, so its compensation is an empty one; 04 was never reached.
    assert one.effects(gid) == ["01 action", "01 compensate", "02 action", "02 compensate"]
    row = db.row(gid)
    assert row["rollback_time"] is not None and row["finish_time"] is None


def test_branch_statuses_after_a_rollback(db, one):
    gid = db.saga(*steps(one, "ok", "fail"))
    db.wait(gid, "failed")
    found = {f"{b} {o}": s for b, o, s in db.q(
        "select branch_id, op, status from dtm.branch where gid = %s", gid)}
    assert found == {"01 compensate": "succeed", "01 action": "succeed",
                     "02 compensate": "succeed", "02 action": "failed"}


def test_a_compensation_is_repeated_until_it_succeeds(db, one):
    gid = db.saga(step(one.url("ok/a"), one.url("error/u", n=2), {}), *steps(one, "fail"))
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 action", "02 action", "02 compensate"] + ["01 compensate"] * 3
    assert one.effects(gid) == ["01 action", "01 compensate"]


def test_empty_urls_succeed_without_a_call(db, one):
    gid = db.saga(step("", None, {}), step(one.url("ok/b"), "", {}), step(one.url("fail/c"), "", {}))
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["02 action", "03 action"]


def test_only_empty_urls(db):
    db.wait(db.saga(step(""), step("")), "succeed")


def test_concurrent_branches_run_at_the_same_time(db, one):
    gate = db.new_gid("gate")
    gid = db.saga(*[step(one.url(f"hold/{gate}"), None, {})] * 3, concurrent=True, request_timeout=60)
    one.wait_calls(3, gid=gid)
    one.release(gate)
    db.wait(gid, "succeed")
    assert sorted(one.sequence(gid)) == ["01 action", "02 action", "03 action"]


def test_orders_are_kept(db, one):
    """A diamond: 1 and 2 after 0, 3 after both."""
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url("ok/d0"), None, {}), step(one.url("ok/d1"), None, {}, [0]),
                  step(one.url(f"hold/{gate}"), None, {}, [0]), step(one.url("ok/d3"), None, {}, [1, 2]),
                  request_timeout=60)
    one.wait_calls(3, gid=gid)
    db.passed_by(one)
    assert one.sequence(gid)[0] == "01 action"
    assert sorted(one.sequence(gid)) == ["01 action", "02 action", "03 action"]
    one.release(gate)
    db.wait(gid, "succeed")
    assert one.sequence(gid)[3:] == ["04 action"]


def test_orders_are_reversed_by_compensation(db, one):
    gid = db.saga(step(one.url("ok/d0"), one.url("ok/u"), {}), step(one.url("ok/d1"), one.url("ok/u"), {}, [0]),
                  step(one.url("ok/d2"), one.url("ok/u"), {}, [1]),
                  step(one.url("fail/d3"), one.url("ok/u"), {}, [2]))
    db.wait(gid, "failed")
    assert one.sequence(gid)[4:] == ["04 compensate", "03 compensate", "02 compensate", "01 compensate"]


def test_a_rollback_waits_for_actions_in_flight(db, one):
    """D21: the compensation of a branch never overtakes its action."""
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{gate}"), one.url("ok/u"), {}), step(one.url("fail/f"), one.url("ok/u"), {}),
                  concurrent=True, request_timeout=60)
    one.wait_calls(2, gid=gid)
    wait_until(lambda: db.branch(gid, "02")["status"] == "failed" or db.status(gid) == "aborting",
               "the failure is known")
    db.passed_by(one)
    assert "01 compensate" not in one.sequence(gid)
    one.release(gate)
    db.wait(gid, "failed")
    assert one.effects(gid) == ["01 action", "01 compensate"]


def test_dtms_own_request_for_a_concurrent_saga(db, one):
    gid = db.submit_request({
        "trans_type": "saga", "custom_data": '{"concurrent":true,"orders":{"1":[0]}}', "concurrent": True,
        "steps": [{"action": one.url("ok/a"), "compensate": one.url("ok/b")}] * 2,
        "payloads": ['{"amount":30}'] * 2, "protocol": ""})
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


def test_timeout_to_fail_rolls_back(db, one):
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("ongoing/b"), one.url("ok/u"), {}),
                  step(one.url("ok/c"), one.url("ok/u"), {}), timeout_to_fail=AFTER_A_STALL, retry_interval=1)
    db.wait(gid, "failed")
    assert db.row(gid)["rollback_reason"] == f"Timeout after {AFTER_A_STALL} seconds"
    sequence = one.sequence(gid)
    assert sequence[-2:] == ["02 compensate", "01 compensate"], "what may have run is undone"
    assert not [c for c in sequence if c.startswith("03")], "what was never started is left alone"


def test_a_saga_without_timeout_does_not_time_out(db, one):
    gid = db.saga(step(one.url("ongoing/a"), one.url("ok/u"), {}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    assert db.status(gid) == "submitted"


@pytest.mark.parametrize("errors, end", [(1, "succeed"), (2, "failed")])
def test_retry_limit(db, one, errors, end):
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("error/b", n=errors), one.url("ok/u"), {}),
                  retry_limit=1, retry_interval=1)
    db.wait(gid, end)
    if end == "failed":
        assert db.row(gid)["rollback_reason"] == "RetryCount is greater than RetryLimit, RetryLimit: 1"
        assert one.sequence(gid)[-2:] == ["02 compensate", "01 compensate"]


def test_a_hundred_sagas_at_once(db, one):
    """One transaction submits them all; nothing is called before its commit."""
    gids = [db.new_gid("many") for _ in range(100)]
    db.conn.autocommit = False
    for n, gid in enumerate(gids):
        db.saga(*steps(one, "ok", "fail" if n % 3 == 0 else "ok"), gid=gid)
    assert not [g for g in gids if one.calls(gid=g)]
    db.conn.commit()
    db.conn.autocommit = True
    ends = db.wait_all(gids)
    assert [ends[g] for g in gids] == ["failed" if n % 3 == 0 else "succeed" for n in range(100)]
