"""Finished transactions leave by themselves when they are old enough, and nothing else does (P12, P1)."""
import json
import threading

import pytest

from barrier_table import databases
from cluster import wait_until
from conftest import meets_the_coordinator, running_cluster, with_extension
from dtm import step

DAYS = 86400
LONG = {"request_timeout": 1000, "retry_interval": 1000}


@pytest.fixture(scope="module")
def house():
    """The cluster of this file. Its coordinators keep house when the settings are loaded again."""
    with running_cluster("retention", {"autovacuum": "off"}, extension=False) as cluster:
        yield cluster


@pytest.fixture
def new_database(house):
    with databases(house) as make:
        yield make
    house.reload(dtm__retention=7 * DAYS)


@pytest.fixture
def db(house, session, new_database):
    return session(house, new_database(extension=True))


def insert_finished(db, prefix, count=1, age="8 days", status="succeed"):
    """What ended long ago, as the coordinator would have left it."""
    column = "finish_time" if status == "succeed" else "rollback_time"
    db.q(f"insert into dtm.trans (gid, trans_type, status, owner, request, create_time, update_time, {column})"
         " select %s || n, 'saga', %s, current_user::regrole, '{}', t, t, t"
         " from generate_series(1, %s) n, (select now() - %s::interval) a(t)", prefix, status, count, age)


def rows_of(db, prefix):
    return db.one("select count(*) from dtm.trans where starts_with(gid, %s)", prefix)


def age(db, gid, time="8 days"):
    """Makes a transaction that has ended older than it is."""
    db.q("update dtm.trans set finish_time = finish_time - %s::interval, rollback_time = rollback_time - %s::interval"
         " where gid = %s", time, time, gid)


def gone(house, db, prefix, **changes):
    house.reload(**changes)
    wait_until(lambda: rows_of(db, prefix) == 0, f"{prefix} is removed")


def looked(house, db):
    """Returns after the coordinator has kept house once more: what is younger than this marker, and old enough to
    go, has gone. Transactions go first, then events."""
    name = db.new_gid("marker")
    db.q("insert into dtm.event (gid, time, verb, role) values (%s, now() - interval '10000 days', 'pause', 'x')", name)
    house.reload()
    wait_until(lambda: db.one("select count(*) from dtm.event where gid = %s", name) == 0, "it keeps house")


def test_the_old_leave_and_the_young_stay(house, db, one):
    done, young = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(2)]
    undone = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("fail/a"), one.url("ok/u"), {}))
    message = db.msg(step(one.url("ok/a"), None, {}))
    stopped = db.saga(step(one.url("ongoing/a"), None, {}), **LONG)
    db.wait_attempts(stopped, 1)
    db.q("select dtm_force_stop(%s)", stopped)
    db.wait_all([done, young, undone, message, stopped])
    for gid in (done, undone, message, stopped):
        age(db, gid)
    age(db, young, "6 days 23 hours")
    looked(house, db)
    assert [g for g in (done, undone, message, stopped) if db.status(g)] == []
    assert db.status(young) == "succeed"
    assert db.one("select dtm_wait(%s, '1 s')", young) == "succeed"
    gone(house, db, young, dtm__retention=6 * DAYS)


def test_the_unfinished_stay_however_old(house, db, one):
    gate = db.new_gid("gate")
    flying = db.saga(step(one.url(f"hold/{gate}"), None, {}), **LONG)
    waiting = db.saga(step(one.url("ongoing/a"), None, {}), **LONG)
    undoing = db.saga(step(one.url("ok/a"), one.url("ongoing/u"), {}), step(one.url("fail/b"), None, {}), **LONG)
    paused = db.saga(step(one.url("ongoing/a"), None, {}), **LONG)
    one.wait_calls(1, gid=flying)
    for gid in (waiting, paused):
        db.wait_attempts(gid, 1)
    db.wait_attempts(undoing, 1, op="compensate")
    db.q("select dtm_pause(%s)", paused)
    aside = db.new_gid("aside")
    db.q("insert into dtm.trans (gid, trans_type, status, owner, request, attention) values"
         " (%s, 'saga', 'submitted', current_user::regrole, '{}', 'put aside')", aside)
    all_of_them = [flying, waiting, undoing, paused, aside]
    db.q("update dtm.trans set create_time = create_time - interval '1 year', update_time = update_time -"
         " interval '1 year' where gid = any(%s)", all_of_them)
    looked(house, db)
    assert [db.status(g) for g in all_of_them] == ["submitted", "submitted", "aborting", "submitted", "submitted"]
    # A time of an end alone is no end, whatever wrote it.
    db.q("update dtm.trans set rollback_time = now() - interval '1 year' where gid = any(%s)", [aside, undoing])
    looked(house, db)
    assert [db.status(g) for g in (aside, undoing)] == ["submitted", "aborting"]
    one.release(gate)
    db.q("delete from dtm.trans where gid = %s", aside)


def test_a_gid_is_free_again_when_its_transaction_has_left(house, db, one):
    gid = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(gid, "succeed")
    age(db, gid)
    looked(house, db)
    assert db.row(gid) is None
    db.saga(step(one.url("ok/other"), None, {}), gid=gid)
    db.wait(gid, "succeed")


def test_events_leave_too(house, db):
    db.q("insert into dtm.event (gid, time, verb, role) select 'old' || n, now() - interval '8 days', 'skip', 'x'"
         " from generate_series(1, 2500) n")
    db.q("insert into dtm.event (gid, time, verb, role) select 'young' || n, now() - interval '6 days', 'skip', 'x'"
         " from generate_series(1, 1500) n")
    house.reload()
    wait_until(lambda: db.one("select count(*) from dtm.event where starts_with(gid, 'old')") == 0, "they leave")
    assert db.one("select count(*) from dtm.event") == 1500


def test_a_held_snapshot_makes_no_batch_walk_over_those_before(house, db, session):
    """What is removed stays in the index as long as somebody may see it."""
    rows = 10000
    db.q("insert into dtm.trans (gid, trans_type, status, owner, request, finish_time) select 'held' || n, 'saga',"
         " 'succeed', current_user::regrole, '{}', now() - interval '8 days' + n * interval '1 ms'"
         " from generate_series(1, %s) n", rows)
    holder = session(house, db.dbname, autocommit=False)
    holder.q("set transaction isolation level repeatable read")
    holder.q("select count(*) from dtm.event")
    gone(house, db, "held")
    wait_until(lambda: db.one("select n_tup_del from pg_stat_user_tables where relid = 'dtm.trans'::regclass") >= rows,
               "what it has read is counted")
    read = db.one("select idx_tup_read from pg_stat_user_indexes where indexrelid = 'dtm.trans_finished'::regclass")
    assert rows <= read <= 4 * rows
    holder.conn.rollback()


def test_more_than_a_batch(house, db, one):
    """In small transactions, and work goes on between them."""
    insert_finished(db, "old", 7000)
    insert_finished(db, "failed", 3000, status="failed")
    insert_finished(db, "young", 1500, age="1 day")
    db.q("create table batch (xid text, rows int)")
    db.q("create function note() returns trigger language plpgsql as $$ begin insert into public.batch"
         " select pg_current_xact_id()::text, count(*) from gone; return null; end $$")
    db.q("create trigger note after delete on dtm.trans referencing old table as gone execute function note()")
    house.reload()
    db.passed_by(one)
    wait_until(lambda: rows_of(db, "old") + rows_of(db, "failed") == 0, "all have left")
    assert rows_of(db, "young") == 1500
    assert db.q("select rows, count(distinct xid) from batch where rows > 0 group by 1") == [(200, 50)]


def test_zero_is_for_ever(house, db, one):
    house.reload(dtm__retention=0)
    wait_until(lambda: db.one("show dtm.retention") == "0", "the setting is loaded")
    db.passed_by(one)
    insert_finished(db, "old", age="10 years")
    db.q("insert into dtm.event (gid, time, verb, role) values ('old', now() - interval '10 years', 'skip', 'x')")
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    assert rows_of(db, "old") == 1 and db.one("select count(*) from dtm.event") == 1
    gone(house, db, "old", dtm__retention=7 * DAYS)


def test_by_alter_system(house, db):
    """As an operator does it: the coordinator looks at once, not a minute later."""
    insert_finished(db, "hour", age="1 hour")
    looked(house, db)
    assert rows_of(db, "hour") == 1
    db.q("alter system set dtm.retention = '30min'")
    db.q("select pg_reload_conf()")
    wait_until(lambda: rows_of(db, "hour") == 0, "it leaves")


def test_a_locked_row_waits_and_the_others_leave(house, db, one):
    insert_finished(db, "old", 1500, age="5 days")
    with house.connect(db.dbname, autocommit=False) as holder:
        holder.execute("select from dtm.trans where gid in ('old1', 'old777') for update")
        house.reload(dtm__retention=4 * DAYS)
        wait_until(lambda: rows_of(db, "old") == 2, "the others leave")
        db.passed_by(one)
    gone(house, db, "old")


def test_registered_branches_leave_with_their_transaction(house, db):
    for gid in ("old", "young"):
        request = json.dumps({"gid": gid, "trans_type": "tcc", "branch_id": "01"})
        db.q("select dtm_prepare(%s::jsonb)", request)
        db.q("select dtm_register_branch(%s::jsonb)", request)
        db.q("select dtm_submit(%s::jsonb)", request)
        db.wait(gid, "succeed")
    age(db, "old")
    gone(house, db, "old")
    assert db.q("select gid from dtm.trans_branch") == [("young",)]


def test_a_locked_table_stops_nobody(house, db, one):
    """Somebody reads for long and lets nobody write: the coordinator gives way, and its loop goes on."""
    insert_finished(db, "old")
    begin = house.log_size()
    holder = house.connect(db.dbname, autocommit=False)
    holder.execute("lock table dtm.event in access exclusive mode")
    house.reload()
    wait_until(lambda: rows_of(db, "old") == 0, "it leaves")
    for _ in range(2):
        house.reload()
        db.passed_by(one)
    holder.rollback()
    holder.close()
    assert "cannot work" not in house.log_text(begin)
    looked(house, db)


def test_a_row_that_cannot_be_removed_stays_alone(house, db, one):
    """Somebody's trigger says no to one row: all others leave, and the log says it once."""
    insert_finished(db, "old", 500, age="5 days")
    db.q("create function no() returns trigger language plpgsql as "
         "$$begin if old.gid = 'old7' then raise 'not this one'; end if; return old; end$$")
    db.q("create trigger no before delete on dtm.trans for each row execute function no()")
    begin = house.log_size()
    complaint = "does not remove finished transactions"
    house.expect(complaint)
    house.reload(dtm__retention=4 * DAYS)
    wait_until(lambda: rows_of(db, "old") == 1, "the others leave")
    wait_until(lambda: complaint in house.log_text(begin), "the log tells")
    db.passed_by(one)
    looked(house, db)
    db.q("drop trigger no on dtm.trans")
    gone(house, db, "old")
    assert house.log_text(begin).count("not this one") <= 2  # once for each time the settings were loaded


def test_submits_and_waiters_beside_it(house, db, session, one):
    """Nobody is called twice or forgotten while thousands leave."""
    insert_finished(db, "old", 20000)
    gids = []

    def submits():
        mine = session(house, db.dbname)
        for _ in range(200):
            gids.append(mine.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {})))
    thread = threading.Thread(target=submits)
    house.reload()
    thread.start()
    thread.join()
    assert len(gids) == 200 and set(db.wait_all(gids).values()) == {"succeed"}
    assert all(one.sequence(g) == ["01 action", "02 action"] for g in gids)
    wait_until(lambda: rows_of(db, "old") == 0, "they leave")


def test_two_workers(session, one):
    with running_cluster("workers", {"dtm.workers": 2, "autovacuum": "off"}) as cluster:
        db = session(cluster)
        insert_finished(db, "old", 2500)
        gone(cluster, db, "old")
        db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")


def test_the_old_sql_keeps_them_until_it_is_updated(house, new_database, session, one):
    """0.1.0 has no index for it; a scan of everything each minute would be worse than waiting."""
    name = new_database()
    house.sql("create extension dtm_pg version '0.1.0'", dbname=name)
    house.wait_coordinator(name)
    db = session(house, name)
    insert_finished(db, "old", 10)
    begin = house.log_size()
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    assert rows_of(db, "old") == 10
    assert "WARNING" not in house.log_text(begin)
    db.q("alter extension dtm_pg update")
    gone(house, db, "old")


def test_a_rebuilt_coordinator_goes_on(house, db):
    """What is left when it ends leaves afterwards: there is no state but the table."""
    insert_finished(db, "old", 8000)
    house.reload()
    wait_until(lambda: rows_of(db, "old") < 8000, "it has begun")
    house.expect("due to administrator command")
    before = house.wait_coordinator(db.dbname)
    db.q("select pg_terminate_backend(%s)", before[0])
    house.wait_coordinator(db.dbname, other_than=before)
    wait_until(lambda: rows_of(db, "old") == 0, "the next one removes the rest")


def test_drop_extension_while_they_leave(house, new_database):
    name = new_database(extension=True)
    with house.connect(name) as conn:
        meets_the_coordinator(conn)
        conn.execute("insert into dtm.trans (gid, trans_type, status, owner, request, finish_time) select n::text,"
                     " 'saga', 'succeed', current_user::regrole, '{}', now() - interval '1 year'"
                     " from generate_series(1, 30000) n")
        house.reload()
        wait_until(lambda: conn.execute("select count(*) from dtm.trans").fetchone()[0] < 30000, "it has begun")
        conn.execute("drop extension dtm_pg")
    house.wait_no_coordinator(name)
    with_extension(house, name)
