"""dtm_import: what a dtm server has left unfinished goes on here, and exactly what is open is called."""
import threading
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.types.json import Json

from barrier_table import error_of, house, new_database  # noqa: F401
from cluster import wait_until
from dtm_tables import Branch, Old


@pytest.fixture
def old(db):
    """dtm's tables, empty."""
    made = Old(db).create()
    yield made
    db.conn.rollback()
    db.conn.autocommit = True
    db.q("drop schema old cascade")


def saga_step(service, states, name="step", **more):
    return Branch((service.url(f"ok/{name}"), service.url(f"ok/{name}")), states, **more)


def take(db):
    """What was taken and what was left."""
    rows = db.q("select outcome, trans_type, status, number, name from dtm_import('old')")
    return {(t, s): n for o, t, s, n, _ in rows if o == "taken"}, [name for o, *_, name in rows if o == "left"]


def test_exactly_the_open_steps_of_a_saga_are_called(db, old, one):
    forward = old.put("saga", "submitted", *[saga_step(one, s) for s in ("ps", "pp", "pp")])
    refused = old.put("saga", "submitted", *[saga_step(one, s) for s in ("ps", "pf", "pp")])
    backward = old.put("saga", "aborting", *[saga_step(one, s) for s in ("ps", "sf", "pp")], reason="no seat")
    unsure = old.put("saga", "aborting", *[saga_step(one, s) for s in ("ps", "pp", "pp")], reason="Timeout")
    side_by_side = old.put("saga", "aborting", *[saga_step(one, s) for s in ("ps", "pf", "pp")],
                           custom_data='{"concurrent":true,"orders":{"1":[0],"2":[0]}}', reason="full")
    assert take(db) == ({("saga", "submitted"): 2, ("saga", "aborting"): 3}, [])
    assert old.left() == []
    for gid, end, calls in (
            (forward, "succeed", ["02 action", "03 action"]),
            (refused, "failed", ["02 compensate", "01 compensate"]),
            (backward, "failed", ["01 compensate"]),
            (unsure, "failed", ["02 compensate", "01 compensate"])):
        db.wait(gid, end)
        assert one.sequence(gid) == calls, gid
    db.wait(side_by_side, "failed")
    called = one.sequence(side_by_side)
    assert sorted(called[:2]) == ["02 compensate", "03 compensate"] and called[2:] == ["01 compensate"]
    assert db.row(backward)["rollback_reason"] == "no seat"
    assert db.row(refused)["rollback_reason"] == "fail message lost"


def test_the_bytes_of_a_branch_stay_as_they_are(db, old, one):
    body = '{"ä": "\\u00e4\n"}'.encode()
    gid = old.put("saga", "submitted", saga_step(one, "pp", body=body), saga_step(one, "pp", body=b""),
                  options={"branch_headers": {"X-Tenant": "7"}})
    take(db)
    db.wait(gid, "succeed")
    first, second = one.calls(gid=gid)
    assert (first.method, first.body) == ("POST", body)
    assert (second.method, second.body) == ("GET", b"")
    assert first.header("x-tenant") == ["7"]
    assert "branch_id=01" in first.target and "op=action" in first.target and "trans_type=saga" in first.target


def test_messages(db, old, one, two):
    sent = old.put("msg", "submitted", Branch((one.url("ok/a"),), "s"), Branch((one.url("ok/b"),), "p"),
                   Branch((one.url("ok/c"),), "p"))
    topic = old.put("msg", "submitted", Branch((one.url("ok/a"),), "p", branch_id="01-01"),
                    Branch((two.url("ok/a"),), "s", branch_id="01-02"),
                    Branch((one.url("ok/b"),), "p", branch_id="02"))
    asked = old.put("msg", "prepared", Branch((one.url("ok/a"),), "p"), query=one.url("ok/query"))
    lost = old.put("msg", "prepared", Branch((one.url("ok/a"),), "p"), query=one.url("fail/query"))
    # What dtm visits next may be younger than its timeout: a visit that does nothing.
    young = old.put("msg", "prepared", Branch((one.url("ok/a"),), "p"), query=one.url("fail/query"), age="0 s",
                    options={"timeout_to_fail": 1000}, next_time="1 second")
    assert take(db) == ({("msg", "submitted"): 2, ("msg", "prepared"): 3}, [])
    db.wait(sent, "succeed")
    assert one.sequence(sent) == ["02 action", "03 action"]
    db.wait(topic, "succeed")
    assert (one.sequence(topic), two.sequence(topic)) == (["01-01 action", "02 action"], [])
    db.wait(asked, "succeed")
    assert one.sequence(asked) == ["00 msg", "01 action"]
    db.wait(lost, "failed")
    assert one.sequence(lost) == ["00 msg"]
    wait_until(lambda: db.one("select now() > create_time + '3 s'::interval from dtm.trans where gid = %s", young),
               "its visit is over")
    assert (db.status(young), one.sequence(young)) == ("prepared", [])


def two_phase(service, states, **more):
    return Branch((service.url("ok/second"), service.url("ok/second")), states, **more)


def test_tcc_and_xa(db, old, one):
    confirmed = old.put("tcc", "submitted", *[two_phase(one, s) for s in ("pp", "pp", "ps")])
    cancelled = old.put("tcc", "aborting", *[two_phase(one, s) for s in ("pp", "sp", "pp")], reason="no seat")
    silent = old.put("tcc", "prepared", two_phase(one, "pp", body=b"\xff\x00"), two_phase(one, "pp", branch_id="0101"))
    committed = old.put("xa", "submitted", *[two_phase(one, s, body=b"") for s in ("ps", "pp", "pp")])
    rolled_back = old.put("xa", "aborting", *[two_phase(one, s, body=b"") for s in ("sp", "pp")])
    assert take(db)[1] == []
    for gid, end, calls in (
            (confirmed, "succeed", ["02 confirm", "01 confirm"]),
            (cancelled, "failed", ["03 cancel", "01 cancel"]),
            (silent, "failed", ["0101 cancel", "01 cancel"]),
            (committed, "succeed", ["02 commit", "03 commit"]),
            (rolled_back, "failed", ["02 rollback"])):
        db.wait(gid, end)
        assert one.sequence(gid) == calls, gid
    assert one.calls(gid=silent, branch_id="01")[0].body == b"\xff\x00"
    assert {c.method for c in one.calls(gid=committed)} == {"POST"}


def test_a_prepared_tcc_goes_on_with_its_client(db, old, one):
    gid = old.put("tcc", "prepared", two_phase(one, "pp"), age="0 s", options={"timeout_to_fail": 1000})
    assert take(db) == ({("tcc", "prepared"): 1}, [])
    more = {"gid": gid, "trans_type": "tcc", "branch_id": "02", "confirm": one.url("ok/second"),
            "cancel": one.url("ok/second"), "data": "{}"}
    assert db.one("select dtm_register_branch(%s::jsonb)", Json(more))
    db.submit_request({"gid": gid, "trans_type": "tcc"})
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["02 confirm", "01 confirm"]


def test_a_prepared_saga_stays_so_until_it_is_submitted(db, old, one):
    gid = old.put("saga", "prepared", saga_step(one, "pp"), saga_step(one, "pp"))
    take(db)
    db.passed_by(one)
    assert (db.status(gid), one.sequence(gid)) == ("prepared", [])
    db.submit_request({"gid": gid, "trans_type": "saga", "payloads": ['{"n": 1}'] * 2,
                       "steps": [{"action": one.url("ok/step"), "compensate": one.url("ok/step")}] * 2})
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


def test_a_workflow_is_woken_up(db, old, one):
    gid = old.put("workflow", "prepared", query=one.url("ok/flow"),
                  custom_data='{"name":"order","data":"aW5wdXQ="}')
    db.q("insert into old.trans_branch_op (gid, url, bin_data, branch_id, op, status) values"
         " (%s, '', 'r1', '01', 'action', 'succeed'), (%s, '', 'r2', '02', 'action', 'failed')", gid, gid)
    take(db)
    call = one.wait_calls(1, gid=gid)[0]
    assert (call.method, call.branch_id, call.op, call.body) == ("POST", "00", "order", b"input")
    rows = db.q("select branch_id, op, status from dtm.branch where gid = %s and branch_id <> '00' order by 1", gid)
    assert rows == [("01", "action", "succeed"), ("02", "action", "failed")]


def test_what_waits_for_a_retry_goes_on_waiting(db, old, one):
    gid = old.put("saga", "submitted", saga_step(one, "ps"), saga_step(one, "pp"), next_time="1 hour")
    take(db)
    db.passed_by(one)
    assert one.sequence(gid) == []
    assert db.until_next(gid, "02") > 3000
    assert "02 action is not due yet; next call in" in db.explain(gid)
    assert db.one("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["02 action"]


def test_a_saga_that_times_out_undoes_what_may_have_run(db, old, one):
    gid = old.put("saga", "submitted", *[saga_step(one, s) for s in ("ps", "pp", "pp")], next_time="1 hour",
                  options={"timeout_to_fail": 60})
    take(db)
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["02 compensate", "01 compensate"]
    assert db.row(gid)["rollback_reason"] == "Timeout after 60 seconds"


def test_topics(db, old, one):
    topic = db.new_gid("topic")
    db.q("insert into old.kv (cat, k, v, version) values ('topics', %s, %s, 3)", topic,
         f'[{{"url":"{one.url("ok/t")}","remark":"r"}}]')
    assert take(db) == ({("topic", None): 1}, [])
    gid = db.msg((f"topic://{topic}", None, {}, None))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def test_a_rolled_back_import_changes_nothing(db, old, one):
    gid = old.put("saga", "submitted", saga_step(one, "pp"))
    db.conn.autocommit = False
    assert take(db) == ({("saga", "submitted"): 1}, [])
    db.conn.rollback()
    db.conn.autocommit = True
    db.passed_by(one)
    assert (one.sequence(gid), old.left(), db.status(gid)) == ([], [gid], None)
    assert take(db) == ({("saga", "submitted"): 1}, [])
    db.wait(gid, "succeed")


def test_many_are_taken_at_once(db, old, one):
    gids = [old.put("saga", "submitted", saga_step(one, "ps"), saga_step(one, "pp")) for _ in range(350)]
    assert take(db) == ({("saga", "submitted"): 350}, [])
    assert take(db) == ({}, [])
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert all(one.sequence(gid) == ["02 action"] for gid in gids)


def test_nothing_is_taken_while_dtm_writes(db, old, one, session, shared_cluster):
    gid = old.put("saga", "submitted", saga_step(one, "pp"))
    dtm = session(shared_cluster, autocommit=False)
    dtm.q("update old.trans_global set next_cron_time = now() where gid = %s", gid)
    db.q("set lock_timeout = '200 ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable, match="in use") as refused:
        take(db)
    assert "Stop every dtm server" in refused.value.diag.message_hint
    assert old.left() == [gid]
    # One that reads does no harm.
    dtm.conn.rollback()
    dtm.q("select * from old.trans_global")
    assert take(db) == ({("saga", "submitted"): 1}, [])
    dtm.conn.rollback()
    db.q("reset lock_timeout")
    db.wait(gid, "succeed")


@contextmanager
def meanwhile(session, sql):
    """Runs a statement while the block runs; its rows are in the list when the block is over."""
    rows = []
    thread = threading.Thread(target=lambda: rows.extend(session.q(sql)))
    thread.start()
    try:
        yield rows
    finally:
        thread.join()


def test_the_import_waits_for_the_end_of_a_statement(db, old, one, session, shared_cluster):
    """What dtm commits meanwhile is seen."""
    gid = old.put("saga", "submitted", saga_step(one, "pp"), saga_step(one, "pp"))
    dtm, mover = session(shared_cluster, autocommit=False), session(shared_cluster)
    dtm.q("update old.trans_branch_op set status = 'succeed' where gid = %s and branch_id = '01' and op = 'action'",
          gid)
    mover.q("set lock_timeout = '60 s'")
    with meanwhile(mover, "select count(*) from dtm_import('old')") as result:
        wait_until(lambda: db.one("select count(*) from pg_locks where not granted and relation = "
                                  "'old.trans_branch_op'::regclass"), "the import waits")
        dtm.conn.commit()
    assert result == [(1,)]
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["02 action"]


def test_transactions_from_before_the_installation_are_ours(own_cluster, session, one):
    """A coordinator takes old rows for those of a restored dump (P15); not what was imported."""
    db = session(own_cluster)
    marker = db.saga((one.url("ok/marker"), None, {}, None))
    db.wait(marker, "succeed")
    old = Old(db).create()
    gids = [old.put("saga", "submitted", saga_step(one, "pp"), age=age) for age in ("3 years", "1 hour")]
    take(db)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert db.q("select finding from dtm_check() where finding ~ 'calls nobody'") == []


def test_tables_in_a_schema_of_our_name(house, new_database, session, one):  # noqa: F811
    """dtm's own script makes schema dtm, where ours want to be: the error says how to move, and that works."""
    db = session(house, new_database())
    old = Old(db, "dtm").create()
    gid = old.put("saga", "submitted", saga_step(one, "ps"), saga_step(one, "pp"))
    error = error_of(db.q, "create extension dtm_pg")
    assert error.sqlstate == "42P06" and "tables of a dtm server" in error.diag.message_primary
    hint = error.diag.message_hint
    places = [hint.index(part) for part in ("Stop every dtm server", "ALTER SCHEMA dtm RENAME TO dtm_server",
                                            "CREATE EXTENSION dtm_pg", "SELECT * FROM dtm_import('dtm_server')")]
    assert places == sorted(places)
    db.q("alter schema dtm rename to dtm_server")
    db.q("create extension dtm_pg")
    assert db.one("select number from dtm_import('dtm_server') where outcome = 'taken'") == 1
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["02 action"]


def test_another_schema_of_our_name(house, new_database, session):  # noqa: F811
    db = session(house, new_database())
    db.q("create schema dtm")
    error = error_of(db.q, "create extension dtm_pg")
    assert error.sqlstate == "42P06" and "ALTER SCHEMA dtm RENAME TO" in error.diag.message_hint
    db.q("drop schema dtm")
    db.q("create extension dtm_pg")
