"""A copied or restored database calls nobody until somebody adopts it; a failover is no copy (P15)."""
import os
import signal

import psycopg
import pytest

from barrier_table import databases
from cluster import wait_until
from conftest import running_cluster, with_extension
from copies import LONELY, Copy, kept, run, standby_of
from dtm import step

LONG = {"request_timeout": 1000, "retry_interval": 1000}


@pytest.fixture(scope="module")
def house(module_cluster):
    return module_cluster


@pytest.fixture(scope="module")
def elsewhere():
    """Another server, with another identity."""
    with running_cluster("elsewhere", extension=False) as cluster:
        yield cluster


@pytest.fixture
def new_database(house):
    with databases(house) as make:
        yield make


@pytest.fixture
def copy_of(house):
    """Makes databases from a template, by CREATE DATABASE."""
    made = []

    def make(name):
        house.expect("due to administrator command")
        made.append(f"copy_of_{name}")
        house.sql(f"create database {made[-1]} template {name}", dbname="postgres")
        return made[-1]
    yield make
    house.expect("due to administrator command")
    for name in made:
        house.sql(f"drop database if exists {name} with (force)", dbname="postgres")


@pytest.fixture
def original(house, new_database, session, one):
    """A database with work that nobody has begun: it became a template, where no coordinator is."""
    name = new_database(extension=True)
    house.sql(f"alter database {name} is_template true", dbname="postgres")
    house.wait_no_coordinator(name)
    db = session(house, name)
    gids = [db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("ok/b"), None, {})) for _ in range(20)]
    yield db, gids
    db.close()
    house.sql(f"alter database {name} is_template false", dbname="postgres")


def warnings(cluster, begin=0):
    return [line for line in cluster.log_text(begin).splitlines()
            if "WARNING:  dtm coordinator of database" in line and "calls nobody" in line]


def silent(cluster, dbname, begin=0):
    """Waits until the coordinator of a copy has said that it is silent, and has gone on looking around."""
    wait_until(lambda: warnings(cluster, begin), "the log says that nobody is called")

    def commits():
        return cluster.sql("select xact_commit from pg_stat_database where datname = %s", dbname,
                           dbname="postgres")[0][0]
    before = commits()
    wait_until(lambda: commits() > before + 5, f"the coordinator of {dbname} looks around")
    [said] = warnings(cluster, begin)   # once
    assert f'"{dbname}"' in said


def uncalled(service, gids):
    return not [c for gid in gids for c in service.calls(gid=gid)]


def adopts(db, gids, service, why):
    """What a person finds in a silent copy, and what dtm_adopt() does there."""
    assert uncalled(service, gids)
    [[level, finding, remedy]] = db.q("select level, finding, remedy from dtm_check() where subject = 'coordinator'")
    assert level == "error" and why in finding and "dtm_adopt()" in remedy
    assert why in db.explain(gids[0])
    db.q("update dtm.trans set next_cron_time = now() - interval '2 minutes' where gid = %s", gids[0])
    [[reason, remedy]] = db.q("select reason, remedy from dtm.attention where gid = %s", gids[0])
    assert why in reason and "dtm_adopt()" in remedy
    new = db.saga(step(service.url("ok/new"), None, {}))
    assert uncalled(service, [*gids, new])
    assert why in db.one("select dtm_adopt()")
    assert set(db.wait_all([*gids, new]).values()) == {"succeed"}
    assert [service.sequence(gid).count("01 action") for gid in gids] == [1] * len(gids)
    assert db.q("select gid, role, verb from dtm.event where verb = 'adopt' and time > now() - interval '1 hour'"
                ) == [("", "postgres", "adopt")]
    assert db.one("select level from dtm_check() where subject = 'coordinator'") == "ok"


# --- a dump -------------------------------------------------------------------------------------------

def plain(house, name, cluster, target, file):
    run(house, "pg_dump", "-f", file, name)
    run(cluster, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target, "-f", file)


def parallel(house, name, cluster, target, file):
    run(house, "pg_dump", "-Fc", "-f", file, name)
    run(cluster, "pg_restore", "--exit-on-error", "-j", "4", "-d", target, file)


def work_first(house, name, cluster, target, file):
    """As a parallel restore may do it: the transactions are there before the identity."""
    run(house, "pg_dump", "-Fc", "-f", file, name)
    run(cluster, "pg_restore", "--exit-on-error", "--section=pre-data", "-d", target, file)
    cluster.wait_coordinator(target)
    begin = cluster.log_size()
    for table in ("trans", "identity"):
        run(cluster, "pg_restore", "--exit-on-error", "--data-only", "-n", "dtm", "-t", table, "-d", target, file)
        wait_until(lambda: warnings(cluster, begin), "the log says that nobody is called")


@pytest.mark.parametrize("how", [plain, parallel, work_first])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_restored_dump_is_silent(house, elsewhere, original, new_database, session, one, tmp_path, how, where):
    db, gids = original
    cluster = house if where == "here" else elsewhere
    target = new_database() if where == "here" else db.dbname
    if where == "elsewhere":
        cluster.sql(f"create database {target}", dbname="postgres")
    begin = cluster.log_size()
    how(house, db.dbname, cluster, target, tmp_path / "dump")
    cluster.wait_coordinator(target)
    silent(cluster, target, begin)
    adopts(session(cluster, target), gids, one, "copied")


@pytest.mark.parametrize("served", ["served", "asleep"])
def test_a_dump_restored_beside_work_of_ones_own(house, original, new_database, session, one, tmp_path, served):
    """The extension is there, with a transaction in flight. All of the database is silent from the restore on."""
    db, gids = original
    target = new_database(extension=True)
    here = session(house, target)
    gate = here.new_gid("gate")
    mine = here.saga(step(one.url(f"hold/{gate}"), None, {}), step(one.url("ok/b"), None, {}), **LONG)
    one.wait_calls(1, gid=mine)
    if served == "asleep":  # what was dumped is younger than the installation, and nobody has looked since
        db.q("update dtm.trans set create_time = create_time + interval '1 hour'")
    begin = house.log_size()
    run(house, "pg_dump", "--data-only", "-f", tmp_path / "dump", db.dbname)
    run(house, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target, "-f", tmp_path / "dump")
    silent(house, target, begin)
    one.release(gate)
    wait_until(lambda: one.effects(mine), "the call in flight ends")
    silent(house, target, begin)
    assert one.sequence(mine) == ["01 action"]
    adopts(here, gids, one, "copied")
    here.wait(mine, "succeed")
    assert one.sequence(mine) == ["01 action", "02 action"]


def test_a_dump_restored_over_its_own_database(house, original, session, one, tmp_path):
    """What was decided after the dump is not known any more."""
    db, gids = original
    run(house, "pg_dump", "--clean", "--if-exists", "-f", tmp_path / "dump", db.dbname)
    run(house, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.dbname, "-f", tmp_path / "dump")
    begin = house.log_size()
    house.sql(f"alter database {db.dbname} is_template false", dbname="postgres")
    silent(house, db.dbname, begin)
    adopts(db, gids, one, "copied")


def test_a_dump_of_the_old_version(house, new_database, session, one, tmp_path):
    """0.1.0 knows no identity. Its transactions are older than the extension where they are restored."""
    name, target = new_database(), new_database()
    house.sql("create extension dtm_pg version '0.1.0'", dbname=name)
    house.wait_coordinator(name)
    house.sql(f"alter database {name} is_template true", dbname="postgres")
    house.wait_no_coordinator(name)
    db = session(house, name)
    gids = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(3)]
    begin = house.log_size()
    plain(house, name, house, target, tmp_path / "dump")
    silent(house, target, begin)
    adopts(session(house, target), gids, one, "older than its installation")
    db.q("alter extension dtm_pg update")
    house.sql(f"alter database {name} is_template false", dbname="postgres")
    # Where it was updated, it is at home.
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert db.q("select system_identifier, database from dtm.identity") == db.q(
        "select s.system_identifier, d.oid from pg_control_system() s, pg_database d where datname = %s", name)


# --- a copied database --------------------------------------------------------------------------------

def test_create_database_from_a_template(house, original, copy_of, session, one):
    db, gids = original
    db.close()
    begin = house.log_size()
    copy = copy_of(db.dbname)
    silent(house, copy, begin)
    adopts(session(house, copy), gids, one, "copied")
    house.sql(f"alter database {db.dbname} is_template false", dbname="postgres")
    again = session(house, db.dbname)
    assert set(again.wait_all(gids).values()) == {"succeed"}, "the original goes on as ever"
    assert [one.sequence(gid).count("01 action") for gid in gids] == [2] * len(gids)


@pytest.mark.settings({"dtm.workers": 3})
def test_several_workers_are_silent_and_one_says_so(own_cluster, session, one):
    db = session(own_cluster)
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    db.close()
    own_cluster.expect("due to administrator command")
    own_cluster.sql("create database copy template bank", dbname="postgres")
    own_cluster.wait_coordinator("copy", count=3)
    silent(own_cluster, "copy")
    db = session(own_cluster, "copy")
    gids = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(30)]
    silent(own_cluster, "copy")
    adopts(db, gids, one, "copied")


# --- dtm_adopt() --------------------------------------------------------------------------------------

def test_nothing_to_adopt(house, new_database, session):
    db = session(house, new_database(extension=True))
    with pytest.raises(psycopg.Error) as refused:
        db.q("select dtm_adopt()")
    assert refused.value.sqlstate == "TD003"
    assert db.one("select count(*) from dtm.event") == 0


def test_who_may_adopt(house, original, copy_of, session, one):
    db, gids = original
    db.close()
    copy = session(house, copy_of(db.dbname))
    copy.q("create role adopter")
    for level in ("submit", "observe", "barrier"):
        copy.q("select dtm_grant('adopter', %s)", level)
    copy.q("set session authorization adopter")
    with pytest.raises(psycopg.Error) as refused:
        copy.q("select dtm_adopt()")
    assert refused.value.sqlstate == "42501"
    copy.q("reset session authorization")
    copy.q("select dtm_grant('adopter', 'admin')")
    copy.q("set session authorization adopter")
    with copy.conn.transaction(force_rollback=True):
        assert copy.one("select dtm_adopt()")
    assert "copied" in copy.one("select dtm_adopt()"), "the one before was rolled back"
    copy.q("reset session authorization")
    assert copy.one("select role from dtm.event where verb = 'adopt'") == "adopter"
    assert set(copy.wait_all(gids).values()) == {"succeed"}
    copy.q("select dtm_revoke('adopter')")
    copy.q("drop role adopter")


def test_an_adopted_database_stays_adopted(own_cluster, session, one):
    own_cluster.expect("due to administrator command")
    own_cluster.sql("create database copy template bank", dbname="postgres")
    silent(own_cluster, "copy")
    db = session(own_cluster, "copy")
    db.q("select dtm_adopt()")
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    begin = own_cluster.log_size()
    for blow in ("restart", "crash"):
        db.close()
        if blow == "restart":
            own_cluster.restart()
        else:
            own_cluster.expect_crash()
            os.kill(own_cluster.wait_coordinator("copy")[0], signal.SIGKILL)
            wait_until(lambda: "all server processes terminated" in own_cluster.log_text(begin), "crash restart")
            own_cluster.wait_ready()
        db = session(own_cluster, "copy")
        db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    assert not warnings(own_cluster, begin)


def test_work_of_the_moment_of_the_installation(house, new_database, session, one):
    """Submitted in the transaction that creates the extension; and by a clock that was set back after it."""
    db = session(house, new_database())
    with db.conn.transaction():
        db.q("create extension dtm_pg")
        first = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(first, "succeed")
    db.q("update dtm.identity set installed = clock_timestamp() + interval '50 seconds'")
    house.expect("due to administrator command")
    before = house.wait_coordinator(db.dbname)
    db.q("select pg_terminate_backend(%s)", before[0])
    house.wait_coordinator(db.dbname, other_than=before)
    wait_until(lambda: db.one("select ring = 0 and pid <> %s from dtm.stat_coordinator where datname ="
                              " current_database()", before[0]), "it runs")
    begin = house.log_size()
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    assert not warnings(house, begin)


def test_a_clock_that_was_set_back(own_cluster, session, one):
    """To before the installation, by more than any tolerance. Work of the server's own is known as such, also by the
    next coordinator; what is older came from elsewhere all the same."""
    db = session(own_cluster)
    db.q("update dtm.identity set installed = clock_timestamp() + interval '3 minutes'")
    begin = own_cluster.log_size()
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    name = db.new_gid("later")
    waits = db.saga(step(one.url(f"ongoing/{name}"), None, {}), retry_interval=1)
    db.wait_attempts(waits, 1)
    own_cluster.expect("due to administrator command")
    before = own_cluster.wait_coordinator()
    db.q("select pg_terminate_backend(%s)", before[0])
    own_cluster.wait_coordinator(other_than=before)
    one.set_mode(name, "ok")
    db.wait(waits, "succeed")
    assert not warnings(own_cluster, begin)
    older = db.new_gid("older")
    db.q("create temp table restored as select * from dtm.trans where gid = %s", waits)
    db.q("update restored set gid = %s, status = 'submitted', version = 1, progress = null, finish_time = null,"
         " create_time = now() - interval '10 minutes', next_cron_time = now()", older)
    db.q("insert into dtm.trans select * from restored")
    silent(own_cluster, own_cluster.dbname, begin)
    assert uncalled(one, [older])


# --- a copied server ----------------------------------------------------------------------------------

@pytest.fixture
def busy(own_cluster, session, one):
    """A server with a transaction that waits for its next attempt for a long time."""
    db = session(own_cluster)
    name = db.new_gid("wait")
    gid = db.saga(step(one.url(f"ongoing/{name}"), None, {}), **LONG)
    db.wait_attempts(gid, 1)
    return db, gid, name


def stays_silent(copy, session, service, busy, why):
    """Over restarts, until it is adopted; then over restarts it works."""
    _, gid, name = busy
    silent(copy, copy.dbname)
    for start in range(2):
        begin = copy.log_size()
        copy.restart()
        db = session(copy)
        db.q("select dtm_retry_now(%s)", gid)
        silent(copy, copy.dbname, begin)
        assert len(service.calls(gid=gid)) == 1, "from the original"
        assert why in db.explain(gid)
        if start == 0:
            db.close()
    service.set_mode(name, "ok")
    assert why in db.one("select dtm_adopt()")
    db.wait(gid, "succeed")
    assert len(service.calls(gid=gid)) == 2
    db.close()
    begin = copy.log_size()
    copy.restart()
    db = session(copy)
    db.wait(db.saga(step(service.url("ok/a"), None, {})), "succeed")
    assert not warnings(copy, begin)


def test_a_base_backup_started_as_a_server_of_its_own(busy, own_cluster, session, one):
    with kept(Copy(own_cluster)) as copy:
        copy.init().start()
        stays_silent(copy, session, one, busy, "recovered from a backup")


def test_a_base_backup_first_started_without_the_library(busy, own_cluster, session, one):
    """Recovery is over, and its files gone, when our library sees the server for the first time."""
    with kept(Copy(own_cluster, shared_preload_libraries="")) as copy:
        for name in [k for k in copy.settings if k.startswith("dtm.")]:
            copy.settings.pop(name)
        copy.init().start()
        copy.configure(shared_preload_libraries="dtm_pg")
        copy.restart()
        stays_silent(copy, session, one, busy, "recovered from a backup")


def test_a_standby_that_is_made_independent_without_promotion(busy, own_cluster, session, one):
    with standby_of(own_cluster) as copy:
        copy.expect(*LONELY)
        copy.stop()
        (copy.data / "standby.signal").unlink()
        copy.start()
        stays_silent(copy, session, one, busy, "recovered from a backup")


def test_recovery_to_a_point_in_time(session, one):
    with running_cluster("archived", {"archive_mode": "on", "archive_command": "cp %p ../archive/%f"}) as cluster:
        archive = cluster.root / "archive"
        archive.mkdir()
        archive.chmod(0o777)
        db = session(cluster)
        name = db.new_gid("pitr")
        gid = db.saga(step(one.url(f"ongoing/{name}"), None, {}), **LONG)
        db.wait_attempts(gid, 1)
        with kept(Copy(cluster, "pitr", restore_command=f"cp {archive}/%f %p", recovery_target_name="here",
                       recovery_target_action="promote", archive_mode="off")) as copy:
            copy.init("recovery.signal")
            db.q("select pg_create_restore_point('here')")
            db.q("select dtm_force_stop(%s)", gid)
            walfile = db.one("select pg_walfile_name(pg_current_wal_lsn())")
            db.q("select pg_switch_wal()")
            wait_until((archive / walfile).exists, "it is archived")
            copy.start()
            stays_silent(copy, session, one, (db, gid, name), "recovered from a backup")
            assert db.status(gid) == "failed"


def test_a_new_system_identifier(busy, own_cluster, session, one):
    """pg_resetwal -f gives one to a server without control file."""
    db, _, _ = busy
    db.close()
    own_cluster.stop()
    with kept(Copy(own_cluster)) as copy:
        copy.init_cold()
        lines = copy.tool("pg_controldata").splitlines()
        was = {k.removeprefix("Latest checkpoint's "): v.strip() for k, _, v in (li.partition(":") for li in lines)}
        control = copy.data / "global/pg_control"
        control.write_bytes(b"")
        multi, oldest = was["NextMultiXactId"], was["oldestMultiXid"]
        copy.tool("pg_resetwal", "-f", "-x", was["NextXID"].split(":")[1], "-o", was["NextOID"],
                  "-m", f"{multi},{oldest}", "-O", was["NextMultiOffset"])
        now = copy.tool("pg_controldata")
        assert was["Database system identifier"] not in now
        copy.start()
        stays_silent(copy, session, one, busy, "copied")


def test_a_failover_goes_on_by_itself(session, one):
    """Twice, from server to server; and each goes on after its next restart."""
    with running_cluster("first", {"synchronous_commit": "on"}) as first:
        with standby_of(first) as second:
            db = session(first)
            gid, name = db.new_gid("over"), db.new_gid("waits")
            db.saga(step(one.url(f"ongoing/{name}"), None, {}), step(one.url("ok/b"), None, {}), gid=gid,
                    request_timeout=1000, retry_interval=1)
            one.wait_calls(2, gid=gid)
            there = session(second)
            wait_until(lambda: there.status(gid) == "submitted", "the standby has it")
            db.close()
            first.expect_crash()
            second.expect(*LONELY)
            first.kill_postmaster()
            before = len(one.calls(gid=gid))
            second.promote()
            one.wait_calls(before + 1, gid=gid)
            there.close()
            assert not warnings(second)
            second.restart()
            before = len(one.calls(gid=gid))
            one.wait_calls(before + 1, gid=gid)
            with standby_of(second) as third:
                third.expect(*LONELY)
                second.expect_crash()
                second.kill_postmaster()
                third.promote()
                one.set_mode(name, "ok")
                db = session(third)
                db.wait(gid, "succeed")
                with pytest.raises(psycopg.Error) as refused:
                    db.q("select dtm_adopt()")
                assert refused.value.sqlstate == "TD003"
                assert db.one("select timeline from dtm.identity") == 3
                assert not warnings(third)


def test_a_silent_copy_stays_silent_on_its_standby(own_cluster, session, one):
    own_cluster.expect("due to administrator command")
    own_cluster.sql("create database copy template bank", dbname="postgres")
    silent(own_cluster, "copy")
    with standby_of(own_cluster) as standby:
        standby.expect(*LONELY)
        own_cluster.expect_crash()
        own_cluster.kill_postmaster()
        standby.promote()
        silent(standby, "copy")
        assert len(warnings(standby)) == 1, "not of database bank"
        db = session(standby)
        db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")


def test_a_publication_of_all_tables_is_no_obstacle(own_cluster, session, one):
    with running_cluster("publisher", {"wal_level": "logical"}) as cluster:
        cluster.sql("create publication everything for all tables")
        cluster.expect("due to administrator command")
        cluster.sql("create database copy template bank", dbname="postgres")
        silent(cluster, "copy")
        db = session(cluster, "copy")
        db.q("select dtm_adopt()")
        db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
