"""Old barrier rows disappear by themselves, and no others; whatever is wrong with the table stops nobody
(P12, P14)."""
import threading
from contextlib import contextmanager

import psycopg
import pytest

from barrier_table import (databases, error_of, insert_as_client, insert_old, make_roles, passes, rows_of,
                           table_of_client)
from cluster import Cluster, wait_until
from conftest import clusters, meets_the_coordinator, running_cluster, with_extension
from dtm import step

DAYS = 86400
LONG = {"request_timeout": 1000, "retry_interval": 1000}
LEFT_ALONE = "dtm_pg does not remove old rows of dtm_barrier.barrier"


@pytest.fixture(scope="module")
def house():
    """The cluster of this file. Its coordinators look at the barrier when the settings are loaded again."""
    with running_cluster("retention", {"autovacuum": "off"}, extension=False) as cluster:
        yield make_roles(cluster)


@pytest.fixture
def new_database(house):
    with databases(house) as make:
        yield make
    house.reload(dtm__barrier_retention=30 * DAYS)


@pytest.fixture
def db(house, session, new_database):
    """A session in a database of its own, with the table that CREATE EXTENSION made."""
    return session(house, new_database(extension=True))


@pytest.fixture
def adopted(house, session, new_database):
    """The same with a table that a client of dtm made."""
    name = new_database()
    with house.connect(name) as conn:
        table_of_client(conn, {"create_time": "timestamp(0) with time zone"})
        for gid in ("timeless1", "timeless2"):
            insert_as_client(conn, "saga", gid, "01", "action")
    with_extension(house, name)
    return session(house, name)


def gone(house, db, gid, **changes):
    """Has the coordinator look (again), and waits until the rows have disappeared."""
    house.reload(**changes)
    wait_until(lambda: rows_of(db.conn, gid) == 0, f"the rows of {gid} are removed")


def looked(house, db, **changes):
    """Returns after the coordinator has walked through the table once more. The marker comes last in it."""
    marker = db.new_gid("marker")
    insert_old(db.conn, marker)
    gone(house, db, marker, **changes)


def old_adoption(db):
    """Returns when the adoption is older than two seconds."""
    wait_until(lambda: db.one("select clock_timestamp() > update_time + interval '2 s' from dtm.kv"
                              " where cat = 'barrier' and k = 'adopted'"), "the adoption is a while ago")


def keeps_off(house, db, one):
    """Returns when the coordinator has been told to remove nothing."""
    looked(house, db)
    house.reload(dtm__barrier_retention=0)
    wait_until(lambda: db.one("show dtm.barrier_retention") == "0", "the setting is loaded")
    db.passed_by(one)


def hold(db, service):
    """A saga that does not end before release()."""
    gate = db.new_gid("gate")
    gid = db.saga(step(service.url(f"hold/{gate}"), None, {}), **LONG)
    service.wait_calls(1, gid=gid)
    return gid, lambda: (service.release(gate), db.wait(gid, "succeed"))


def warnings(house, begin, text=LEFT_ALONE):
    return [line for line in house.log_text(begin).splitlines() if "WARNING:" in line and text in line]


# --- by the coordinator -------------------------------------------------------------------------------

def test_old_rows_disappear_and_young_ones_stay(house, db):
    assert passes(db.conn, gid="now") == "run"
    insert_old(db.conn, "almost", age="29 days 23 hours")
    insert_old(db.conn, "old", age="30 days 1 hour")
    insert_old(db.conn, "older", count=3, age="5 years")
    looked(house, db)
    assert [rows_of(db.conn, gid) for gid in ("now", "almost", "old", "older")] == [1, 1, 0, 0]
    assert passes(db.conn, gid="now") == "duplicate"
    gone(house, db, "almost", dtm__barrier_retention=29 * DAYS)
    assert passes(db.conn, gid="now") == "duplicate"


def test_a_row_that_has_become_old_disappears(house, db):
    """As rows do with time: nothing was inserted with an old one."""
    for gid in ("young", "aged"):
        assert passes(db.conn, gid=gid) == "run"
    db.q("update dtm_barrier.barrier set create_time = create_time - interval '31 days' where gid = 'aged'")
    looked(house, db)
    assert (rows_of(db.conn, "aged"), rows_of(db.conn, "young")) == (0, 1)


def test_rows_of_unfinished_transactions_stay_until_the_end(house, db, one):
    gid, release = hold(db, one)
    insert_old(db.conn, gid, count=2)
    looked(house, db)
    assert rows_of(db.conn, gid) == 2
    release()
    gone(house, db, gid)


def test_the_undone_and_the_finished_do_not_count_as_unfinished(house, db, one):
    done = db.saga(step(one.url("ok/a"), None, {}))
    undone = db.saga(step(one.url("fail/a"), one.url("ok/u"), {}))
    assert sorted(db.wait_all([done, undone]).values()) == ["failed", "succeed"]
    for gid in (done, undone):
        insert_old(db.conn, gid)
    looked(house, db)
    assert rows_of(db.conn, done) == rows_of(db.conn, undone) == 0


def test_zero_keeps_rows_for_ever(house, db, one):
    keeps_off(house, db, one)
    insert_old(db.conn, "old", age="10 years")
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    assert db.one("select dtm_barrier_purge()") == 0
    assert rows_of(db.conn, "old") == 1
    gone(house, db, "old", dtm__barrier_retention=30 * DAYS)


def test_more_rows_than_a_batch(house, db, one):
    """Behind two batches of rows that must stay, too."""
    gid, release = hold(db, one)
    insert_old(db.conn, gid, count=2500)
    insert_old(db.conn, "old", count=5000)
    insert_old(db.conn, "young", count=1500, age="1 day")
    gone(house, db, "old")
    assert (rows_of(db.conn, gid), rows_of(db.conn, "young")) == (2500, 1500)
    release()
    gone(house, db, gid)
    assert rows_of(db.conn, "young") == 1500


def test_adopted_rows_without_time_are_as_old_as_the_adoption(house, adopted):
    db = adopted
    assert db.one("select count(*) from dtm_barrier.barrier where create_time is null") == 2
    insert_as_client(db.conn, "saga", "since", "01", "action")
    looked(house, db)
    assert [rows_of(db.conn, gid) for gid in ("timeless1", "timeless2", "since")] == [1, 1, 1]
    db.q("update dtm_barrier.barrier set create_time = now() + interval '1 hour' where gid = 'since'")
    old_adoption(db)
    gone(house, db, "timeless1", dtm__barrier_retention=1)
    gone(house, db, "timeless2")
    assert rows_of(db.conn, "since") == 1


def test_rows_without_time_become_old_again_after_another_adoption(house, adopted, one):
    """DROP EXTENSION forgets when that was; the next CREATE EXTENSION is the adoption of all rows there are."""
    db = adopted
    db.q("drop extension dtm_pg")
    db.q("insert into dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time)"
         " values ('saga', 'timeless3', '01', 'action', '01', 'action', null)")
    with_extension(house, db.dbname)
    looked(house, db)
    assert rows_of(db.conn, "timeless3") == 1
    old_adoption(db)
    gone(house, db, "timeless3", dtm__barrier_retention=1)


@pytest.mark.parametrize("create_time", ["timestamp", "timestamptz not null default now()"])
def test_other_kinds_of_time(house, session, new_database, create_time):
    name = new_database()
    with house.connect(name) as conn:
        table_of_client(conn, {"create_time": create_time, "id": "serial"})
    house.sql(f"alter database {name} set timezone = 'Pacific/Kiritimati'", dbname="postgres")
    with_extension(house, name)
    db = session(house, name)
    insert_old(db.conn, "young", age="29 days 1 hour")
    insert_old(db.conn, "old", age="30 days 1 hour")
    looked(house, db)
    assert (rows_of(db.conn, "young"), rows_of(db.conn, "old")) == (1, 0)


@contextmanager
def workers(count):
    with running_cluster("workers", {"dtm.workers": count, "autovacuum": "off"}) as cluster:
        yield cluster


def test_two_workers(session, one):
    with workers(2) as cluster:
        db = session(cluster)
        insert_old(db.conn, "old", count=2500)
        assert passes(db.conn) == "run"
        gone(cluster, db, "old")
        assert passes(db.conn) == "duplicate"
        assert set(db.wait_all([db.saga(step(one.url("ok/a"))) for _ in range(20)]).values()) == {"succeed"}
        assert len(cluster.coordinators()) == 2


# --- what is wrong with the table ---------------------------------------------------------------------

def test_code_of_others_is_not_run_and_said_once(house, adopted, one):
    """A trigger on an adopted table would run as superuser when the coordinator deletes."""
    db = adopted
    looked(house, db)
    db.q("create function dtm_barrier.tell() returns trigger language plpgsql as $$ begin"
         " raise exception 'it ran as %', current_user; end $$")
    db.q("create trigger tell before delete on dtm_barrier.barrier for each row"
         " execute function dtm_barrier.tell()")
    insert_old(db.conn, "old")
    begin = house.log_size()
    house.reload()
    wait_until(lambda: warnings(house, begin), "the log says why")
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    assert rows_of(db.conn, "old") == 1
    assert len(warnings(house, begin)) == 1
    assert "it ran as" not in house.log_text(begin)
    said = error_of(db.q, "select dtm_barrier_purge()")
    assert "it ran as svc" in str(said), "by hand it runs as the owner, whose trigger it is"


def test_it_goes_on_when_the_trigger_is_gone(house, adopted):
    db = adopted
    looked(house, db)
    db.q("create function dtm_barrier.tell() returns trigger language plpgsql as $$ begin return old; end $$")
    db.q("create trigger tell before delete on dtm_barrier.barrier for each row"
         " execute function dtm_barrier.tell()")
    insert_old(db.conn, "old")
    begin = house.log_size()
    house.reload()
    wait_until(lambda: warnings(house, begin), "the log says why")
    db.q("drop trigger tell on dtm_barrier.barrier")
    gone(house, db, "old")


def test_drop_extension_while_rows_are_removed(house, new_database, session, one):
    """Neither waits for the other; the coordinators of other databases do not care."""
    other = session(house, new_database(extension=True))

    def dropped_amid(made_by):
        """Whether some were left; with our own table nobody knows."""
        name = new_database()
        with house.connect(name) as conn:
            if made_by == "client":
                table_of_client(conn)
        with_extension(house, name)
        with house.connect(name) as conn:
            meets_the_coordinator(conn)
            insert_old(conn, "old", count=200_000)
            house.reload()
            wait_until(lambda: rows_of(conn, "old") < 200_000, "it has begun")
            conn.execute("drop extension dtm_pg")
            amid = made_by == "extension" or rows_of(conn, "old") > 0
        house.wait_no_coordinator(name)
        other.wait(other.saga(step(one.url("ok/a"))), "succeed")
        return amid
    for made_by in ("extension", "client"):
        wait_until(lambda m=made_by: dropped_amid(m), "it is dropped before all rows are gone")


def test_a_missing_table_stops_nobody(house, adopted, one):
    db = adopted
    begin = house.log_size()
    db.q("drop table dtm_barrier.barrier")
    for _ in range(2):
        house.reload()
        db.passed_by(one)
    assert error_of(passes, db.conn).sqlstate == "55000"
    assert error_of(db.q, "select dtm_barrier_purge('1 day')").sqlstate == "55000"
    assert not warnings(house, begin, "cannot work")
    db.q("drop sequence dtm_barrier.barrier_seq")
    db.q("select dtm.install_barrier()")
    insert_old(db.conn, "old")
    gone(house, db, "old")


def test_the_table_of_a_client_that_was_not_adopted_is_left_alone(house, session, new_database, one):
    """It was made after CREATE EXTENSION, which found a schema without it."""
    name = new_database()
    house.sql("create schema dtm_barrier", dbname=name)
    with_extension(house, name)
    db = session(house, name)
    table_of_client(db.conn)
    insert_old(db.conn, "old")
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    assert rows_of(db.conn, "old") == 1
    db.q("select dtm.install_barrier()")
    gone(house, db, "old")


def test_a_table_of_another_shape_stops_nobody(house, adopted, one):
    """What its owner makes of it after the adoption."""
    db = adopted
    looked(house, db)
    db.q("alter table dtm_barrier.barrier rename create_time to created")
    begin = house.log_size()
    for _ in range(3):
        house.reload()
        db.passed_by(one)
    wait_until(lambda: warnings(house, begin), "the log says why")
    assert len(warnings(house, begin)) == 1
    assert not warnings(house, begin, "cannot work")
    db.q("alter table dtm_barrier.barrier rename created to create_time")
    looked(house, db)


def test_a_locked_table_stops_nobody(house, db, one):
    looked(house, db)
    begin = house.log_size()
    with house.connect(db.dbname, autocommit=False) as holder:
        insert_old(holder, "old")
        holder.execute("lock table dtm_barrier.barrier in access exclusive mode")
        house.reload()
        wait_until(lambda: warnings(house, begin), "the coordinator gives up waiting")
        for _ in range(3):
            db.passed_by(one)
        house.reload()
        db.passed_by(one)
        holder.commit()
    assert not warnings(house, begin, "cannot work")
    gone(house, db, "old")


def test_a_row_that_somebody_holds_stops_nobody(house, db, one):
    for gid in ("held", "old"):
        insert_old(db.conn, gid, age="20 days")
    begin = house.log_size()
    with house.connect(db.dbname, autocommit=False) as holder:
        holder.execute("select from dtm_barrier.barrier where gid = 'held' for update")
        house.reload(dtm__barrier_retention=10 * DAYS)
        wait_until(lambda: warnings(house, begin), "the coordinator gives up waiting")
        db.passed_by(one)
        holder.rollback()
    gone(house, db, "held")
    wait_until(lambda: rows_of(db.conn, "old") == 0, "and the other one")


# --- by hand ------------------------------------------------------------------------------------------

@pytest.fixture
def without_library():
    """A cluster without shared_preload_libraries: no coordinator."""
    cluster = Cluster("bare", {"shared_preload_libraries": "", "dtm.barrier_retention": 30 * DAYS})
    clusters.append(cluster)
    try:
        cluster.init().start()
        cluster.sql("create database bank", dbname="postgres")
        cluster.sql("create extension dtm_pg")
        yield make_roles(cluster)
    finally:
        clusters.remove(cluster)
        cluster.destroy()


def test_purge_without_preloaded_library(without_library, session):
    db = session(without_library)
    insert_old(db.conn, "old", count=3500)
    insert_old(db.conn, "young", count=1200, age="3 days")
    assert passes(db.conn, gid="now") == "run"
    with without_library.connect() as fresh:  # a session that has not loaded the library
        assert fresh.execute("select dtm_barrier_purge()").fetchone() == (3500,)
        assert fresh.execute("select dtm_barrier_purge()").fetchone() == (0,)
    without_library.reload(dtm__barrier_retention=2 * DAYS)
    wait_until(lambda: db.one("show dtm.barrier_retention") in ("2d", "172800", "172800s"), "the setting is loaded")
    assert db.one("select dtm_barrier_purge(interval '4 days')") == 0
    assert db.one("select dtm_barrier_purge()") == 1200
    assert passes(db.conn, gid="now") == "duplicate"
    assert db.one("select count(*) from dtm_barrier.barrier") == 1
    with pytest.raises(psycopg.Error) as refused:
        db.q("select dtm_barrier_purge(interval '-1 second')")
    assert refused.value.sqlstate == "TD001"
    # Nobody finishes it here, and so its rows stay.
    gid = db.saga(step("http://127.0.0.1:1/never"))
    insert_old(db.conn, gid)
    assert db.one("select dtm_barrier_purge()") == 0
    db.q("select dtm_force_stop(%s)", gid)
    assert db.one("select dtm_barrier_purge()") == 1


def test_who_may_purge(house, db, one):
    keeps_off(house, db, one)
    insert_old(db.conn, "old")

    def purge(role):
        with db.conn.transaction():
            db.q(f"set local role {role}")
            return db.one("select dtm_barrier_purge('30 days')")
    db.q("select dtm_grant('app', 'barrier'), dtm_grant('app', 'submit'), dtm_grant('app', 'observe')")
    for role in ("nobody", "app"):
        assert error_of(purge, role).sqlstate == "42501"
    assert rows_of(db.conn, "old") == 1
    db.q("select dtm_grant('app', 'admin')")
    assert purge("app") == 1
    db.q("select dtm_revoke('app')")
    assert error_of(purge, "app").sqlstate == "42501"


def test_a_call_during_the_purge_comes_after_it(house, db, one):
    """A barrier whose row is being removed waits, and then runs."""
    keeps_off(house, db, one)
    insert_old(db.conn, "old")
    db.q("update dtm_barrier.barrier set barrier_id = '01'")
    verdict = []
    with house.connect(db.dbname) as other, house.connect(db.dbname, autocommit=False) as purger:
        pid = other.execute("select pg_backend_pid()").fetchone()[0]
        assert purger.execute("select dtm_barrier_purge('30 days')").fetchone() == (1,)
        thread = threading.Thread(target=lambda: verdict.append(passes(other, gid="old")))
        thread.start()
        wait_until(lambda: db.one("select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", pid),
                   "it waits")
        purger.commit()
        thread.join(60)
    assert verdict == ["run"]
    assert rows_of(db.conn, "old") == 1
