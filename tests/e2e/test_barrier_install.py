"""CREATE EXTENSION makes dtm_barrier.barrier, or adopts the one that a client of dtm has made before; it
changes nothing where it can do neither (P3)."""
import psycopg
import pytest

from barrier_table import (CALL, KEYS, create_extension, describe, error_of, house, insert_as_client,  # noqa: F401
                           new_database, passes, rows, rows_of, table_exists, table_of_client)
from cluster import wait_until
from copies import standby_of

ADOPTED = "the existing table dtm_barrier.barrier is used from now on"


@pytest.fixture
def conn(house, new_database):
    """A session, as superuser, in a database of its own without the extension."""
    with house.connect(new_database()) as conn:
        yield conn


@pytest.fixture
def adopted(conn):
    """The same with the extension, after a client of dtm has made the table."""
    table_of_client(conn)
    conn.execute("create extension dtm_pg")
    return conn


def create_times(conn, gid):
    return [t for t, in conn.execute("select create_time from dtm_barrier.barrier where gid = %s", (gid,))]


# --- adoption -----------------------------------------------------------------------------------------

def test_the_table_of_a_client_is_adopted(conn):
    """No row is lost, old rows count, rows that clients write afterwards have a time."""
    table_of_client(conn)
    conn.execute("set role svc")
    assert insert_as_client(conn, "saga", "done", "01", "action")
    assert insert_as_client(conn, "saga", "undone", "01", "action", reason="compensate")
    assert insert_as_client(conn, "saga", "undone", "01", "compensate")
    conn.execute("reset role")
    before, form = rows(conn), describe(conn)
    assert create_times(conn, "done") == [None]

    create_extension(conn)
    assert rows(conn) == before
    assert describe(conn)[:3] == form[:3] and describe(conn)[4:] == form[4:], "owner and keys stay as they are"
    conn.execute("select dtm_grant('app', 'barrier')")
    assert passes(conn, gid="done", role="app") == "duplicate"
    assert passes(conn, gid="undone", role="app") == "hanging"
    assert passes(conn, gid="undone", op="compensate", role="app") == "duplicate"
    assert passes(conn, gid="done", op="compensate", role="app") == "run"
    assert passes(conn, gid="new", role="app") == "run"

    conn.execute("set role svc")
    assert insert_as_client(conn, "saga", "later", "01", "action")
    assert not insert_as_client(conn, "saga", "new", "01", "action")
    conn.execute("reset role")
    [later] = create_times(conn, "later")
    assert later is not None, "rows of clients have a time from the adoption on"
    assert create_times(conn, "new") != [None] and create_times(conn, "done")[0] is None


def test_create_extension_tells_what_it_found(conn):
    assert create_extension(conn) == [], "a table of ours is nothing to talk of"
    conn.execute("drop extension dtm_pg")
    conn.execute("create schema dtm_barrier")
    assert create_extension(conn) == ["the table dtm_barrier.barrier is left to whoever made the schema"]
    conn.execute("drop extension dtm_pg")
    table_of_client(conn)
    assert create_extension(conn) == [ADOPTED]


def test_drop_extension_leaves_an_adopted_table_and_create_takes_it_again(adopted):
    assert passes(adopted) == "run"
    before = rows(adopted)
    adopted.execute("drop extension dtm_pg")
    assert rows(adopted) == before
    assert insert_as_client(adopted, "saga", "between", "01", "action")
    create_extension(adopted)
    assert passes(adopted) == "duplicate"
    assert passes(adopted, gid="between") == "duplicate"
    assert passes(adopted, gid="new") == "run"


def test_drop_extension_removes_a_table_that_it_made(conn):
    create_extension(conn)
    assert passes(conn) == "run"
    conn.execute("drop extension dtm_pg")
    assert conn.execute("select to_regnamespace('dtm_barrier'), to_regclass('dtm_barrier.barrier_seq')"
                        ).fetchone() == (None, None)
    create_extension(conn)
    assert passes(conn) == "run"


def test_a_rolled_back_create_extension_undoes_the_adoption(conn):
    table_of_client(conn)
    insert_as_client(conn, *CALL)
    before, form = rows(conn), describe(conn)
    with conn.transaction(force_rollback=True):
        create_extension(conn)
        assert describe(conn) != form
    assert describe(conn) == form and rows(conn) == before
    create_extension(conn)


@pytest.mark.parametrize("default", ["", "default clock_timestamp()"], ids=["none", "own"])
def test_a_default_of_the_owner_stays(conn, default):
    table_of_client(conn, {"create_time": f"timestamptz {default}"})
    create_extension(conn)
    [expression] = conn.execute(
        "select pg_get_expr(adbin, adrelid) from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum"
        " where adrelid = 'dtm_barrier.barrier'::regclass and attname = 'create_time'").fetchone()
    assert expression == ("clock_timestamp()" if default else "now()")


ANOTHER_KEY = "unique (gid, branch_id, barrier_id, op)"
ACCEPTED = {
    "text": ({name: "text default ''" for name in ("trans_type", "gid", "branch_id", "op", "barrier_id", "reason")},
             KEYS),
    "narrow_id": ({"id": "serial"}, KEYS),
    "identity": ({"id": "bigint generated always as identity"}, KEYS),
    "unique_id": ({}, ("unique (id)", KEYS[1])),
    "other_order": ({}, (KEYS[0], ANOTHER_KEY)),
    "no_update_time": ({"update_time": None}, KEYS),
    "without_zone": ({"create_time": "timestamp"}, KEYS),
    "not_null": ({"gid": "varchar(128) not null", "create_time": "timestamptz not null default now()"}, KEYS),
    "more_columns": ({"tenant": "text", "seen": "timestamptz not null default now()"}, KEYS),
}


@pytest.mark.parametrize("shape", ACCEPTED)
def test_a_shape_that_is_as_good_is_adopted(conn, shape):
    table_of_client(conn, *ACCEPTED[shape])
    create_extension(conn)
    assert passes(conn) == "run"
    assert passes(conn) == "duplicate"
    assert passes(conn, gid="other", op="compensate") == "empty"
    [time] = create_times(conn, "g")
    assert time is not None


REFUSED = {
    "no_column": ({"reason": None}, KEYS, "It has no column reason."),
    "wrong_type": ({"gid": "bytea"}, KEYS, "Column gid is bytea, not a text."),
    "wrong_time": ({"create_time": "bigint"}, KEYS, "Column create_time is bigint, not a time."),
    "uuid": ({"id": "uuid default gen_random_uuid()"}, KEYS, "Column id is uuid, not an integer."),
    "padded": ({"op": "char(45)"}, KEYS, "Column op is character(45), not a text."),
    "no_key": ({}, KEYS[:1], "It has no unique key (gid, branch_id, op, barrier_id)."),
    "smaller_key": ({}, (KEYS[0], "unique (gid, branch_id, op)"),
                    "It has no unique key (gid, branch_id, op, barrier_id)."),
    "wider_key": ({}, (KEYS[0], "unique (gid, branch_id, op, barrier_id, reason)"),
                  "It has no unique key (gid, branch_id, op, barrier_id)."),
    "late_key": ({}, (KEYS[0], KEYS[1] + " deferrable initially deferred"),
                 "It has no unique key (gid, branch_id, op, barrier_id)."),
    "no_id_key": ({}, KEYS[1:], "It has no unique key (id)."),
    "id_without_default": ({"id": "bigint"}, KEYS,
                           "Column id has no default."),
    "needs_more": ({"tenant": "text not null"}, KEYS,
                   "Column tenant must be given a value: it is NOT NULL without a default."),
}


def assert_refused(conn, detail):
    form = describe(conn)
    error = error_of(create_extension, conn)
    assert error.sqlstate == "55000"
    assert error.diag.message_primary == "the table dtm_barrier.barrier is not that of dtm's clients"
    assert error.diag.message_detail == detail
    assert describe(conn) == form
    assert conn.execute("select to_regnamespace('dtm')::text, (select count(*) from pg_extension where"
                        " extname = 'dtm_pg'), (select count(*) from pg_proc where proname like 'dtm%')"
                        ).fetchone() == (None, 0, 0)


@pytest.mark.parametrize("shape", REFUSED)
def test_another_shape_is_refused_and_nothing_is_changed(conn, shape):
    columns, keys, detail = REFUSED[shape]
    table_of_client(conn, columns, keys)
    assert_refused(conn, detail)


def test_an_id_that_nobody_fills_is_refused(conn):
    """Rows without an id are never removed."""
    table_of_client(conn, {"id": "bigint"}, ("unique (id)", KEYS[1]))
    error = error_of(create_extension, conn)
    assert error.sqlstate == "55000" and "id" in error.diag.message_detail


@pytest.mark.parametrize("index", ["where reason <> ''", "(gid, branch_id, op, lower(barrier_id))"],
                         ids=["partial", "expression"])
def test_an_index_that_is_not_on_the_columns_of_all_rows_is_no_key(conn, index):
    table_of_client(conn, keys=KEYS[:1])
    columns = "" if index.startswith("(") else "(gid, branch_id, op, barrier_id)"
    conn.execute(f"create unique index on dtm_barrier.barrier {columns} {index}")
    assert_refused(conn, "It has no unique key (gid, branch_id, op, barrier_id).")


@pytest.mark.parametrize("kind", ["view", "materialized view"])
def test_a_view_is_refused(conn, kind):
    table_of_client(conn)
    conn.execute("alter table dtm_barrier.barrier rename to the_real_one")
    conn.execute(f"create {kind} dtm_barrier.barrier as select * from dtm_barrier.the_real_one")
    assert_refused(conn, "It is not an ordinary table.")


def test_narrower_columns_are_respected(conn):
    table_of_client(conn, {"gid": "varchar(36)", "branch_id": "varchar(4)"})
    create_extension(conn)
    assert passes(conn, gid="g" * 36) == "run"
    assert passes(conn, gid="ü" * 36) == "run"
    error = error_of(passes, conn, gid="g" * 37)
    assert error.sqlstate == "TD001" and error.diag.message_detail == "Field: gid"
    assert error.diag.message_primary == "the gid is 37 characters long, the column takes 36"
    error = error_of(passes, conn, branch_id="01020")
    assert error.diag.message_primary == "the branch_id is 5 characters long, the column takes 4"
    error = error_of(conn.execute, "select dtm_barrier_query_prepared('msg', repeat('g', 37))")
    assert error.diag.message_primary == "the gid is 37 characters long, the column takes 36"


# --- whose rights -------------------------------------------------------------------------------------

def test_code_of_the_tables_owner_runs_as_the_owner(conn):
    """Who calls the barrier needs no right on the table, and hands none to its triggers."""
    table_of_client(conn)
    conn.execute("create table public.audit (gid text, who text)")
    conn.execute("alter table public.audit owner to svc")
    conn.execute("""
        create function dtm_barrier.tell() returns trigger language plpgsql as $$
        begin insert into public.audit values (new.gid, current_user); return new; end $$""")
    conn.execute("create trigger tell before insert on dtm_barrier.barrier for each row"
                 " execute function dtm_barrier.tell()")
    conn.execute("create extension dtm_pg")
    conn.execute("select dtm_grant('app', 'barrier')")
    [seen] = conn.execute("select has_table_privilege('app', 'dtm_barrier.barrier', 'insert,select,update,delete')"
                          " or has_schema_privilege('app', 'dtm_barrier', 'usage')").fetchone()
    assert not seen
    assert passes(conn, gid="as_app", role="app") == "run"
    assert passes(conn, gid="as_superuser") == "run"
    conn.execute("select dtm_barrier_call('saga', 'call', '01', 'action', 'select 1')")
    conn.execute("select dtm_barrier_query_prepared('msg', 'query')")
    assert conn.execute("select distinct gid, who from public.audit order by gid").fetchall() == [
        (gid, "svc") for gid in ("as_app", "as_superuser", "call", "query")]
    with conn.transaction():
        conn.execute("set local role app")
        conn.execute("select dtm_barrier('saga', 'x', '01', 'action')::text || ''")
        assert conn.execute("select current_user").fetchone() == ("app",)
    conn.execute("set role app")
    assert error_of(rows, conn).sqlstate == "42501"
    conn.execute("reset role")


def test_code_of_the_tables_owner_finds_nothing_of_the_callers(conn):
    """A trigger with names that are not qualified is not led astray by the search_path of who calls the barrier."""
    table_of_client(conn)
    conn.execute("create table public.audit (gid text)")
    conn.execute("create table public.secret (x text)")
    conn.execute("insert into public.secret values ('of svc')")
    conn.execute("create function dtm_barrier.tell() returns trigger language plpgsql as"
                 " $$ begin insert into audit values (new.gid); return new; end $$")
    conn.execute("create trigger tell before insert on dtm_barrier.barrier for each row"
                 " execute function dtm_barrier.tell()")
    conn.execute("alter table public.audit owner to svc")
    conn.execute("alter table public.secret owner to svc")
    conn.execute("create extension dtm_pg")
    conn.execute("select dtm_grant('app', 'barrier')")
    conn.execute("create schema app authorization app")
    conn.execute("set role app")
    conn.execute("create table app.stolen (x text)")
    conn.execute("create table app.audit (gid text)")
    conn.execute("create function app.steal() returns trigger language plpgsql as"
                 " $$ begin insert into app.stolen select x from public.secret; return null; end $$")
    conn.execute("create trigger steal after insert on app.audit for each row execute function app.steal()")
    conn.execute("grant usage on schema app to svc")
    conn.execute("grant insert on app.stolen, app.audit to svc")
    conn.execute("set search_path = app, public")
    assert error_of(passes, conn).sqlstate == "42P01", "its own path is what its function says"
    assert conn.execute("select x from app.stolen").fetchall() == []


def test_an_owner_without_rights_is_told_and_the_session_stays_itself(adopted):
    adopted.execute("revoke insert on dtm_barrier.barrier from svc")
    adopted.execute("select dtm_grant('app', 'barrier')")
    assert error_of(passes, adopted, role="app").sqlstate == "42501"
    assert adopted.execute("select current_user").fetchone() == ("postgres",)
    with adopted.transaction():
        adopted.execute("set local role app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), adopted.transaction():
            adopted.execute("select dtm_barrier('saga', 'g', '01', 'action')")
        assert adopted.execute("select current_user").fetchone() == ("app",)


def test_a_right_on_the_functions_is_needed(adopted):
    for sql in ("select dtm_barrier('saga', 'g', '01', 'action')",
                "select dtm_barrier_call('saga', 'g', '01', 'action', 'select 1')",
                "select dtm_barrier_query_prepared('msg', 'g')"):
        with adopted.transaction():
            adopted.execute("set local role nobody")
            with pytest.raises(psycopg.errors.InsufficientPrivilege), adopted.transaction():
                adopted.execute(sql)
    assert rows_of(adopted, "g") == 0


# --- a schema without the table -----------------------------------------------------------------------

def test_a_schema_without_the_table_is_left_to_its_owner(conn):
    """As while a dump is restored."""
    conn.execute("create schema dtm_barrier authorization svc")
    create_extension(conn)
    assert not table_exists(conn)
    error = error_of(passes, conn)
    assert error.sqlstate == "55000"
    assert error.diag.message_primary == "the barrier table dtm_barrier.barrier does not exist"
    assert create_extension(conn, "select dtm.install_barrier()") == []
    assert passes(conn) == "run"
    assert passes(conn) == "duplicate"


def test_a_table_that_a_client_makes_after_the_extension_is_adopted_by_hand(conn):
    conn.execute("create schema dtm_barrier")
    create_extension(conn)
    table_of_client(conn)
    assert passes(conn) == "run", "it is used as it is"
    assert create_extension(conn, "select dtm.install_barrier()") == [ADOPTED]
    assert create_extension(conn, "select dtm.install_barrier()") == [], "once is enough"
    insert_as_client(conn, "saga", "later", "01", "action")
    [time] = create_times(conn, "later")
    assert time is not None


def test_a_sequence_that_is_left_is_no_obstacle(conn):
    """DROP TABLE dtm_barrier.barrier leaves the sequence, which is not owned by it."""
    table_of_client(conn)
    create_extension(conn)
    conn.execute("drop table dtm_barrier.barrier")
    assert error_of(passes, conn).sqlstate == "55000"
    conn.execute("select dtm.install_barrier()")
    assert passes(conn) == "run"


def test_protected_tables_hold_drop_extension_up(conn):
    """Without CASCADE nobody loses the protection unawares."""
    conn.execute("create extension dtm_pg")
    conn.execute("create table account (n int)")
    conn.execute("select dtm_protect('account', true)")
    assert error_of(conn.execute, "drop extension dtm_pg").sqlstate == "2BP01"
    assert error_of(conn.execute, "insert into account values (1)").sqlstate == "TD006"
    conn.execute("drop extension dtm_pg cascade")
    conn.execute("insert into account values (1)")
    assert not table_exists(conn)


# --- standby ------------------------------------------------------------------------------------------

def test_on_a_standby_the_barrier_is_refused(own_cluster, session):
    with standby_of(own_cluster) as standby:
        own_cluster.sql("create table marker ()")
        look = session(standby)
        wait_until(lambda: look.one("select to_regclass('marker') is not null"), "the standby has the extension")
        standby.expect("FATAL:  .*walreceiver", "FATAL:  could not receive data", "FATAL:  .*connect to")
        for call, name in (("dtm_barrier('saga', 'g', '01', 'action')", "dtm_barrier"),
                           ("dtm_barrier_verdict('saga', 'g', '01', 'action')", "dtm_barrier_verdict"),
                           ("dtm_barrier_call('saga', 'g', '01', 'action', 'select 1')", "dtm_barrier_call"),
                           ("dtm_barrier_query_prepared('msg', 'g')", "dtm_barrier_query_prepared"),
                           ("dtm_barrier_purge('1 day')", "dtm_barrier_purge")):
            error = error_of(look.q, f"select {call}")
            assert error.sqlstate == "25006"
            assert error.diag.message_primary == f"cannot execute {name}() in a read-only transaction"
            assert error.diag.message_detail == "This server is a standby."
            assert error.diag.message_hint == "Connect to the primary, e.g. with target_session_attrs=read-write."
