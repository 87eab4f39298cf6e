"""kill -9 at chosen moments: nothing lost, nothing forgotten, no decision reversed (P1, P3-P6)."""
import os
import signal

import pytest

from cluster import wait_until
from conftest import running_cluster
from dtm import AFTER_A_STALL, step

PATIENT = {"request_timeout": 60, "retry_interval": 1}


@pytest.fixture(scope="module")
def victim():
    with running_cluster("victim") as cluster:
        yield cluster


def kill_coordinator(cluster):
    """SIGKILL of one process makes the postmaster restart all of them."""
    cluster.expect_crash()
    pid = cluster.wait_coordinator()[0]
    offset = cluster.log_size()
    os.kill(pid, signal.SIGKILL)
    # Restarted means: this postmaster has finished the recovery, not only noticed the death.
    wait_until(lambda: "database system is ready" in cluster.log_text(offset), "crash restart")
    cluster.wait_ready()


def kill_postmaster(cluster):
    cluster.expect_crash()
    cluster.kill_postmaster()
    cluster.start()


def terminate_coordinator(cluster):
    cluster.expect("due to administrator command")
    before = cluster.wait_coordinator()
    cluster.sql("select pg_terminate_backend(%s)", before[0])
    cluster.wait_coordinator(other_than=before)


def shut_down(cluster):
    cluster.restart()


blows = pytest.mark.parametrize("blow", [kill_coordinator, kill_postmaster, terminate_coordinator, shut_down])


@blows
def test_a_call_in_flight_is_made_again(victim, session, one, blow):
    db = session(victim)
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url("ok/a"), None, {}), step(one.url(f"hold/{gate}"), None, {}), **PATIENT)
    one.wait_calls(1, gid=gid, branch_id="02")
    db.close()
    blow(victim)
    one.wait_calls(2, gid=gid, branch_id="02")
    one.release(gate)
    session(victim).wait(gid, "succeed")
    assert one.effects(gid) == ["01 action", "02 action"]


@blows
def test_a_decision_to_roll_back_stands(victim, session, one, blow):
    """P4: after the first compensation no action is ever called again."""
    db = session(victim)
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url("ok/a"), one.url(f"hold/{gate}"), {}), step(one.url("fail/b"), one.url("ok/u"), {}),
                  **PATIENT)
    one.wait_calls(1, gid=gid, branch_id="01", op="compensate")
    db.close()
    blow(victim)
    one.release(gate)
    db = session(victim)
    db.wait(gid, "failed")
    sequence = one.sequence(gid)
    assert not [c for c in sequence[3:] if c.endswith("action")], sequence
    assert one.effects(gid) == ["01 action", "01 compensate"]
    assert "refused" in db.row(gid)["rollback_reason"]


@blows
def test_a_branch_that_may_have_run_is_undone(victim, session, one, blow):
    """P6, the frontier: A ok, B called, crash, timeout decides. B may have run."""
    db = session(victim)
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}),
                  step(one.url(f"hold/{gate}"), one.url("ok/u"), {}),
                  step(one.url("ok/c"), one.url("ok/u"), {}),
                  request_timeout=2, retry_interval=1, timeout_to_fail=2 + AFTER_A_STALL)
    one.wait_calls(1, gid=gid, branch_id="02")
    db.close()
    blow(victim)
    session(victim).wait(gid, "failed")
    compensated = [c.branch_id for c in one.calls(gid=gid, op="compensate")]
    assert "02" in compensated and "01" in compensated
    assert compensated == sorted(compensated, reverse=True), "in reverse order"
    one.release(gate)


@blows
def test_a_crash_between_commit_and_call_forgets_nothing(victim, session, one, blow):
    """Hundreds are committed a moment before the blow."""
    db = session(victim)
    gids = [db.new_gid("burst") for _ in range(300)]
    with db.conn.transaction():
        for gid in gids:
            db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}), gid=gid)
    db.close()
    blow(victim)
    assert set(session(victim).wait_all(gids).values()) == {"succeed"}
    assert all(one.effects(g) == ["01 action", "02 action"] for g in gids)


@blows
def test_an_end_that_was_seen_stays(victim, session, one, blow):
    db = session(victim)
    good = db.saga(step(one.url("ok/a"), None, {}))
    bad = db.saga(step(one.url("fail/a"), one.url("ok/u"), {}))
    db.wait(good, "succeed")
    db.wait(bad, "failed")
    calls = one.sequence(good), one.sequence(bad)
    db.close()
    blow(victim)
    db = session(victim)
    db.passed_by(one)
    assert (db.status(good), db.status(bad)) == ("succeed", "failed")
    assert (one.sequence(good), one.sequence(bad)) == calls, "nobody is called again"


def test_a_prepared_submit_survives_the_postmaster(victim, session, one):
    db = session(victim)
    gid, name = db.new_gid("prepared"), db.new_gid("twophase")
    db.q("begin")
    db.saga(step(one.url("ok/a"), None, {}), gid=gid)
    db.q(f"prepare transaction '{name}'")
    db.close()
    kill_postmaster(victim)
    db = session(victim)
    db.passed_by(one)
    assert one.calls(gid=gid) == []
    db.q(f"commit prepared '{name}'")
    db.wait(gid, "succeed")


def test_a_killed_client_backend_hurts_nobody(victim, session, one):
    """SIGKILL of a backend in the middle of a submit: crash restart, its transaction never was."""
    db = session(victim)
    before = db.saga(step(one.url("ok/a"), None, {}))
    doomed = session(victim, autocommit=False)
    gid = doomed.saga(step(one.url("ok/a"), None, {}))
    victim.expect_crash()
    offset = victim.log_size()
    os.kill(doomed.conn.info.backend_pid, signal.SIGKILL)
    wait_until(lambda: "database system is ready" in victim.log_text(offset), "crash restart")
    victim.wait_ready()
    db = session(victim)
    db.wait(before, "succeed")
    db.passed_by(one)
    assert db.row(gid) is None and one.calls(gid=gid) == []
