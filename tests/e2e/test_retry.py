"""Retries from the outside: ongoing keeps the interval, errors double it, counts survive, the alarm rings
once, a dead host delays nobody else (dtm-compat 5.10, 5.12; P1, P8)."""
import json

from cluster import free_port, wait_until
from dtm import step
from service import Service

LONG = 1000  # seconds: the next attempt comes only when a test asks for it


def attempt(db, gid, number):
    """Waits for the number-th answer and returns the seconds until the next attempt."""
    db.wait_attempts(gid, number)
    return db.until_next(gid)


def test_ongoing_keeps_the_interval(db, one):
    gid = db.saga(step(one.url("ongoing/a", n=3), None, {}), retry_interval=LONG)
    for number in (1, 2, 3):
        assert LONG * 0.9 < attempt(db, gid, number) < LONG * 1.2
        db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 4


def test_errors_back_off(db, one):
    gid = db.saga(step(one.url("error/a", n=3), None, {}), retry_interval=LONG)
    for number, factor in ((1, 2), (2, 4), (3, 8)):
        # dtm's sequence, capped at an hour, plus at most 10 % jitter.
        expected = min(factor * LONG, 3600)
        assert expected * 0.9 < attempt(db, gid, number) < expected * 1.15
        db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")


def test_retries_come_by_themselves(db, one):
    gid = db.saga(step(one.url("error/a", n=2), None, {}), retry_interval=1)
    db.wait(gid, "succeed")
    calls = one.calls(gid=gid)
    gaps = [b.at - a.at for a, b in zip(calls, calls[1:])]
    assert len(gaps) == 2 and gaps[0] > 1.9 and gaps[1] > 3.9, "came back too early"


def test_the_last_error_can_be_seen(db, one):
    gid = db.saga(step(one.url("status/a", status=503, body="out of paper"), None, {}), retry_interval=LONG)
    db.wait_attempts(gid, 1)
    assert "out of paper" in db.branch(gid)["last_error"]
    assert "out of paper" in db.explain(gid)


def test_attempts_survive_the_coordinator(db, shared_cluster, one):
    gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=100)
    attempt(db, gid, 1)
    db.q("select dtm_retry_now(%s)", gid)
    attempt(db, gid, 2)
    before = shared_cluster.coordinators()
    shared_cluster.expect("terminating (background worker|connection)", "due to administrator command")
    db.q("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'dtm coordinator'"
         " and datname = current_database()")
    shared_cluster.wait_coordinator(other_than=before)
    assert db.branch(gid)["attempts"] == 2
    db.q("select dtm_retry_now(%s)", gid)
    assert 700 < attempt(db, gid, 3) < 920, "the back-off goes on where it was"


def test_the_alarm_rings_once(db, one):
    gid = db.saga(step(one.url("error/alarming", n=5), None, {}), retry_interval=LONG)

    def alarms():
        return [json.loads(c.body) for c in one.calls(name="alert") if json.loads(c.body)["gid"] == gid]
    for number in range(1, 6):
        db.wait_attempts(gid, number)
        if number < 3:
            assert alarms() == []
        if number == 3:
            wait_until(alarms, "the alarm rings")
        db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")
    db.passed_by(one)
    assert len(alarms()) == 1, alarms()
    alarm = alarms()[0]
    assert alarm["status"] == "submitted" and alarm["retry_count"] == 3
    assert alarm["branch"] == one.url("error/alarming", n=5) and alarm["error"]


def test_ongoing_rings_no_alarm(db, one):
    gid = db.saga(step(one.url("ongoing/a", n=5), None, {}), retry_interval=LONG)
    for number in range(1, 6):
        db.wait_attempts(gid, number)
        db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")
    db.passed_by(one)
    assert not [c for c in one.calls(name="alert") if json.loads(c.body)["gid"] == gid]


def test_a_silent_host_does_not_stop_another(db, one, two):
    """P8: more calls than a host may have in flight go to one that never answers."""
    dead = [db.saga(step(two.url("never/dead"), None, {}), retry_interval=LONG, request_timeout=LONG)
            for _ in range(300)]
    try:
        two.wait_calls(50, name="dead")
        live = [db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}))
                for _ in range(100)]
        assert set(db.wait_all(live).values()) == {"succeed"}
        assert {s for s, in db.q("select distinct status from dtm.trans where gid = any(%s)", dead)} == {
            "submitted"}, "the dead ones still hang"
    finally:
        db.stop_leftovers()
        two.kill()  # resets what hangs
        two.start()


def test_the_limit_per_host_is_kept(db, shared_cluster, one, two):
    shared_cluster.reload(dtm__max_in_flight_per_host=5)
    try:
        wait_until(lambda: db.one("show dtm.max_in_flight_per_host") == "5", "the setting is loaded")
        db.passed_by(one)
        gids = [db.new_gid("limit") for _ in range(40)]
        with db.conn.transaction():
            for gid in gids:
                db.saga(step(two.url("slow/limited", ms=50), None, {}), gid=gid)
        assert set(db.wait_all(gids).values()) == {"succeed"}
        assert 2 <= max(c.in_flight for c in two.calls(name="limited")) <= 5
    finally:
        shared_cluster.settings.pop("dtm.max_in_flight_per_host")
        shared_cluster.reload()


def test_a_refusing_host_does_not_stop_another(db, one):
    nobody = f"http://127.0.0.1:{free_port()}/x"
    dead = [db.saga(step(nobody, None, {}), retry_interval=1) for _ in range(200)]
    live = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(50)]
    assert set(db.wait_all(live).values()) == {"succeed"}
    assert db.one("select count(*) from dtm.trans where gid = any(%s) and status = 'submitted'",
                  dead) == len(dead)


def test_a_service_that_comes_back_is_served(db):
    late = Service("late")
    try:
        gid = db.saga(step(late.url("ok/a"), None, {}), retry_interval=LONG)
        db.wait_attempts(gid, 1)
        late.start()
        db.q("select dtm_retry_now(%s)", gid)
        db.wait(gid, "succeed")
        # and killed in the middle of a call
        gid = db.saga(step(late.url("slow/b", ms=60_000, n=1), None, {}), retry_interval=1, request_timeout=60)
        late.wait_calls(1, gid=gid)
        late.kill()
        late.start()
        db.wait(gid, "succeed")
        assert late.effects(gid) == ["01 action"]
    finally:
        late.destroy()
