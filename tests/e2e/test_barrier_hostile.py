"""Whoever owns an adopted barrier table gains nothing by it, and neither does who calls the barrier: code of
either never runs with the rights of somebody else (design 13)."""
import pytest

from barrier_table import databases, error_of, insert_old, make_roles, passes, rows_of, table_of_client
from cluster import wait_until

BECOME = "if (select rolsuper from pg_roles where rolname = current_user) then alter role {role} superuser; end if;"


@pytest.fixture(scope="module")
def house(module_cluster):
    return make_roles(module_cluster)


@pytest.fixture
def conn(house):
    with databases(house) as make, house.connect(make()) as conn:
        yield conn


def is_superuser(conn, role):
    [found] = conn.execute("select rolsuper from pg_roles where rolname = %s", (role,)).fetchone()
    conn.execute(f"alter role {role} nosuperuser")  # the next test's role is the same
    return found


def trap(conn, role="svc"):
    """An index that runs a function of the owner's whenever a query on the table is planned."""
    conn.execute(f"""create function dtm_barrier.vol(x int) returns int language plpgsql volatile as $$
        begin {BECOME.format(role=role)} return 1; exception when others then return 1; end $$""")
    conn.execute("create function dtm_barrier.imm(x int) returns int language plpgsql immutable as"
                 " $$ begin return dtm_barrier.vol(x); end $$")
    conn.execute("create index on dtm_barrier.barrier (update_time) where dtm_barrier.imm(1) = 1")


def test_the_trap_catches_a_superuser(conn):
    """Else the other tests would find nothing."""
    table_of_client(conn)
    conn.execute("grant create on schema dtm_barrier to svc")
    conn.execute("set role svc")
    trap(conn)
    conn.execute("reset role")
    assert not is_superuser(conn, "svc")
    conn.execute("select from dtm_barrier.barrier")
    assert is_superuser(conn, "svc")


def test_adopting_a_table_runs_nothing_as_superuser(conn):
    table_of_client(conn)
    conn.execute("grant create on schema dtm_barrier to svc")
    conn.execute("set role svc")
    trap(conn)
    conn.execute("reset role")
    conn.execute("create extension dtm_pg")
    assert not is_superuser(conn, "svc")


def test_calling_the_barrier_runs_nothing_as_the_caller(conn):
    table_of_client(conn)
    conn.execute("create extension dtm_pg")
    conn.execute("set role svc")
    trap(conn)
    conn.execute("reset role")
    assert passes(conn, gid="by_superuser") == "run"
    assert not is_superuser(conn, "svc")


def test_a_deferred_trigger_of_the_owner_does_not_fire_as_the_caller(conn):
    """It would fire at the caller's COMMIT, as the caller."""
    table_of_client(conn)
    conn.execute(f"""create function dtm_barrier.later() returns trigger language plpgsql as $$
        begin {BECOME.format(role='svc')} return null; end $$""")
    conn.execute("create constraint trigger later after insert on dtm_barrier.barrier deferrable initially deferred"
                 " for each row execute function dtm_barrier.later()")
    conn.execute("create extension dtm_pg")
    assert error_of(passes, conn).sqlstate == "42501", "it would have to fire within the call, as its owner"
    assert not is_superuser(conn, "svc")


def test_settings_of_the_owners_trigger_end_with_it(conn):
    table_of_client(conn)
    conn.execute("""create function dtm_barrier.set() returns trigger language plpgsql as $$
        begin perform set_config('row_security', 'off', false); return new; end $$""")
    conn.execute("create trigger set before insert on dtm_barrier.barrier for each row"
                 " execute function dtm_barrier.set()")
    conn.execute("create extension dtm_pg")
    assert passes(conn) == "run"
    assert conn.execute("show row_security").fetchone() == ("on",)


def test_a_constraint_on_our_table_finds_nothing_of_the_callers(conn):
    """A superuser added it, with a name that is not qualified."""
    conn.execute("create extension dtm_pg")
    conn.execute("create function public.is_ok(t text) returns bool language sql as $$ select lower(t) <> 'bad' $$")
    conn.execute("alter table dtm_barrier.barrier add check (public.is_ok(gid))")
    conn.execute("select dtm_grant('app', 'barrier')")
    conn.execute("create schema evil authorization app")
    conn.execute("set role app")
    conn.execute(f"""create function evil.lower(t text) returns text language plpgsql as $$
        begin {BECOME.format(role='app')} return t; end $$""")
    conn.execute("grant usage on schema evil to public")
    conn.execute("set search_path = evil, pg_catalog, public")
    assert passes(conn, gid="x") == "run"
    conn.execute("reset role")
    conn.execute("reset search_path")
    assert not is_superuser(conn, "app")


def test_housekeeping_leaves_children_and_traps_alone(house, conn):
    """The coordinator is a superuser: it touches neither a child's rows nor a table with functions of others."""
    table_of_client(conn)
    conn.execute("create extension dtm_pg")
    conn.execute("create table dtm_barrier.kid () inherits (dtm_barrier.barrier)")
    conn.execute("insert into dtm_barrier.kid (gid, create_time) values ('kid', now() - interval '90 days')")
    insert_old(conn, "old")
    house.reload(**{"dtm.barrier_retention": "30d"})
    wait_until(lambda: rows_of(conn, "old") == 0, "the old row to go")
    assert rows_of(conn, "kid") == 1

    insert_old(conn, "kept", age="29 days 12 hours")    # not old before the settings say so
    conn.execute("set role svc")
    trap(conn)
    conn.execute("reset role")
    size = house.log_size()
    house.reload(**{"dtm.barrier_retention": "29d"})
    house.expect("does not remove old rows of dtm_barrier.barrier")
    wait_until(lambda: "does not remove old rows" in house.log_text(size), "the warning")
    assert not is_superuser(conn, "svc")
    conn.execute("set role svc")  # a look of ours would run the trap, too
    assert rows_of(conn, "kept") == 1
    conn.execute("reset role")
