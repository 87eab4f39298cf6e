"""pg_dump and restore keep the barrier: its rows, its ids, the protection of tables (P3)."""
import os
import subprocess

import pytest

from barrier_table import (error_of, house, insert_as_client, new_database, passes, rows,  # noqa: F401
                           rows_of, table_exists, table_of_client)
from cluster import BINDIR


def run(house, program, *arguments):
    ran = subprocess.run([str(BINDIR / program), "-h", "127.0.0.1", "-p", str(house.port), "-U", "postgres",
                          *map(str, arguments)], capture_output=True, text=True,
                         env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"})
    assert ran.returncode == 0, f"{program} {arguments}:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


def plain(house, source, target, file, *options):
    run(house, "pg_dump", "-f", file, *options, source)
    run(house, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target, "-f", file)


def custom(house, source, target, file):
    run(house, "pg_dump", "-Fc", "-f", file, source)
    run(house, "pg_restore", "--exit-on-error", "-d", target, file)


def sections(house, source, target, file):
    run(house, "pg_dump", "-Fc", "-f", file, source)
    for section in ("pre-data", "data", "post-data"):
        run(house, "pg_restore", "--exit-on-error", f"--section={section}", "-d", target, file)


@pytest.fixture(params=[plain, custom, sections])
def copy(request, house, new_database, tmp_path):
    """copy(name) is a new database with what was dumped of the database."""
    def make(name):
        target = new_database()
        request.param(house, name, target, tmp_path / f"{target}.dump")
        return target
    return make


def fill(conn):
    """What the barrier has seen: a call, and another that was undone before it arrived."""
    assert passes(conn, gid="done") == "run"
    assert passes(conn, gid="undone", op="compensate") == "empty"


def assert_remembers(conn):
    assert passes(conn, gid="done") == "duplicate"
    assert passes(conn, gid="undone") == "hanging"
    assert passes(conn, gid="new") == "run"
    assert passes(conn, gid="new") == "duplicate"
    [ran] = conn.execute("select dtm_barrier_call('saga', 'done', '01', 'action', 'select 1 / 0')").fetchone()
    assert not ran


def test_our_table_is_in_the_dump(house, new_database, copy):
    name = new_database(extension=True)
    with house.connect(name) as conn:
        fill(conn)
        before = rows(conn)
    with house.connect(copy(name)) as conn:
        assert rows(conn) == before
        assert_remembers(conn)
        ids = [row[0] for row in rows(conn)]
        assert ids == sorted(set(ids)) and ids[:len(before)] == [row[0] for row in before]
        conn.execute("drop extension dtm_pg")
        assert not table_exists(conn), "it is the extension's again"


def test_who_may_dump(house, session, new_database, tmp_path):
    """No level is enough, nor is it to own the database; to read all data is."""
    name, target, file = new_database(extension=True), new_database(), tmp_path / "all.dump"
    db = session(house, name)
    db.q("create role dumper login")
    try:
        db.q(f"alter database {name} owner to dumper")
        for level in ("submit", "observe", "admin", "barrier"):
            db.q("select dtm_grant('dumper', %s)", level)
        db.q("""select dtm_submit('msg', array[dtm_step('http://127.0.0.1:9/')], 'dumped', '{"delay": 3600}')""")
        with pytest.raises(AssertionError, match="permission denied"):
            run(house, "pg_dump", "-U", "dumper", "-f", file, name)
        db.q("grant pg_read_all_data to dumper")
        run(house, "pg_dump", "-U", "dumper", "-f", file, name)
        run(house, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target, "-f", file)
        with house.connect(target) as conn:
            assert conn.execute("select gid from dtm.trans").fetchall() == [("dumped",)]
            conn.execute("drop owned by dumper")
    finally:
        db.q(f"alter database {name} owner to postgres")
        db.q("drop owned by dumper")
        db.q("drop role dumper")


def test_an_adopted_table_is_in_the_dump(house, new_database, copy):
    name = new_database()
    with house.connect(name) as conn:
        table_of_client(conn)
        insert_as_client(conn, "saga", "before", "01", "action")
        conn.execute("create extension dtm_pg")
        fill(conn)
        before = rows(conn)
    for _ in range(2):  # a copy can be copied
        name = copy(name)
        with house.connect(name) as conn:
            assert rows(conn) == before
            assert conn.execute("select relowner::regrole::text from pg_class where oid ="
                                " 'dtm_barrier.barrier'::regclass").fetchone() == ("svc",)
    with house.connect(name) as conn:
        assert_remembers(conn)
        assert passes(conn, gid="before") == "duplicate"
        conn.execute("set role svc")
        assert insert_as_client(conn, "saga", "by_client", "01", "action")
        assert not insert_as_client(conn, "saga", "new", "01", "action")
        conn.execute("reset role")
        ids = [row[0] for row in rows(conn)]
        assert ids == sorted(set(ids))
        conn.execute("select dtm.install_barrier()")
        # Too young for the coordinator, which keeps house here, too.
        conn.execute("update dtm_barrier.barrier set create_time = now() - interval '20 days' where gid = 'new'")
        assert conn.execute("select dtm_barrier_purge('10 days')").fetchone() == (1,)
        assert passes(conn, gid="before") == "duplicate", "it has no time, and is as old as the adoption"
        conn.execute("drop extension dtm_pg")
        assert table_exists(conn), "it is still the client's"


@pytest.mark.parametrize("schema", ["empty", "emptied"])
def test_a_table_that_was_made_by_hand_is_in_the_dump(house, new_database, copy, schema):
    """dtm.install_barrier() made it, where CREATE EXTENSION had found a schema without it, or where it is gone."""
    name = new_database()
    with house.connect(name) as conn:
        if schema == "empty":
            conn.execute("create schema dtm_barrier")
        else:
            table_of_client(conn)
        conn.execute("create extension dtm_pg")
        if schema == "emptied":
            conn.execute("drop table dtm_barrier.barrier")
            conn.execute("drop sequence dtm_barrier.barrier_seq")
        conn.execute("select dtm.install_barrier()")
        fill(conn)
        before = rows(conn)
    with house.connect(copy(name)) as conn:
        assert rows(conn) == before
        assert_remembers(conn)


def test_protected_tables_are_loaded_and_protected_afterwards(house, new_database, copy):
    name = new_database(extension=True)
    with house.connect(name) as conn:
        conn.execute("create table account (id int primary key, n int)")
        conn.execute("create table free (n int)")
        conn.execute("insert into account select n, n from generate_series(1, 10) n")
        conn.execute("insert into free values (1)")
        conn.execute("select dtm_protect('account', true), dtm_protect('free', false)")
        fill(conn)
    with house.connect(copy(name)) as conn:
        assert conn.execute("select count(*), sum(n) from account").fetchone() == (10, 55)
        assert conn.execute("select count(*) from free").fetchone() == (1,)
        for write in ("insert into account values (11, 11)", "update account set n = 0", "delete from account",
                      "truncate account"):
            assert error_of(conn.execute, write).sqlstate == "TD006"
        conn.execute("insert into free values (2)")
        for gid, left in (("done", 10), ("new", 0), ("new", 0)):
            with conn.transaction():
                conn.execute("select dtm_branch('saga', %s, '01', 'action')", (gid,))
                conn.execute("delete from account")
            assert conn.execute("select count(*) from account").fetchone() == (left,)


def test_data_alone_goes_into_a_database_with_the_extension(house, new_database, tmp_path):
    """--disable-triggers is for that, as with every trigger."""
    source, target = new_database(extension=True), new_database(extension=True)
    for name in (source, target):
        with house.connect(name) as conn:
            conn.execute("create table account (n int)")
            conn.execute("select dtm_protect('account', true)")
            if name == source:
                fill(conn)
                with conn.transaction():
                    conn.execute("select dtm_branch('saga', 'g', '01', 'action')")
                    conn.execute("insert into account values (1)")
    plain(house, source, target, tmp_path / "dump", "--data-only", "--disable-triggers")
    with house.connect(target) as conn:
        assert_remembers(conn)
        assert rows_of(conn, "g") == 1
        assert conn.execute("select n from account").fetchall() == [(1,)]
        assert error_of(conn.execute, "delete from account").sqlstate == "TD006"


@pytest.mark.parametrize("made_by", ["extension", "client"])
def test_a_dump_is_restored_over_its_own_database(house, new_database, tmp_path, made_by):
    """pg_dump --clean drops what it makes anew."""
    name = new_database()
    with house.connect(name) as conn:
        if made_by == "client":
            table_of_client(conn)
        conn.execute("create extension dtm_pg")
        conn.execute("create table account (n int)")
        conn.execute("select dtm_protect('account', true)")
        fill(conn)
        before = rows(conn)
    plain(house, name, name, tmp_path / "dump", "--clean", "--if-exists")
    with house.connect(name) as conn:
        assert rows(conn) == before
        assert_remembers(conn)
        assert error_of(conn.execute, "insert into account values (1)").sqlstate == "TD006"
