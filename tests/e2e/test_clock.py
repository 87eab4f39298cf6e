"""What a clock can do to the processes of a server: it is set back, and everything that waits for its time still comes
to an end; it stands still or runs, and no delay is shorter than it is meant to be (clock.py)."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import Api, both, listen_settings, saga, wait_listening
from clock import Clock
from cluster import wait_until
from conftest import with_extension
from dtm import step
from test_bounds import stat
from test_retention import insert_finished, rows_of
from test_sweep import commit_prepared

HOUR, DAY = 3600, 86400


# --- set back -----------------------------------------------------------------------------------------

def test_a_launcher_goes_on_when_the_clock_was_set_back(own_cluster, session, one):
    """A database that nobody told of is found, and a coordinator that ended is started again."""
    clock = Clock(own_cluster)
    own_cluster.expect("due to administrator command")
    own_cluster.sql("create database model", dbname="postgres")
    with_extension(own_cluster, "model")
    own_cluster.sql("alter database model is_template true", dbname="postgres")
    own_cluster.wait_no_coordinator("model")
    clock.set(-HOUR)
    own_cluster.sql("create database copy template model", dbname="postgres")
    own_cluster.wait_coordinator("copy")
    before = own_cluster.wait_coordinator()
    clock.set(-2 * HOUR)
    own_cluster.sql("select pg_terminate_backend(%s)", before[0])
    own_cluster.wait_coordinator(other_than=before)
    db = session(own_cluster)
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")


@pytest.mark.settings({"dtm.retention": HOUR, "dtm.barrier_retention": HOUR})
def test_housekeeping_goes_on_when_the_clock_was_set_back(own_cluster, session):
    """Its last look was in the future, and so is the place to which it has come."""
    clock = Clock(own_cluster)
    db = session(own_cluster)
    begin = db.new_gid("young")
    insert_finished(db, begin, age="2 hours")
    own_cluster.reload(dtm__retention=HOUR + 1)
    wait_until(lambda: rows_of(db, begin) == 0, "it keeps house; the next look is a minute away")
    old, event = db.new_gid("old"), db.new_gid("event")
    insert_finished(db, old, age="3 days")
    db.q("insert into dtm.event (gid, time, verb, role) values (%s, now() - interval '3 days', 'pause', 'x')", event)
    clock.set(-DAY)
    wait_until(lambda: rows_of(db, old) == 0, "what is old is removed")
    wait_until(lambda: db.one("select count(*) from dtm.event where gid = %s", event) == 0, "and what was done to it")


@pytest.mark.settings({"dtm.max_in_flight_per_host": 1})
def test_a_coordinator_goes_on_when_the_clock_was_set_back(own_cluster, session, one):
    """Work and orders that nobody told of, a change of what is in memory, and what others see of it."""
    clock = Clock(own_cluster)
    db = session(own_cluster)
    name = db.new_gid("gate")
    gids = [db.saga(step(one.url(f"hold/{name}"), None, {}), request_timeout=HOUR) for _ in range(2)]
    first = one.wait_calls(1, name=name)[0].gid
    wait_until(lambda: stat(db, "active") == 2, "the other one stands in line")
    clock.set(-HOUR)
    gid = db.new_gid("untold")
    commit_prepared(db, lambda: db.saga(step(""), gid=gid))
    db.wait(gid, "succeed")
    [in_line] = set(gids) - {first}
    commit_prepared(db, lambda: db.q("select dtm_force_stop(%s)", in_line))
    wait_until(lambda: stat(db, "active") == 1, "it has left")
    one.release(name)
    db.wait(first, "succeed")
    assert {c.gid for c in one.calls(name=name)} == {first}
    wait_until(lambda: db.one("select calls from dtm.stat_endpoint where endpoint = %s", one.url("")[:-1]) == 1,
               "others see what hosts did")
    commit_prepared(db, lambda: db.q("select dtm_pause(host => %s)", one.url("")))
    kept = db.saga(step(one.url("ongoing/kept"), None, {}), retry_interval=HOUR)

    def is_kept_back():
        db.q("select dtm_retry_now(%s)", kept)
        return "is paused" in (db.row(kept)["last_error"] or "")
    wait_until(is_kept_back, "the order is known")


@pytest.mark.settings({**listen_settings(), "dtm.workers": 2})
def test_clients_are_answered_when_the_clock_was_set_back(own_cluster, session, one):
    """Also by a coordinator that sees in its row only how far the other one is."""
    clock = Clock(own_cluster)
    api = wait_listening(Api(own_cluster, session(own_cluster)))
    api.db.passed_by(one)
    clock.set(-HOUR)
    gids = [saga(api, both(one, "ok"), wait_result=True) for _ in range(12)]  # of both slices
    assert [api.status(gid) for gid in gids] == ["succeed"] * 12
    api.close()


# --- not before its time ------------------------------------------------------------------------------

@pytest.mark.settings({"autovacuum": "off", "dtm.sweep_interval": 10})
def test_a_slow_look_at_all_rows_is_a_rare_one(own_cluster, session):
    """Rows whose commit came late are found by a look at all rows that are due. One that took more than three seconds
    is not taken again within a minute; the others go on."""
    clock = Clock(own_cluster)
    db = session(own_cluster)
    model = db.saga(step(""))
    db.wait(model, "succeed")

    def due_since(age):
        gid = db.new_gid("due")
        db.q("insert into dtm.trans (gid, trans_type, status, owner, request, next_cron_time)"
             " select %s, trans_type, 'submitted', owner, request, clock_timestamp() - %s::interval from dtm.trans"
             " where gid = %s", gid, age, model)
        return gid
    clock.slow_down(20)
    db.wait(due_since("1 hour"), "succeed")
    late = due_since("1 hour")
    clock.set(12)   # seconds: more than between two looks that are not slow
    db.wait(due_since("0 s"), "succeed")
    assert db.status(late) == "submitted"
    clock.set(80)
    db.wait(late, "succeed")


@pytest.mark.settings({**listen_settings(), "dtm.max_in_flight_per_host": 1})
def test_who_has_waited_longest_is_told_that_it_goes_on(own_cluster, session, one, two):
    """As long as its calls may take, and two minutes for what keeps them from leaving (wait_result): then 425."""
    clock = Clock(own_cluster)
    api = wait_listening(Api(own_cluster, session(own_cluster)))
    name = api.new_gid("gate")
    first = api.db.saga(step(one.url(f"hold/{name}"), None, {}), request_timeout=DAY)
    one.wait_calls(1, gid=first)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(saga, api, both(one, "ok", "next"), answer=True, wait_result=True, request_timeout=60)
        wait_until(lambda: stat(api.db, "active") == 2, "its call stands in line")
        clock.pass_by(200)
        clock.set(10)   # so the coordinator looks who has waited too long
        api.db.passed_by(two)
        assert not waiting.done()
        clock.set(-HOUR)
        clock.pass_by(100)
        answer, gid = waiting.result(60)
    assert (answer.status, answer.json["dtm_result"]) == (425, "ONGOING"), answer
    assert "goes on" in answer.message
    assert api.status(gid) == "submitted" and one.calls(gid=gid) == []
    one.release(name)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]
    api.close()
