"""Coordinators come and go with the extension, the database and the server (style 9.4, P14)."""
import itertools
import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from cluster import wait_until
from conftest import meets_the_coordinator, with_extension
from dtm import step

LONG = {"request_timeout": 1000, "retry_interval": 1000}
numbers = itertools.count(1)


@pytest.fixture
def house(module_cluster):
    """The cluster of this file."""
    return module_cluster


@pytest.fixture
def new_database(house):
    """Makes databases; those that are left are dropped after the test."""
    made = []

    def make(options=""):
        made.append(f"life{next(numbers)}")
        house.sql(f"create database {made[-1]} {options}", dbname="postgres")
        return made[-1]
    yield make
    house.expect("due to administrator command")
    for name in made:
        if house.sql("select 1 from pg_database where datname = %s and datistemplate", name, dbname="postgres"):
            house.sql(f"alter database {name} is_template false", dbname="postgres")
        house.sql(f"drop database if exists {name} with (force)", dbname="postgres")


def serves(house, session, dbname, service):
    """A saga submitted in this database ends."""
    db = session(house, dbname)
    db.wait(db.saga(step(service.url("ok/serves"), None, {})), "succeed")
    db.close()


def hang(house, session, dbname, service, count=3):
    """Calls that never end by themselves are in flight for this database."""
    db = session(house, dbname)
    gids = [db.saga(step(service.url("never/hang"), service.url("ok/u"), {}), **LONG) for _ in range(count)]
    for gid in gids:
        service.wait_calls(1, gid=gid)
    db.close()
    return gids


def launcher_passed_by(house, new_database):
    """Returns when the launcher has looked at all databases after now."""
    with_extension(house, new_database())


def test_create_extension_starts_a_coordinator(house, new_database, session, one):
    name = new_database()
    assert house.coordinators(name) == []
    house.sql("create extension dtm_pg", dbname=name)
    house.wait_coordinator(name)
    serves(house, session, name, one)


def test_the_log_names_the_database_that_is_served(house, new_database):
    before, name = house.log_size(), new_database()
    house.sql("create extension dtm_pg", dbname=name)
    wait_until(lambda: f'dtm coordinator 1 of 1 of database "{name}" started' in house.log_text(before), "it says so")


def test_a_rolled_back_create_extension_leaves_none(house, new_database):
    name = new_database()
    with house.connect(name, autocommit=False) as conn:
        conn.execute("create extension dtm_pg")
        conn.rollback()
    launcher_passed_by(house, new_database)
    house.wait_no_coordinator(name)


def test_drop_extension_ends_it_and_create_brings_it_back(house, new_database, session, one):
    name = new_database()
    for _ in range(3):
        with_extension(house, name)
        serves(house, session, name, one)
        house.sql("drop extension dtm_pg", dbname=name)
        house.wait_no_coordinator(name)


def test_a_rolled_back_drop_extension_changes_nothing(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    with house.connect(name, autocommit=False) as conn:
        conn.execute("drop extension dtm_pg")
        conn.rollback()
    serves(house, session, name, one)


def test_drop_extension_waits_for_nobody_while_calls_are_in_flight(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    hang(house, session, name, one)
    with house.connect(name) as conn:
        meets_the_coordinator(conn)
        conn.execute("drop extension dtm_pg")
    house.wait_no_coordinator(name)
    with_extension(house, name)
    serves(house, session, name, one)


def test_an_answer_after_drop_extension_is_dropped(house, new_database, session, one):
    """The extension is dropped in a transaction that stays open while the answer comes."""
    name = new_database()
    with_extension(house, name)
    db = session(house, name)
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{gate}"), None, {}), **LONG)
    one.wait_calls(1, gid=gid)
    db.close()
    with house.connect(name, autocommit=False) as conn:
        conn.execute("drop extension dtm_pg")
        one.release(gate)
        wait_until(lambda: one.effects(gid), "the answer is sent")
        conn.commit()
    house.wait_no_coordinator(name)
    with_extension(house, name)
    serves(house, session, name, one)


@pytest.mark.parametrize("force", ["", "with (force)"], ids=["plain", "force"])
def test_drop_database_with_calls_in_flight(house, new_database, session, one, force):
    name = new_database()
    with_extension(house, name)
    hang(house, session, name, one)
    house.expect("due to administrator command")
    house.sql(f"drop database {name} {force}", dbname="postgres")
    house.wait_no_coordinator(name)
    serving = new_database()
    with_extension(house, serving)
    serves(house, session, serving, one)


def test_a_drop_database_that_fails_leaves_it_served(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    guest = house.connect(name)
    with pytest.raises(psycopg.errors.ObjectInUse):
        house.sql(f"drop database {name}", dbname="postgres")
    guest.close()
    house.expect("due to administrator command")
    house.wait_coordinator(name)
    serves(house, session, name, one)


def test_drop_of_another_database_is_not_held_up(house, new_database, session, one):
    """The ProcSignalBarrier of DROP DATABASE is answered while calls are in flight."""
    name, other = new_database(), new_database()
    with_extension(house, name)
    hang(house, session, name, one)
    with house.connect("postgres") as conn:
        conn.execute("set statement_timeout = '30 s'")
        conn.execute(f"drop database {other}")


def test_create_database_from_a_served_template(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    serves(house, session, name, one)
    house.expect("due to administrator command")
    copy = new_database(f"template {name}")
    house.wait_coordinator(copy)
    # P15: the transactions of a copy are another's. An error if its coordinator were not silent.
    house.sql("select dtm_adopt()", dbname=copy)
    serves(house, session, copy, one)
    house.wait_coordinator(name)
    serves(house, session, name, one)


def test_a_database_that_becomes_a_template_is_left_alone(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    house.sql(f"alter database {name} is_template true", dbname="postgres")
    house.wait_no_coordinator(name)
    house.sql(f"alter database {name} is_template false", dbname="postgres")
    house.wait_coordinator(name)
    serves(house, session, name, one)


def test_a_terminated_coordinator_comes_back(house, new_database, session, one):
    name = new_database()
    with_extension(house, name)
    for _ in range(3):
        before = house.wait_coordinator(name)
        house.expect("due to administrator command")
        house.sql("select pg_terminate_backend(%s)", before[0], dbname="postgres")
        house.wait_coordinator(name, other_than=before)
        serves(house, session, name, one)


def test_a_terminated_launcher_comes_back(house, new_database, session, one):
    def launchers():
        return house.sql("select pid from pg_stat_activity where backend_type = 'dtm launcher'",
                         dbname="postgres")
    before = wait_until(launchers, "there is a launcher")
    house.expect("due to administrator command")
    house.sql("select pg_terminate_backend(%s)", before[0][0], dbname="postgres")
    wait_until(lambda: (now := launchers()) and now != before, "there is another launcher")
    name = new_database()
    with_extension(house, name)
    serves(house, session, name, one)


def test_a_cancelled_coordinator_goes_on(house, new_database, session, one):
    """pg_cancel_backend() by mistake hurts nobody."""
    name = new_database()
    with_extension(house, name)
    house.sql("select pg_cancel_backend(pid) from pg_stat_activity where backend_type like 'dtm%%'",
              dbname="postgres")
    house.wait_coordinator(name)
    serves(house, session, name, one)


def test_fast_shutdown_with_calls_in_flight(own_cluster, session, one, record_property):
    """They would end after a thousand seconds: stop() fails long before that."""
    hang(own_cluster, session, own_cluster.dbname, one, count=50)
    took = own_cluster.stop()
    record_property("fast_shutdown_seconds", round(took, 2))
    print(f"fast shutdown took {took:.2f} s")
    own_cluster.start()
    own_cluster.wait_coordinator()
    serves(own_cluster, session, own_cluster.dbname, one)


def test_shutdown_while_coordinators_start(own_cluster):
    for _ in range(3):
        own_cluster.sql("drop extension dtm_pg")
        own_cluster.sql("create extension dtm_pg")
        own_cluster.stop()
        own_cluster.start()
    own_cluster.wait_coordinator()


def test_smart_shutdown_ends(own_cluster, session, one):
    hang(own_cluster, session, own_cluster.dbname, one)
    own_cluster.stop(signal.SIGTERM)
    own_cluster.start()


@pytest.mark.settings({"max_worker_processes": 3})
def test_no_free_worker_slot_is_said_once(own_cluster):
    """The launchers (ours and that of logical replication) and one coordinator take all slots. The other databases
    wait, and the log says why once for each, however often the launcher tries; when a slot is free one is served."""
    begin, names = own_cluster.log_size(), []

    def told():
        return [own_cluster.log_text(begin).count(f'Transactions of database "{name}" wait') for name in names]
    for number in range(5):
        own_cluster.sql(f"create database late{number}", dbname="postgres")
        own_cluster.sql("create extension dtm_pg", dbname=f"late{number}")
        names.append(f"late{number}")
        wait_until(lambda: told()[-1], "the log tells of it")
    own_cluster.sql("drop extension dtm_pg")
    wait_until(lambda: own_cluster.sql("select pid from pg_stat_activity where backend_type = 'dtm coordinator'"
                                       " and datname like 'late%%'", dbname="postgres"), "one is served")
    assert told() == [1] * 5 and "max_worker_processes" in own_cluster.log_text(begin)


@pytest.mark.settings({"max_worker_processes": 3})
def test_no_free_worker_slot_is_found_by_dtm_check(own_cluster):
    own_cluster.sql("create database late", dbname="postgres")
    own_cluster.sql("create extension dtm_pg", dbname="late")

    def found(dbname):
        [[level, finding, remedy]] = own_cluster.sql(
            "select level, finding, remedy from dtm_check() where subject = 'max_worker_processes'", dbname=dbname)
        return level, finding, remedy or ""
    for dbname in ("late", "bank"):
        level, finding, remedy = wait_until(lambda: (f := found(dbname))[0] == "error" and f, "dtm_check says so")
        assert '"late"' in finding and "max_worker_processes is 3" in finding and "Raise max_worker_processes" in remedy
    own_cluster.sql("drop extension dtm_pg")
    own_cluster.wait_coordinator("late")
    wait_until(lambda: found("late")[0] != "error", "dtm_check is content")


@pytest.mark.settings({"max_worker_processes": 3})
def test_no_free_worker_slot_after_a_restart(own_cluster, session):
    """Nobody has announced anything since then, and nobody knows yet where the extension is."""
    own_cluster.sql("create database late", dbname="postgres")
    own_cluster.sql("create extension dtm_pg", dbname="late")
    own_cluster.restart()
    served = wait_until(lambda: own_cluster.coordinators(""), "one of them is served") and (
        "bank" if own_cluster.coordinators("bank") else "late")
    other = {"bank": "late", "late": "bank"}[served]
    wait_until(lambda: own_cluster.sql("select level from dtm_check() where subject = 'max_worker_processes'"
                                       f" and finding like '%%\"{other}\"%%'", dbname=other) == [("error",)],
               "dtm_check says so where nobody is served")


@pytest.mark.settings({"dtm.max_coordinators": 1})
def test_no_free_slot_for_a_coordinator(own_cluster):
    own_cluster.sql("create database late", dbname="postgres")
    own_cluster.sql("create extension dtm_pg", dbname="late")
    [[finding, remedy]] = wait_until(lambda: own_cluster.sql(
        "select finding, remedy from dtm_check() where level = 'error' and subject = 'max_worker_processes'"),
        "dtm_check says so")
    assert '"late"' in finding and "dtm.max_coordinators is 1" in finding and "dtm.max_coordinators" in remedy


def test_without_preload_submits_are_kept_until_somebody_serves(own_cluster, session, one):
    own_cluster.stop()
    own_cluster.configure(shared_preload_libraries="")
    for name in [k for k in own_cluster.settings if k.startswith("dtm.")]:
        own_cluster.settings.pop(name)
    own_cluster.configure()
    own_cluster.start()
    db = session(own_cluster)
    gid = db.saga(step(one.url("ok/a"), None, {}))
    assert "shared_preload_libraries" in str(db.q("select * from dtm_check()"))
    db.close()
    own_cluster.stop()
    own_cluster.configure(shared_preload_libraries="dtm_pg")
    own_cluster.start()
    session(own_cluster).wait(gid, "succeed")


def test_settings_are_reloaded(own_cluster, session, one):
    db = session(own_cluster)
    own_cluster.reload(dtm__retry_interval=1000)
    wait_until(lambda: db.one("show dtm.retry_interval") in ("1000", "1000s"), "the setting is loaded")
    db.passed_by(one)
    gid = db.saga(step(one.url("ongoing/a"), None, {}))
    db.wait_attempts(gid, 1)
    assert 900 < db.until_next(gid) < 1100


def test_sessions_are_not_disturbed_by_a_storm_of_create_and_drop(house, new_database):
    name = new_database()

    def storm():
        for _ in range(5):
            with house.connect(name) as conn:
                meets_the_coordinator(conn)
                conn.execute("create extension dtm_pg")
                conn.execute("drop extension dtm_pg")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(storm)
        while not running.done():
            assert house.sql("select 1", dbname="postgres") == [(1,)]
        running.result()
    launcher_passed_by(house, new_database)
    house.wait_no_coordinator(name)


@pytest.mark.settings({"dtm.max_coordinators": 1})
def test_no_slot_for_another_coordinator_is_said_once(own_cluster, session, one):
    """For each database that waits; when the slot is free it is served."""
    before = own_cluster.log_size()

    def said():
        return own_cluster.log_text(before).count("WARNING:  no slot is free for another dtm coordinator")
    late = ["late", "later", "latest"]
    for number, name in enumerate(late, 1):
        own_cluster.sql(f"create database {name}", dbname="postgres")
        own_cluster.sql("create extension dtm_pg", dbname=name)
        wait_until(lambda n=number: said() >= n, f"the log says that {name} waits")
    assert said() == len(late), "once for each, however often the launcher looks"
    assert "dtm.max_coordinators" in own_cluster.log_text(before)
    assert own_cluster.coordinators("") == own_cluster.coordinators()
    for name in late[1:]:
        own_cluster.sql("drop extension dtm_pg", dbname=name)
    own_cluster.sql("drop extension dtm_pg")
    own_cluster.wait_coordinator("late")
    serves(own_cluster, session, "late", one)
