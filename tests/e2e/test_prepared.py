"""What is prepared, from SQL: two-phase transactions and their branches, messages, sagas (dtm-compat 5.4-5.8)."""
import json
import threading

import pytest

from cluster import wait_until
from dtm import AFTER_A_STALL

LONG = 1000


def prepare(db, kind, **body):
    gid = db.new_gid(kind)
    db.q("select dtm_prepare(%s::jsonb)", json.dumps({"gid": gid, "trans_type": kind, **body}))
    return gid


def register(db, gid, kind, branch_id, url, **more):
    urls = {"url": url} if kind == "xa" else {"confirm": url, "cancel": url}
    body = {"gid": gid, "trans_type": kind, "branch_id": branch_id, "data": '{"n": 1}', **urls, **more}
    return db.one("select dtm_register_branch(%s::jsonb)", json.dumps(body))


def submit(db, gid, kind, **body):
    db.q("select dtm_submit(%s::jsonb)", json.dumps({"gid": gid, "trans_type": kind, **body}))


def two_phase(db, kind, url, count=2, **body):
    gid = prepare(db, kind, **body)
    for n in range(1, count + 1):
        register(db, gid, kind, f"{n:02}", url)
    return gid


@pytest.fixture
def other(shared_cluster, session):
    """A second session, in a transaction."""
    return session(shared_cluster, autocommit=False)


class Later(threading.Thread):
    """A statement that has to wait for somebody's lock."""
    def __init__(self, db, sql, *params):
        super().__init__()
        self.db, self.sql, self.params, self.error = db, sql, params, None
        self.pid = db.conn.info.backend_pid
        self.start()

    def run(self):
        try:
            self.db.q(self.sql, *self.params)
        except Exception as error:
            self.error = error

    def waits(self, observer):
        wait_until(lambda: observer.one("select exists (select from pg_locks where pid = %s and not granted)",
                                        self.pid), "it waits for a lock")


# --- two-phase transactions -------------------------------------------------------------------------

def test_tcc_confirms_from_the_last_to_the_first(db, one):
    gid = two_phase(db, "tcc", one.url("ok/a"), 3)
    submit(db, gid, "tcc")
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["03 confirm", "02 confirm", "01 confirm"]
    assert {c.body for c in one.calls(gid=gid)} == {b'{"n": 1}'}
    assert db.one("select progress is null from dtm.trans where gid = %s", gid), "it went well at once"
    assert db.one("select sum(attempts) from dtm.branch where gid = %s", gid) == 3


def test_tcc_cancels_from_the_last_to_the_first(db, one):
    gid = two_phase(db, "tcc", one.url("ok/a"), 3)
    db.q("select dtm_abort(%s, 'no money')", gid)
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["03 cancel", "02 cancel", "01 cancel"]
    assert db.row(gid)["rollback_reason"] == "no money"


@pytest.mark.parametrize("kind", ["tcc", "xa"])
def test_what_is_looked_at_too_early_takes_more_branches(db, one, kind):
    """Its row said that it is due, and its timeout was not over: it was raised meanwhile, say."""
    gid = two_phase(db, kind, one.url("ok/a"), 1, timeout_to_fail=LONG)
    db.q("update dtm.trans set next_cron_time = now() - interval '1 minute' where gid = %s", gid)
    wait_until(lambda: db.one("select next_cron_time > clock_timestamp() from dtm.trans where gid = %s", gid),
               "the row says when it is due")
    assert db.one("select progress is null from dtm.trans where gid = %s", gid), "nobody was called"
    register(db, gid, kind, "02", one.url("ok/a"))
    submit(db, gid, kind)
    db.wait(gid, "succeed")
    assert {(c.branch_id, c.op) for c in one.calls(gid=gid)} == {
        (branch, "confirm" if kind == "tcc" else "commit") for branch in ("01", "02")}


@pytest.mark.parametrize("end, op", [("submit", "commit"), ("abort", "rollback")])
def test_xa_goes_in_the_order_of_registration(db, one, end, op):
    gid = two_phase(db, "xa", one.url("ok/a"), 3)
    if end == "submit":
        submit(db, gid, "xa")
    else:
        db.q("select dtm_abort(%s)", gid)
    db.wait(gid, "succeed" if end == "submit" else "failed")
    assert one.sequence(gid) == [f"01 {op}", f"02 {op}", f"03 {op}"]


def test_what_fails_is_repeated_where_it_stopped(db, one):
    """FAILURE of a confirmation is an error like any other: the decision stands."""
    gid = two_phase(db, "tcc", one.url("fail/a", n=1), 2)
    submit(db, gid, "tcc")
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["02 confirm", "02 confirm", "01 confirm", "01 confirm"]


def test_an_abort_again_hurries(db, one):
    name = db.new_gid("name")
    gid = two_phase(db, "tcc", one.url(f"error/{name}"), 1, retry_interval=LONG)
    db.q("select dtm_abort(%s)", gid)
    db.wait_attempts(gid, 1, op="cancel")
    one.set_mode(name, "ok")
    db.q("select dtm_abort(%s)", gid)
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 cancel"] * 2


def test_nothing_is_called_before_the_decision(db, one):
    gid = two_phase(db, "tcc", one.url("ok/a"))
    db.passed_by(one)
    assert one.sequence(gid) == [] and db.status(gid) == "prepared"


# --- registering beside others ----------------------------------------------------------------------

@pytest.mark.parametrize("sql, status, op", [
    ("select dtm_submit(jsonb_build_object('gid', %s::text, 'trans_type', 'tcc'))", "succeed", "confirm"),
    ("select dtm_abort(%s)", "failed", "cancel")])
def test_a_decision_waits_for_who_registers(db, session, shared_cluster, other, one, sql, status, op):
    gid = two_phase(db, "tcc", one.url("ok/a"), 1)
    register(other, gid, "tcc", "02", one.url("ok/b"))
    decision = Later(session(shared_cluster), sql, gid)
    decision.waits(db)
    assert db.status(gid) == "prepared"
    other.conn.commit()
    decision.join()
    assert decision.error is None
    db.wait(gid, status)
    assert one.sequence(gid) == [f"02 {op}", f"01 {op}"]


def test_who_registers_waits_for_the_decision(db, session, shared_cluster, other, one):
    gid = two_phase(db, "tcc", one.url("ok/a"), 1)
    submit(other, gid, "tcc")
    late = Later(session(shared_cluster), "select dtm_register_branch(%s::jsonb)",
                 json.dumps({"gid": gid, "trans_type": "tcc", "branch_id": "02"}))
    late.waits(db)
    other.conn.commit()
    late.join()
    assert late.error.sqlstate == "TD003"
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 confirm"]


def test_a_registration_that_is_rolled_back_is_none(db, other, one):
    gid = two_phase(db, "tcc", one.url("ok/a"), 1)
    register(other, gid, "tcc", "02", one.url("ok/b"))
    other.conn.rollback()
    submit(db, gid, "tcc")
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 confirm"]


def test_two_who_register(db, other, one):
    """They do not wait for each other."""
    gid = prepare(db, "tcc")
    register(other, gid, "tcc", "01", one.url("ok/a"))
    register(db, gid, "tcc", "02", one.url("ok/b"))
    other.conn.commit()
    submit(db, gid, "tcc")
    db.wait(gid, "succeed")
    assert one.effects(gid) == ["01 confirm", "02 confirm"]


def test_time_is_over_while_somebody_registers(db, other, one):
    """The coordinator gives way, and then undoes what it did not know of when it decided."""
    gid = two_phase(db, "tcc", one.url("ok/a"), 1, timeout_to_fail=AFTER_A_STALL)
    register(other, gid, "tcc", "02", one.url("ok/b"))
    db.until_over(gid)
    db.passed_by(one)
    db.passed_by(one)
    assert db.status(gid) == "prepared" and one.sequence(gid) == []
    other.conn.commit()
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["02 cancel", "01 cancel"]
    assert db.row(gid)["rollback_reason"] == f"Timeout after {AFTER_A_STALL} seconds"


def test_a_coordinator_that_dies_undoes_all_the_same(own_cluster, session, one):
    db, name = session(own_cluster), "dies"
    gid = two_phase(db, "xa", one.url(f"hold/{name}"), 2, request_timeout=60)
    db.q("select dtm_abort(%s)", gid)
    one.wait_calls(1, gid=gid)
    own_cluster.expect("due to administrator command")
    db.q("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'dtm coordinator'")
    one.wait_calls(2, gid=gid)
    one.release(name)
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 rollback", "01 rollback", "02 rollback"]


# --- messages and sagas -----------------------------------------------------------------------------

def message(db, one, **body):
    return prepare(db, "msg", steps=[{"action": one.url("ok/a")}], payloads=["{}"], **body)


def test_a_submit_that_is_rolled_back_leaves_it_to_the_question(db, other, one):
    gid = message(db, one, query_prepared=one.url("fail/q"), timeout_to_fail=AFTER_A_STALL)
    submit(other, gid, "msg")
    other.conn.rollback()
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["00 msg"]


def test_a_message_is_sent_when_the_submit_commits(db, other, one):
    gid = message(db, one, query_prepared=one.url("fail/q"))
    submit(other, gid, "msg", branch_headers={"X-Tenant": "blue"})
    db.passed_by(one)
    assert one.sequence(gid) == [] and db.status(gid) == "prepared"
    other.conn.commit()
    db.wait(gid, "succeed")
    assert [c.header("X-Tenant") for c in one.calls(gid=gid)] == [["blue"]]


def test_a_submit_in_a_prepared_transaction(db, other, one):
    """No callback runs there: the sweep finds it."""
    gid = message(db, one)
    submit(other, gid, "msg")
    name = db.new_gid("prepared")
    other.q(f"prepare transaction '{name}'")
    db.passed_by(one)
    assert one.sequence(gid) == []
    db.q(f"commit prepared '{name}'")
    db.wait(gid, "succeed")


def test_a_prepared_saga_undoes_what_ran_and_nothing_else(db, one):
    """It says so itself, where a saga that nobody knows of would undo every step."""
    steps = [{"action": one.url("fail/a"), "compensate": one.url("ok/u")},
             {"action": one.url("ok/b"), "compensate": one.url("ok/u")}]
    gid = prepare(db, "saga", steps=steps, payloads=["1", "2"])
    db.passed_by(one)
    assert one.sequence(gid) == []
    submit(db, gid, "saga")
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 action", "01 compensate"]


def test_a_workflow_is_called_back_until_its_client_has_ended_it(db, one):
    gid = prepare(db, "workflow", query_prepared=one.url("ok/w"), retry_interval=1,
                  custom_data=json.dumps({"name": "transfer", "data": "eyJhIjoxfQ=="}))
    one.wait_calls(1, gid=gid)
    [call] = one.calls(gid=gid)[:1]
    assert (call.branch_id, call.op, call.body) == ("00", "transfer", b'{"a":1}')
    submit(db, gid, "workflow", req_extra={"status": "succeed", "result": "b2s="})
    assert db.wait(gid) == "succeed" and db.row(gid)["result"] == "b2s="
    db.passed_by(one)
    calls = len(one.calls(gid=gid))
    db.passed_by(one)
    assert len(one.calls(gid=gid)) == calls
