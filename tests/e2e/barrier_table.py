"""The barrier table as dtm's clients make it, in databases of its own, and what a test looks at in it."""
import itertools
import uuid
from contextlib import contextmanager

import psycopg
import pytest

from conftest import with_extension

numbers = itertools.count(1)

# The DDL of dtm's clients (dtm-compat.md 6.6).
COLUMNS = {
    "id": "bigint not null default nextval('dtm_barrier.barrier_seq')",
    "trans_type": "varchar(45) default ''", "gid": "varchar(128) default ''",
    "branch_id": "varchar(128) default ''", "op": "varchar(45) default ''",
    "barrier_id": "varchar(45) default ''", "reason": "varchar(45) default ''",
    "create_time": "timestamp(0) with time zone default null",
    "update_time": "timestamp(0) with time zone default null",
}
KEYS = ("primary key (id)", "constraint uniq_barrier unique (gid, branch_id, op, barrier_id)")

CALL = "saga", "g", "01", "action"


def table_of_client(conn, columns=None, keys=KEYS, owner="svc"):
    """Does what a service with a client of dtm does at its first start. `columns` differ from dtm's; None: there
    is no such column."""
    all_columns = {name: form for name, form in {**COLUMNS, **(columns or {})}.items() if form}
    conn.execute("create schema if not exists dtm_barrier")
    conn.execute(f"alter schema dtm_barrier owner to {owner}")
    conn.execute("create sequence dtm_barrier.barrier_seq")
    conn.execute("create table dtm_barrier.barrier ("
                 + ", ".join([f"{name} {form}" for name, form in all_columns.items()] + list(keys)) + ")")
    for kind in ("sequence dtm_barrier.barrier_seq", "table dtm_barrier.barrier"):
        conn.execute(f"alter {kind} owner to {owner}")


def insert_as_client(conn, trans_type, gid, branch_id, op, reason=None, barrier_id="01"):
    """The statement of the Go client; whether it inserted."""
    return conn.execute(
        "insert into dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)"
        " values (%s, %s, %s, %s, %s, %s) on conflict on constraint uniq_barrier do nothing",
        (trans_type, gid, branch_id, op, barrier_id, reason or op)).rowcount == 1


def insert_old(conn, gid, count=1, age="40 days", branch_id="01"):
    """Rows of a transaction of long ago."""
    conn.execute(
        "insert into dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time)"
        " select 'saga', %s, %s, 'action', to_char(n, 'FM000000'), 'action', now() - %s::interval"
        " from generate_series(1, %s) n order by n", (gid, branch_id, age, count))


def rows(conn):
    return conn.execute("select * from dtm_barrier.barrier order by id").fetchall()


def rows_of(conn, gid):
    return conn.execute("select count(*) from dtm_barrier.barrier where gid = %s", (gid,)).fetchone()[0]


def describe(conn):
    """All that CREATE EXTENSION could change in the table."""
    return conn.execute("""
        select c.relkind, c.relowner::regrole::text, c.relacl::text,
               array(select concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                                      pg_get_expr(adbin, adrelid))
                       from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
                      where attrelid = c.oid and attnum > 0 order by attnum),
               array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = c.oid order by indexrelid),
               array(select pg_get_constraintdef(oid) from pg_constraint where conrelid = c.oid order by oid),
               array(select pg_get_triggerdef(oid) from pg_trigger where tgrelid = c.oid order by oid)
          from pg_class c where c.oid = 'dtm_barrier.barrier'::regclass""").fetchone()


def table_exists(conn):
    return conn.execute("select to_regclass('dtm_barrier.barrier') is not null").fetchone()[0]


def passes(conn, trans_type="saga", gid="g", branch_id="01", op="action", role=None):
    """The verdict, in a transaction of its own that commits."""
    with conn.transaction():
        if role:
            conn.execute(f"set local role {role}")
        return conn.execute("select dtm_barrier_verdict(%s, %s, %s, %s)",
                            (trans_type, gid, branch_id, op)).fetchone()[0]


def create_extension(conn, sql="create extension dtm_pg"):
    """Returns the notices."""
    notices = []

    def note(diagnostic):
        notices.append(diagnostic.message_primary)
    conn.add_notice_handler(note)
    try:
        conn.execute(sql)
    finally:
        conn.remove_notice_handler(note)
    return notices


def error_of(call, *args, **kwargs):
    """The error that it must raise."""
    try:
        got = call(*args, **kwargs)
    except psycopg.Error as error:
        return error
    raise AssertionError(f"no error, but {got!r}")


def make_roles(cluster):
    """svc owns tables, app calls the functions, nobody has no right at all."""
    for role in ("svc", "app", "nobody"):
        cluster.sql(f"create role {role} login", dbname="postgres")
    return cluster


@contextmanager
def databases(cluster):
    """A function that makes databases and returns their names; they go with the test."""
    made = []

    def make(extension=False):
        made.append(f"db{next(numbers)}_{uuid.uuid4().hex[:6]}")
        cluster.sql(f"create database {made[-1]}", dbname="postgres")
        if extension:
            with_extension(cluster, made[-1])
        return made[-1]
    yield make
    cluster.expect("due to administrator command")
    for name in made:
        cluster.sql(f"drop database if exists {name} with (force)", dbname="postgres")


# Fixtures for files that import them: a cluster with those roles, and databases in it.

@pytest.fixture(scope="module")
def house(module_cluster):
    return make_roles(module_cluster)


@pytest.fixture
def new_database(house):
    with databases(house) as make:
        yield make
