"""What a coordinator finds by itself when nobody told it, or when what was told was lost: rows that are due, and
changes to transactions that it has in memory (issue 5, point 9)."""
import threading

import pytest

from cluster import wait_until
from dtm import step
from test_bounds import LONG, multiply, stat
from test_prepared import prepare


def commit_prepared(db, work):
    """Does work() in a transaction that COMMIT PREPARED ends, which tells no coordinator."""
    name = db.new_gid("twophase")
    db.q("begin")
    work()
    db.q(f"prepare transaction '{name}'")
    db.q(f"commit prepared '{name}'")


# --- changes ------------------------------------------------------------------------------------------

@pytest.mark.settings({"autovacuum": "off"})
def test_a_verb_whose_hint_is_lost_reaches_what_is_in_memory(own_cluster, session, one):
    """The coordinator waits for the lock of the statement that tells it of more than its ring takes."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    held = db.saga(step(one.url(f"hold/{name}"), None, {}), step(one.url("ok/next"), None, {}), request_timeout=LONG)
    one.wait_calls(1, gid=held)
    db.q("select dtm_submit('msg', array[dtm_step(%s)], 'late-' || n, '{\"delay\": 1000}')"
         " from generate_series(1, 9000) n", one.url("ok/late"))
    wait_until(lambda: stat(db, "ring") == 0, "it has heard of them")
    before = stat(db, "ring_overflows")
    with db.conn.transaction():
        db.q("lock table dtm.trans in access exclusive mode")
        db.q("select dtm_pause(gid) from (select gid from dtm.trans order by gid = %s, gid offset 0) t", held)
    wait_until(lambda: stat(db, "ring") == 0, "it has heard what was not lost")
    assert stat(db, "ring_overflows") > before
    db.passed_by(one)
    one.release(name)
    wait_until(lambda: stat(db, "in_flight") == 0, "the call ends")
    db.passed_by(one)
    assert one.sequence(held) == ["01 action"]
    assert db.one("select attention like 'paused by%%' from dtm.trans where gid = %s", held)
    db.q("delete from dtm.trans where gid like 'late-%'")


@pytest.mark.settings({"dtm.max_in_flight_per_host": 1, "autovacuum": "off"})
@pytest.mark.parametrize("verb", ["select dtm_force_stop(%s)", "select dtm_pause(%s)",
                                  "delete from dtm.trans where gid = %s"])
def test_a_verb_of_a_prepared_transaction_reaches_what_is_in_memory(own_cluster, session, one, two, verb):
    db = session(own_cluster)
    name = db.new_gid("gate")
    steps = step(one.url(f"hold/{name}"), None, {}), step(one.url("ok/next"), None, {})
    held, in_line = [db.saga(*steps, request_timeout=LONG) for _ in range(2)]
    wait_until(lambda: stat(db, "active") == 2 and stat(db, "in_flight") == 2, "both are in memory")
    first = one.wait_calls(1, name=name)[0].gid
    commit_prepared(db, lambda: [db.q(verb, gid) for gid in (held, in_line)])
    wait_until(lambda: stat(db, "active") == 1, "the one that stands in line has left")
    one.release(name)
    wait_until(lambda: stat(db, "active") == 0, "the call ends")
    db.passed_by(two)
    assert one.sequence(first) == ["01 action"]
    assert len(one.calls(name=name)) == 1


# --- rows that are due --------------------------------------------------------------------------------

@pytest.mark.settings({"autovacuum": "off", "dtm.timeout_to_fail": 3600})
def test_rows_that_are_due_too_early_hide_no_others(own_cluster, session, one):
    """Prepared messages whose timeout was raised after they said when they are due."""
    db = session(own_cluster)
    asked = db.new_gid("asked")
    model = prepare(db, "msg", query_prepared=one.url(f"ok/{asked}"), steps=[{"action": one.url("ok/a")}],
                    payloads=["{}"])
    multiply(db, model, 1500, "-1 hour")
    gid = db.new_gid("late")
    commit_prepared(db, lambda: db.saga(step(one.url("ok/a"), None, {}), gid=gid))
    db.wait(gid, "succeed")
    wait_until(lambda: db.one("select count(*) from dtm.trans where next_cron_time <= clock_timestamp()") == 0,
               "all say when they are due")
    taken = stat(db, "taken_by_sweep")
    assert taken < 3 * 1500
    again = [db.new_gid("late") for _ in range(2)]
    for gid in again:
        commit_prepared(db, lambda gid=gid: db.saga(step(one.url("ok/a"), None, {}), gid=gid))
        db.wait(gid, "succeed")
    assert stat(db, "taken_by_sweep") <= taken + 10
    assert one.calls(name=asked) == []
    db.q("delete from dtm.trans where status = 'prepared'")


@pytest.mark.settings({"autovacuum": "off"})
def test_many_rows_of_one_time_are_all_found(own_cluster, session, one):
    db = session(own_cluster)
    model = db.saga(step(""))
    db.wait(model, "succeed")
    db.q("insert into dtm.trans (gid, trans_type, status, owner, request, next_cron_time)"
         " select %s || n, trans_type, 'submitted', owner, request, now() - interval '1 hour'"
         " from dtm.trans, generate_series(1, 5000) n where gid = %s", model + "-", model)
    wait_until(lambda: db.one("select count(*) from dtm.trans where status = 'succeed'") == 5001, "all end")


@pytest.mark.settings({"autovacuum": "off", "dtm.max_active": 10, "dtm.sweep_interval": 10})
def test_what_nobody_told_of_is_not_kept_waiting_by_what_was_told(own_cluster, session, one):
    """The oldest row of all is not the last to be taken up, however many hints wait for the places that come free."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    held = [db.saga(step(host + f"hold/{name}", None, {}), request_timeout=LONG) for host in one.hosts(10)]
    one.wait_calls(10, name=name)
    oldest = db.new_gid("oldest")
    commit_prepared(db, lambda: db.saga(step(""), gid=oldest))
    gids = [db.new_gid("told") for _ in range(4000)]
    with db.conn.transaction():
        db.q("select dtm_submit('saga', array[dtm_step('')], gid) from unnest(%s::text[]) gid", gids)
    wait_until(lambda: stat(db, "ring") == 0, "it has heard of them")
    one.release(name)
    assert set(db.wait_all(held + gids + [oldest]).values()) == {"succeed"}
    assert db.one("select count(*) from dtm.trans where gid = any(%s) and finish_time >"
                  " (select finish_time from dtm.trans where gid = %s)", gids, oldest) > 2000


# --- orders -------------------------------------------------------------------------------------------

def test_an_order_that_could_not_be_read_comes_before_all_that_follows(own_cluster, session, one, two):
    db, writer, locker = (session(own_cluster, autocommit=a) for a in (True, False, False))
    writer.q("select dtm_pause(host => %s)", one.url(""))
    thread = threading.Thread(target=lambda: locker.q("lock table dtm.control in access exclusive mode"))
    thread.start()
    wait_until(lambda: db.one("select exists (select from pg_locks where pid = %s and not granted)",
                              locker.conn.info.backend_pid), "it waits for the lock")
    offset = own_cluster.log_size()
    writer.conn.commit()  # it tells the coordinator, and the lock is next
    thread.join()
    wait_until(lambda: "cannot work and tries again" in own_cluster.log_text(offset), "it cannot read its orders")
    gid = db.saga(step(one.url("ok/a"), None, {}))
    locker.conn.rollback()
    db.passed_by(two)
    assert one.calls(gid=gid) == []
    db.q("select dtm_resume(host => %s)", one.url(""))
    db.wait(gid, "succeed")
