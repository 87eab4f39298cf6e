"""The barrier in two-phase commit and in sessions that are used again: its rows are those of the prepared
transaction, and nothing but rows is left of a transaction that has ended (P3)."""
import threading

import pytest

from barrier_table import error_of, rows_of
from cluster import wait_until

CALL = "'saga', '{}', '01', '{}'"


@pytest.fixture
def account(db):
    """A protected table with one row."""
    db.q("create table account (id int primary key, n int)")
    db.q("insert into account values (1, 0)")
    db.q("select dtm_protect('account', true)")
    yield "account"
    db.q("drop table account")


@pytest.fixture
def prepared(shared_cluster):
    """Names of prepared transactions; those that are left are rolled back."""
    names = []

    def name():
        names.append(f"barrier{len(names)}")
        return names[-1]
    yield name
    for left, in shared_cluster.sql("select gid from pg_prepared_xacts where gid = any(%s)", names):
        shared_cluster.sql(f"rollback prepared '{left}'")


def passed(db, gid, op="action"):
    return db.one(f"select dtm_barrier({CALL.format(gid, op)})")


def barrier_ids(db, gid):
    return [b for b, in db.q("select barrier_id from dtm_barrier.barrier where gid = %s order by id", gid)]


class Contender:
    """Passes the same barrier in another session, which waits."""

    def __init__(self, db, sql):
        self.db, self.sql, self.answer = db, sql, None
        self.pid = db.one("select pg_backend_pid()")
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        with self.db.conn.transaction():
            self.answer = self.db.one(self.sql)

    def wait_for_it(self, look):
        self.thread.start()
        wait_until(lambda: look.one("select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", self.pid),
                   "the duplicate waits")
        assert self.answer is None
        return self

    def result(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), "the duplicate still waits"
        return self.answer


@pytest.mark.parametrize("end, verdict", [("commit", "duplicate"), ("rollback", "run")])
def test_a_duplicate_waits_for_the_prepared_transaction(db, shared_cluster, session, prepared, end, verdict):
    gid, name = db.new_gid(), prepared()
    db.q("begin")
    assert passed(db, gid)
    db.q(f"prepare transaction '{name}'")
    assert rows_of(db.conn, gid) == 0
    contender = Contender(session(shared_cluster), f"select dtm_barrier_verdict({CALL.format(gid, 'action')})")
    contender.wait_for_it(db)
    db.q(f"{end} prepared '{name}'")
    assert contender.result() == verdict
    assert rows_of(db.conn, gid) == 1


def test_an_undo_waits_for_the_prepared_action(db, shared_cluster, session, prepared):
    gid, name = db.new_gid(), prepared()
    db.q("begin")
    assert passed(db, gid)
    db.q(f"prepare transaction '{name}'")
    contender = Contender(session(shared_cluster), f"select dtm_barrier_verdict({CALL.format(gid, 'compensate')})")
    contender.wait_for_it(db)
    db.q(f"commit prepared '{name}'")
    assert contender.result() == "run"


@pytest.mark.parametrize("end, committed", [("commit", True), ("rollback", False)])
def test_query_prepared_waits_for_the_prepared_local_transaction(db, shared_cluster, session, prepared, end, committed):
    gid, name = db.new_gid("msg"), prepared()
    db.q("begin")
    assert db.one("select dtm_barrier('msg', %s, '00', 'msg')", gid)
    db.q(f"prepare transaction '{name}'")
    contender = Contender(session(shared_cluster), f"select dtm_barrier_query_prepared('msg', '{gid}')")
    contender.wait_for_it(db)
    db.q(f"{end} prepared '{name}'")
    assert contender.result() is committed
    late = error_of(db.q, "begin; select dtm_barrier('msg', '" + gid + "', '00', 'msg')")
    db.q("rollback")
    assert late.sqlstate == ("TD002" if committed else "TDF00")


def test_after_rollback_prepared_the_branch_runs_again(db, prepared, account):
    gid, name = db.new_gid(), prepared()
    for attempt in range(2):
        db.q("begin")
        db.q("select dtm_branch('saga', %s, '01', 'action')", gid)
        db.q("update account set n = n + 1")
        db.q(f"prepare transaction '{name}'")
        db.q(f"{'commit' if attempt else 'rollback'} prepared '{name}'")
        assert db.one("select n from account") == attempt
        assert barrier_ids(db, gid) == ["01"] * attempt
    db.q("begin")
    db.q("select dtm_branch('saga', %s, '01', 'action')", gid)
    db.q("update account set n = n + 1")
    db.q(f"prepare transaction '{name}'")
    db.q(f"commit prepared '{name}'")
    assert db.one("select n from account") == 1, "a duplicate, prepared, writes nothing"


ENDS = ["commit", "rollback", "prepare transaction 'barrier0'"]


@pytest.mark.parametrize("end", ENDS, ids=["commit", "rollback", "prepare"])
def test_the_next_transaction_of_the_session_has_no_branch(db, prepared, account, end):
    """A pooled session hands neither branch nor decision nor counter to its next user."""
    gid, other = db.new_gid(), db.new_gid()
    prepared()
    db.q("begin")
    assert passed(db, gid)
    db.q("select dtm_branch('saga', %s, '02', 'action')", gid)
    db.q("insert into account values (2, 2)")
    assert passed(db, other)
    db.q(end)

    assert error_of(db.q, "update account set n = n + 1").sqlstate == "TD006"
    db.q("begin")
    assert error_of(db.q, "delete from account where id = 1").sqlstate == "TD006"
    db.q("rollback")
    if end.startswith("prepare"):
        assert rows_of(db.conn, gid) == 0
        db.q("commit prepared 'barrier0'")
    assert (db.one("select count(*) from account where id = 2"), rows_of(db.conn, gid)) == (
        (0, 0) if end == "rollback" else (1, 2))
    db.q("begin")
    third = db.new_gid()
    assert passed(db, third)
    assert passed(db, gid) is (end == "rollback"), "counted from 01 again"
    db.q("commit")
    assert barrier_ids(db, third) == ["01"]


def test_decisions_of_the_transaction_before_are_forgotten(db, prepared, account):
    """The same branch twice in one session: what ran is a duplicate now, what was prepared and rolled back runs."""
    gid, name = db.new_gid(), prepared()

    def write(end):
        db.q("begin")
        db.q("select dtm_branch('saga', %s, '01', 'action')", gid)
        count = len(db.q("update account set n = n + 1 where id = 1 returning n"))
        db.q(end)
        return count
    assert write(f"prepare transaction '{name}'") == 1
    db.q(f"rollback prepared '{name}'")
    assert write("rollback") == 1
    assert write("commit") == 1
    assert write("commit") == 0
    assert write(f"prepare transaction '{name}'") == 0
    db.q(f"commit prepared '{name}'")
    assert db.one("select n from account") == 1


def test_savepoints_take_their_counts_back_and_prepare_the_rest(db, prepared):
    gid, name = db.new_gid(), prepared()
    for end, rows in (("rollback", []), ("commit", ["01", "02", "03"])):
        db.q("begin")
        assert passed(db, gid)
        db.q("savepoint a")
        assert passed(db, gid)
        db.q("rollback to a")
        assert passed(db, gid)
        db.q("release a")
        assert passed(db, gid)
        db.q(f"prepare transaction '{name}'")
        db.q("begin")  # counts here have nothing to do with those that are prepared
        other = db.new_gid()
        assert passed(db, other) and passed(db, other)
        db.q("commit")
        assert barrier_ids(db, other) == ["01", "02"]
        db.q(f"{end} prepared '{name}'")
        assert barrier_ids(db, gid) == rows


def test_a_call_is_prepared_with_its_sql(db, prepared, account):
    gid, name = db.new_gid(), prepared()
    for end, n, ran in (("rollback", 0, True), ("commit", 1, True), ("commit", 1, False)):
        db.q("begin")
        assert db.one("select dtm_barrier_call('saga', %s, '01', 'action', 'update account set n = n + 1')", gid) is ran
        db.q(f"prepare transaction '{name}'")
        db.q(f"{end} prepared '{name}'")
        assert db.one("select n from account") == n
