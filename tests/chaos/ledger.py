"""What a bank does with a call: the same business behind every kind of barrier.

Each kind is a function (conn, call, order) -> word of what the barrier said; order is (account, amount, refuse).
Raises Refused when the business says no; then nothing of the call is left. 'none' has no barrier: with it the
chaos run must find double effects (tests/chaos/run --unguarded).
"""
import queue
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import participant  # noqa: E402

ACCOUNTS, START = 10, 100_000  # of every bank, see bank.sql
POOL = 12
MOVE = "select move($1, $2, $3, $4, $5, $6)"
ISOLATION = (psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ,
             psycopg.IsolationLevel.SERIALIZABLE)


class Refused(Exception):
    """For good: the coordinator rolls the saga back."""


@dataclass(frozen=True)
class Call:
    trans_type: str
    gid: str
    branch_id: str
    op: str
    query: str   # as it came
    draw: float  # 0..1, the same for every delivery of this call: which variant of the kind to use

    @property
    def barrier(self):
        return self.trans_type, self.gid, self.branch_id, self.op

    @property
    def branch(self):
        return self.gid, self.branch_id, self.op


def word(ran):
    return "run" if ran else "skipped"


def by_call(conn, call, order):
    """dtm_barrier_call: one statement, one transaction."""
    conn.autocommit = True
    sql = f"select dtm_barrier_call(%s, %s, %s, %s, '{MOVE}', %s::text, %s::text, %s::text, %s::text, %s, %s)"
    return word(conn.execute(sql, (*call.barrier, *call.branch, *order)).fetchone()[0])


def by_barrier(conn, call, order):
    """dtm_barrier in a transaction of any isolation level."""
    conn.isolation_level = ISOLATION[int(call.draw * 7) % 3]
    with conn.transaction():
        function = "dtm_barrier_verdict" if call.draw < 0.7 else "dtm_barrier"
        said = conn.execute(f"select {function}(%s, %s, %s, %s)", call.barrier).fetchone()[0]
        if said in ("run", True):
            conn.execute("select move(%s, %s, %s, %s, %s, %s)", (*call.branch, *order))
    return said if isinstance(said, str) else word(said)


def by_branch(conn, call, order):
    """An old program that knows nothing of barriers: its tables are protected."""
    account, amount, refuse = order
    with conn.transaction():
        conn.execute("select dtm_branch(%s)", (call.query,))
        found = conn.execute("update account set balance = balance + %s where name = %s", (amount, account))
        conn.execute("insert into effect(gid, branch_id, op, amount) values (%s, %s, %s, %s)", (*call.branch, amount))
        if refuse:
            raise Refused
    return word(found.rowcount == 1)


def by_script(conn, call, order):
    """The barrier in PL/pgSQL, in both ways."""
    if call.draw < 0.5:
        return by_barrier(conn, call, order)
    conn.autocommit = True
    sql = f"select dtm_barrier_call(%s, %s, %s, %s, '{MOVE}', variadic %s::text[])"
    args = [str(v) for v in (*call.branch, *order)]
    return word(conn.execute(sql, (*call.barrier, args)).fetchone()[0])


def by_nothing(conn, call, order):
    conn.autocommit = True
    conn.execute("select move(%s, %s, %s, %s, %s, %s)", (*call.branch, *order))
    return "run"


KINDS = {"call": by_call, "barrier": by_barrier, "branch": by_branch, "script": by_script, "none": by_nothing}


class Postgres:
    """Accounts in a database; any number of threads, few connections."""

    def __init__(self, kind, dsn):
        self.way, self.dsn = KINDS[kind], dsn
        self.free = queue.LifoQueue()
        for _ in range(POOL):
            self.free.put(None)

    @contextmanager
    def connection(self):
        conn = self.free.get()
        try:
            if conn is None:
                conn = psycopg.connect(self.dsn, connect_timeout=3)
            yield conn
        finally:
            if conn is not None:
                try:
                    conn.rollback()
                    conn.autocommit, conn.isolation_level = False, None
                except psycopg.Error:
                    conn.close()
            self.free.put(None if conn is None or conn.closed else conn)

    def do(self, call, order):
        with self.connection() as conn:
            try:
                return self.way(conn, call, order)
            except psycopg.Error as error:
                if error.sqlstate != "TDF00":
                    raise
                if "refused" in str(error):
                    raise Refused from None
                return "hanging"  # strict mode says so with the same SQLSTATE

    def committed(self, call):
        """Whether the local transaction of a message is; if not, it never will be."""
        with self.connection() as conn:
            conn.autocommit = True
            if conn.execute("select dtm_barrier_query_prepared(%s, %s)", (call.trans_type, call.gid)).fetchone()[0]:
                return "committed"
            raise Refused


class Sqlite(participant.Ledger):
    """The ledger of the end-to-end tests, whose barrier is a page of Python; one per thread."""

    def move(self, call, order):
        account, amount, refuse = order
        self.db.execute("begin immediate")
        try:
            verdict = self.barrier(*call.branch)
            if verdict == "run":
                self.db.execute("update account set balance = balance + ? where name = ?", (amount, account))
                self.db.execute("insert into effect(gid, branch_id, op, verdict) values(?, ?, ?, ?)",
                                (*call.branch, verdict))
                if refuse:
                    raise Refused
        except BaseException:
            self.db.execute("rollback")
            raise
        self.db.execute("commit")
        return verdict


class File:
    def __init__(self, path):
        self.path, self.local = path, threading.local()

    def do(self, call, order):
        if not hasattr(self.local, "ledger"):
            self.local.ledger = Sqlite(self.path)
        return self.local.ledger.move(call, order)
