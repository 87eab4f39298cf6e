"""What people do to running transactions: wait, retry, stop, look."""
import threading
import uuid

import psycopg
import pytest

from barrier_table import error_of
from cluster import wait_until
from dtm import step


def wait_waiting(db, waiter):
    wait_until(lambda: db.one("select wait_event_type from pg_stat_activity where pid = %s",
                              waiter.conn.info.backend_pid) not in (None, "Client"), "the waiter waits")


def test_wait_wakes_when_the_transaction_ends(db, session, shared_cluster, one):
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{gate}"), None, {}), request_timeout=60)
    waiter, got = session(shared_cluster), []
    thread = threading.Thread(target=lambda: got.append(waiter.one("select dtm_wait(%s, '10 min')", gid)))
    thread.start()
    wait_waiting(db, waiter)
    # P7, as far as a statement can keep it: its own snapshot PostgreSQL holds until it ends.
    assert db.q("select backend_xid from pg_stat_activity where pid = %s",
                waiter.conn.info.backend_pid) == [(None,)]
    one.release(gate)
    thread.join(60)
    assert got == ["succeed"]


def test_wait_gives_null_when_the_time_is_over(db, one):
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=1000)
    assert db.one("select dtm_wait(%s, '100 ms')", gid) is None


def test_wait_of_a_finished_transaction_returns_at_once(db, one):
    gid = db.saga(step(one.url("fail/a"), None, {}))
    assert [db.wait(gid) for _ in range(3)] == ["failed"] * 3


def test_wait_in_the_submitting_transaction_is_refused(db, one):
    with pytest.raises(psycopg.Error) as error:
        with db.conn.transaction():
            gid = db.saga(step(one.url("ok/a"), None, {}))
            db.q("select dtm_wait(%s)", gid)
    assert "commit" in (error.value.diag.message_hint or "").lower()
    assert db.row(gid) is None


def test_wait_can_be_cancelled(db, session, shared_cluster, one):
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=1000)
    waiter = session(shared_cluster)
    waiter.q("set statement_timeout = '200 ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        waiter.q("select dtm_wait(%s, '10 min')", gid)


def test_wait_for_an_unknown_gid_is_an_error(db):
    with pytest.raises(psycopg.Error) as error:
        db.q("select dtm_wait('there-is-no-such-gid')")
    assert error.value.sqlstate == "TD004"


def test_many_waiters_for_many_transactions(db, session, shared_cluster, one):
    gate = db.new_gid("gate")
    waiters = [session(shared_cluster) for _ in range(12)]
    gids = [db.saga(step(one.url(f"hold/{gate}"), None, {}), request_timeout=60) for _ in waiters]
    got = {}
    threads = [threading.Thread(target=lambda w=w, g=g: got.update({g: w.one("select dtm_wait(%s, '1 min')", g)}))
               for w, g in zip(waiters, gids)]
    for t in threads:
        t.start()
    one.wait_calls(len(gids), name=gate)
    one.release(gate)
    for t in threads:
        t.join(90)
    assert got == {g: "succeed" for g in gids}


def waiting_beside_a_call(db, one):
    """A saga of which one branch waits for its retry while another is called, and the names of both."""
    name, gate = db.new_gid("name"), db.new_gid("gate")
    gid = db.saga(step(one.url(f"error/{name}"), None, {}), step(one.url(f"hold/{gate}"), None, {}),
                  concurrent=True, retry_interval=1000, request_timeout=1000)
    one.wait_calls(1, name=gate)
    db.wait_attempts(gid, 1)
    one.set_mode(name, "ok")
    return gid, name, gate


def test_retry_now_hurries_what_waits_beside_a_call_in_flight(db, one):
    gid, name, gate = waiting_beside_a_call(db, one)
    assert db.one("select dtm_retry_now(%s)", gid)
    one.wait_calls(2, name=name)
    wait_until(lambda: db.branch(gid)["next_time"] is None, "the row says so")
    assert not db.one("select dtm_retry_now(%s)", gid), "nothing waits any more"
    one.release(gate)
    db.wait(gid, "succeed")
    assert (len(one.calls(name=name)), len(one.calls(name=gate))) == (2, 1)
    assert db.q("select verb from dtm.event where gid = %s", gid) == [("retry_now",)]


def test_retry_now_keeps_the_attempts(db, one):
    gid = db.saga(step(one.url("error/a", n=1), None, {}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")
    assert db.branch(gid)["attempts"] == 2


def test_retry_all_takes_up_what_waits_and_passes_by_the_rest(own_cluster, session, one):
    db, other = session(own_cluster), session(own_cluster)
    gids = [db.saga(step(one.url("error/a", n=1), None, {}), retry_interval=1000) for _ in range(5)]
    for gid in gids:
        db.wait_attempts(gid, 1)
    *waiting, paused, locked = gids
    db.q("select dtm_pause(%s)", paused)
    ended = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(ended, "succeed")
    with other.conn.transaction():
        other.q("select from dtm.trans where gid = %s for update", locked)
        assert db.one("select dtm_retry_all()") == len(waiting)
        assert set(db.wait_all(waiting).values()) == {"succeed"}
        assert db.status(locked) == db.status(paused) == "submitted"
    assert db.one("select dtm_retry_all()") == 1
    db.wait(locked, "succeed")
    assert db.one("select dtm_retry_all()") == 0
    assert [len(one.calls(gid=gid)) for gid in gids] == [2, 2, 2, 1, 2]
    assert db.q("select gid, role, detail from dtm.event where verb = 'retry_all' order by time") == [
        ("", "postgres", "3 transactions"), ("", "postgres", "1 transaction")]


def test_retry_all_hurries_what_waits_beside_a_call_in_flight(own_cluster, session, one):
    db = session(own_cluster)
    sagas = [waiting_beside_a_call(db, one) for _ in range(3)]
    assert db.one("select dtm_retry_all()") == len(sagas)
    for _, name, _ in sagas:
        one.wait_calls(2, name=name)
    for gid, _, gate in sagas:
        one.release(gate)
        db.wait(gid, "succeed")
    assert [len(one.calls(name=n)) for saga in sagas for n in saga[1:]] == [2, 1] * len(sagas)
    assert db.q("select detail from dtm.event where verb = 'retry_all'") == [("3 transactions",)]


def test_retry_all_of_more_than_the_coordinator_is_told_of(own_cluster, session, one):
    """Rows are read a thousand at a time, and hints have an end; the sweep finds the others."""
    db = session(own_cluster)
    db.q("select dtm_pause(everything => true)")
    begun = db.one("select count(dtm_submit('msg', array[dtm_step(%s)], 'many-' || n)) from generate_series(1, 5000) n",
                   one.url("ok/many"))
    db.q("update dtm.trans set next_cron_time = clock_timestamp() + interval '1 hour', version = version + 1,"
         " progress = format('{\"b\":[{\"r\":1,\"a\":{\"n\":1,\"e\":1,\"t\":%s,\"l\":\"refused\"}}]}',"
         " (extract(epoch from clock_timestamp() + interval '1 hour') * 1000000)::int8) where gid ~ '^many-'")
    db.q("select dtm_resume(everything => true)")
    assert db.one("select dtm_retry_all()") == begun == 5000
    wait_until(lambda: db.one("select count(*) from dtm.trans where status = 'succeed'") == begun, "all have ended")


def test_retry_now_of_something_finished_or_unknown_is_refused(db, one):
    gid = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(gid, "succeed")
    for wrong, sqlstate in ((gid, "TD003"), ("there-is-no-such-gid", "TD004")):
        with pytest.raises(psycopg.Error) as error:
            db.q("select dtm_retry_now(%s)", wrong)
        assert error.value.sqlstate == sqlstate
    assert len(one.calls(gid=gid)) == 1


def test_force_stop_while_idle(db, one):
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("error/b"), one.url("ok/u"), {}),
                  retry_interval=1000)
    db.wait_attempts(gid, 1, "02")
    db.q("select dtm_force_stop(%s)", gid)
    db.wait(gid, "failed")
    db.passed_by(one)
    assert one.sequence(gid) == ["01 action", "02 action"], "nothing more is called, no compensation either"


def test_force_stop_while_a_call_is_in_flight(db, one):
    """P4: the answer that comes later does not reverse it."""
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{gate}"), one.url("ok/u"), {}), step(one.url("ok/b"), one.url("ok/u"), {}),
                  request_timeout=60)
    one.wait_calls(1, gid=gid)
    db.q("select dtm_force_stop(%s)", gid)
    db.wait(gid, "failed")
    one.release(gate)
    wait_until(lambda: one.effects(gid) == ["01 action"], "the late answer was sent")
    db.passed_by(one)
    assert db.status(gid) == "failed"
    assert one.sequence(gid) == ["01 action"]


def test_force_stop_wakes_who_waits(db, session, shared_cluster, one):
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=1000)
    waiter, got = session(shared_cluster), []
    thread = threading.Thread(target=lambda: got.append(waiter.one("select dtm_wait(%s, '10 min')", gid)))
    thread.start()
    db.wait_attempts(gid, 1)
    wait_waiting(db, waiter)
    db.q("select dtm_force_stop(%s)", gid)
    thread.join(60)
    assert got == ["failed"]


def test_force_stop_that_is_rolled_back_changes_nothing(db, one):
    gid = db.saga(step(one.url("error/a", n=1), None, {}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    with db.conn.transaction(force_rollback=True):
        db.q("select dtm_force_stop(%s)", gid)
    db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")


def test_force_stop_of_a_finished_transaction_is_refused(db, one):
    gid = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(gid, "succeed")
    with pytest.raises(psycopg.Error) as error:
        db.q("select dtm_force_stop(%s)", gid)
    assert error.value.sqlstate == "TD003"
    assert db.status(gid) == "succeed"


def test_a_locked_row_stops_nobody_else(db, session, shared_cluster, one):
    """An operator's open transaction on one row must not hold up the settles of the others for ever."""
    gate = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{gate}"), None, {}), request_timeout=1000)
    one.wait_calls(1, gid=gid)
    operator = session(shared_cluster, autocommit=False)
    operator.q("select dtm_force_stop(%s)", gid)
    one.release(gate)
    wait_until(lambda: one.effects(gid), "the answer is sent")
    other = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(20)]
    try:
        assert set(db.wait_all(other).values()) == {"succeed"}
    finally:
        operator.conn.rollback()
    db.wait(gid, "succeed")


@pytest.mark.settings({"dtm.alert_retry_limit": 0})
def test_who_wants_no_alerts_finds_what_fails_in_attention(own_cluster, session, one):
    db = session(own_cluster)
    gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=1000)
    for attempts in (1, 2, 3):
        db.wait_attempts(gid, attempts)
        assert attempts < 3 and db.q("select gid from dtm.attention") == [] or attempts == 3
        if attempts < 3:
            db.q("select dtm_retry_now(%s)", gid)
    assert "failed 3 times in a row" in db.one("select reason from dtm.attention where gid = %s", gid)


def test_explain_names_every_step(db, one):
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("error/b"), None, {}),
                  retry_interval=1000)
    db.wait_attempts(gid, 1, "02")
    text = db.explain(gid)
    assert gid in text and one.url("ok/a") in text and one.url("error/b") in text


def test_check_finds_nothing_wrong_here(db):
    problems = [r for r in db.q("select * from dtm_check()") if str(r[0]).lower() in ("error", "fatal")]
    assert problems == []


def test_check_finds_a_clock_that_was_set_back(db, one):
    gid = db.saga(step(one.url("error/a", n=1), None, {}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    db.q("update dtm.trans set update_time = update_time + interval '1 hour',"
         " next_cron_time = next_cron_time + interval '1 hour' where gid = %s", gid)

    def due():
        return db.q("select level, finding, remedy from dtm_check() where subject = 'due transactions'")[0]
    level, finding, remedy = due()
    assert level == "warning" and "the clock was set back" in finding
    db.q(remedy.partition(" lets ")[0])
    db.wait(gid, "succeed")
    assert "set back" not in due()[1]


def test_idle_coordinator_holds_no_snapshot(db, shared_cluster, one):
    db.passed_by(one)
    wait_until(lambda: set(db.q("select backend_xmin, backend_xid from pg_stat_activity"
                                " where backend_type = 'dtm coordinator'")) == {(None, None)},
               "the coordinator holds neither snapshot nor xid")


def test_idle_consumes_no_xid(db, one):
    """P11. Nothing else takes xids here: autovacuum is off in this cluster."""
    db.passed_by(one)

    def next_xid():
        return db.one("select pg_snapshot_xmax(pg_current_snapshot())::text")
    wait_until(lambda: next_xid() == (db.q("select pg_sleep(3)"), next_xid())[1],
               "three seconds without a new xid")


def test_the_url_of_the_alert_webhook_is_nobodys_business(own_cluster, session, one):
    """Who knows the URL of a chat's webhook may write there."""
    host = one.url("").rstrip("/")
    own_cluster.reload(**{"dtm.alert_webhook": host.replace("://", "://me:word@") + "/hooks/secret?key=secret"})
    db = session(own_cluster)
    wait_until(lambda: "secret" in db.one("show dtm.alert_webhook"), "the setting is read")
    finding = db.one("select finding from dtm_check() where subject = 'alerts'")
    assert finding.endswith(f" to {host}")
    db.q("create role watcher")
    db.q("select dtm_grant('watcher', 'admin')")
    db.q("set role watcher")
    for look in ("show dtm.alert_webhook", "select current_setting('dtm.alert_webhook')"):
        assert error_of(db.q, look).sqlstate == "42501"
    assert db.q("select * from pg_settings where name = 'dtm.alert_webhook'") == []
    assert db.one("select finding from dtm_check() where subject = 'alerts'") == finding
    db.q("reset role")


def test_transactions_of_a_role_that_is_gone_go_on_and_are_told(db, session, shared_cluster, one):
    """A dump would have a bare number as their owner, which may be another role's elsewhere."""
    role = f"leaver_{uuid.uuid4().hex[:8]}"
    db.q(f"create role {role}")
    db.q("select dtm_grant(%s::regrole, 'submit')", role)
    number = db.one("select oid from pg_roles where rolname = %s", role)
    db.q(f"set role {role}")
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=1)
    db.q("reset role")
    db.q("select dtm_revoke(%s::regrole)", role)
    db.q(f"drop role {role}")

    def owners():
        return db.q("select level, finding, remedy from dtm_check() where subject = 'owners'")[0]
    level, finding, remedy = owners()
    assert level == "warning" and f"{number} (1 transaction)" in finding
    assert f"owner {number}" in db.explain(gid) and db.row(gid)["owner"] == str(number)
    attempts = db.branch(gid)["attempts"]
    db.wait_attempts(gid, attempts + 1)
    db.q(remedy.partition(": ")[2].replace("'role'", "'postgres'").replace("number", str(number)))
    assert db.row(gid)["owner"] == "postgres" and str(number) not in owners()[1]


@pytest.mark.settings({"dtm.sweep_interval": 50, "autovacuum": "off"})
def test_idle_costs_one_index_probe_per_sweep(own_cluster, session, one):
    """P11. A sweep of nothing is a probe of the partial index, and nothing else looks at the table."""
    db = session(own_cluster)
    db.passed_by(one)

    def look():
        scans = ", ".join(f"pg_stat_get_numscans('dtm.trans{which}'::regclass)" for which in ("_due", "", "_pkey"))
        return db.q(f"select {scans}, extract(epoch from clock_timestamp())::float8")[0]

    def news(old):
        """The next report of the coordinator; it comes once a second."""
        return wait_until(lambda: (seen := look())[0] > old[0] and seen, "its scans are reported", pause=0.01)
    begin = now = news(news(look()))
    while now[0] < begin[0] + 60:
        now = news(now)
    sweeps = (now[3] - begin[3]) / 0.05  # that there was time for; fewer on a busy machine
    assert now[0] - begin[0] <= sweeps + 30, "a probe each, and what had not been reported at the begin"
    assert now[1:3] == begin[1:3], "neither all rows nor single ones"


@pytest.mark.settings({"dtm.node_name": "berlin"})
def test_the_name_of_the_node_begins_the_gids(own_cluster, session, one):
    db = session(own_cluster)
    made = db.one("select dtm_new_gid()")
    assert made.startswith("berlin-") and made != db.one("select dtm_new_gid()")
    gid = db.submit_request({"trans_type": "saga", "steps": [{"action": one.url("ok/a")}], "payloads": ["1"]})
    assert gid.startswith("berlin-")
    db.wait(gid, "succeed")
    own_cluster.reload(dtm__node_name="")
    wait_until(lambda: not db.one("select dtm_new_gid()").startswith("berlin-"), "it has no name any more")


@pytest.mark.settings({"dtm.sweep_interval": 3600000})
def test_what_nobody_told_of_is_found_by_the_sweep(own_cluster, session, one):
    """COMMIT PREPARED tells nobody."""
    db = session(own_cluster)
    db.passed_by(one)

    def untold():
        gid = db.new_gid("untold")
        db.q("begin")
        db.saga(step(one.url("ok/a"), None, {}), gid=gid)
        db.q(f"prepare transaction '{gid}'")
        db.q(f"commit prepared '{gid}'")
        return gid
    gid = untold()
    for _ in range(3):
        db.passed_by(one)
    assert not one.calls(gid=gid), "the next sweep is in an hour"
    own_cluster.reload(dtm__sweep_interval=100)
    db.wait(gid, "succeed")
    db.wait(untold(), "succeed")
