"""What operators order (issue 5): pause, resume, skip, redirect, force_stop, retry_now, each given while the
transaction waits for its retry (idle), while its branch is being called (called), and after the answer, before
the row is written (settling). What was in flight never settles against a verb (P4)."""
import json

import psycopg
import pytest

from api import BASE, Raw, post_text
from cluster import wait_until
from dtm import step

LONG = 1000  # seconds: nothing happens because of it during a test
STATES = ["idle", "called", "settling"]


def answers(db, what="success"):
    return db.one(f"select sum(answers_{what}) from dtm.stat_coordinator where datname = current_database()")


def raw(db, gid):
    """All of the row that a settle would change."""
    return db.q("select status, version, progress, attempts, next_cron_time, attention from dtm.trans"
                " where gid = %s", gid)[0]


def events(db, gid):
    return db.q("select verb, role, detail from dtm.event where gid = %s order by time", gid)


class Scene:
    """A saga of two steps whose second one is idle, called or settling; and an operator."""

    def __init__(self, db, session, service, state, late="success"):
        self.db, self.service, self.state, self.late = db, service, state, late
        self.operator = session(db.cluster)
        self.name = db.new_gid("gate")
        self.before = ["01 action", "02 action"]
        second = service.url(f"error/{self.name}", n=1)
        if state != "idle":
            second = service.url(f"hold/{self.name}", **({} if late == "success" else {"then": "fail"}))
        self.gid = db.saga(step(service.url("ok/a"), service.url("ok/u"), {}),
                           step(second, service.url("ok/u"), {}), retry_interval=LONG, request_timeout=LONG)
        if state == "idle":
            db.wait_attempts(self.gid, 1, "02")
        else:
            service.wait_calls(1, gid=self.gid, branch_id="02")
        if state == "settling":
            self.operator.q("begin")
            self.operator.q("select 1 from dtm.trans where gid = %s for update", self.gid)
            self.answer()

    def answer(self):
        """The call in flight is answered, and the coordinator has decided what that means."""
        before = answers(self.db, self.late)
        self.service.release(self.name)
        wait_until(lambda: answers(self.db, self.late) > before, "the answer is taken")

    def order(self, sql, *params):
        """Gives the order; returns its result and the row as the verb left it."""
        got = self.operator.one(sql, *params)
        if self.state == "settling":
            self.operator.q("commit")
        self.left = raw(self.db, self.gid)
        if self.state == "called":
            self.answer()
        self.db.passed_by(self.service)
        return got

    def stays_as_it_was_left(self):
        assert raw(self.db, self.gid) == self.left, "what was in flight was settled"
        assert self.service.sequence(self.gid) == self.before


@pytest.fixture(params=STATES)
def scene(request, db, session, one):
    return Scene(db, session, one, request.param)


def test_pause_keeps_what_was_in_flight_out(scene, db, one):
    scene.order("select dtm_pause(%s, reason => 'test')", scene.gid)
    scene.stays_as_it_was_left()
    assert db.status(scene.gid) == "submitted"
    assert db.q("select reason from dtm.attention where gid = %s", scene.gid) == [("paused by postgres: test",)]
    db.q("select dtm_resume(%s)", scene.gid)
    db.wait(scene.gid, "succeed")
    assert one.sequence(scene.gid).count("02 action") == 2, "it is called again"
    assert one.effects(scene.gid) == ["01 action", "02 action"]
    assert events(db, scene.gid) == [("pause", "postgres", "test"), ("resume", "postgres", "")]


def test_force_stop_keeps_what_was_in_flight_out(scene, db, one):
    assert scene.order("select dtm_force_stop(%s)", scene.gid) == "failed"
    scene.stays_as_it_was_left()
    assert scene.left[0] == "failed"
    assert events(db, scene.gid) == [("force_stop", "postgres", "status was submitted")]


def test_skip_keeps_what_was_in_flight_out(scene, db, one):
    assert scene.order("select dtm_skip(%s, '02', 'done by hand')", scene.gid) == "action"
    db.wait(scene.gid, "succeed")
    assert len(one.calls(gid=scene.gid, branch_id="02")) == 1, "it is not called again"
    assert one.effects(scene.gid)[:1] == ["01 action"], "what was not written yet is called again, P3"
    assert db.branch(scene.gid, "02")["last_error"] == "skipped by postgres: done by hand"
    assert events(db, scene.gid) == [("skip", "postgres", "action of branch 02: done by hand")]


@pytest.mark.parametrize("state", ["called", "settling"])
@pytest.mark.parametrize("verb, end", [("skip", "succeed"), ("force_stop", "failed")])
def test_a_late_refusal_reverses_nothing(db, session, one, state, verb, end):
    scene = Scene(db, session, one, state, late="failure")
    scene.order(f"select dtm_{verb}(%s{', %s' if verb == 'skip' else ''})",
                scene.gid, *(["02"] if verb == "skip" else []))
    db.wait(scene.gid, end)
    db.passed_by(one)
    calls = one.sequence(scene.gid)
    assert calls.count("02 action") == 1 and "compensate" not in " ".join(calls), "nothing is undone"
    assert db.row(scene.gid)["rollback_reason"] in (None, "dtm_force_stop by role postgres")


def test_retry_now_hurries_only_what_waits(scene, db, one):
    """What is being called is called once; its answer counts, for nothing was changed."""
    assert scene.order("select dtm_retry_now(%s)", scene.gid) is (scene.state == "idle")
    db.wait(scene.gid, "succeed")
    calls = one.sequence(scene.gid).count("02 action")
    assert calls == (2 if scene.state == "idle" else 1)
    assert len(events(db, scene.gid)) == (1 if scene.state == "idle" else 0)


def test_skip_of_the_step_before_goes_on_with_the_next(db, session, one):
    name = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{name}"), one.url("ok/u"), {}), step(one.url("ok/b"), None, {}),
                  request_timeout=LONG)
    one.wait_calls(1, gid=gid)
    assert db.one("select dtm_skip(%s, '01')", gid) == "action"
    one.release(name)
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


@pytest.mark.parametrize("state", STATES)
def test_skip_of_a_compensation_rolls_back_over_it(db, session, one, state):
    name = db.new_gid("gate")
    undo = one.url(f"error/{name}") if state == "idle" else one.url(f"hold/{name}")
    gid = db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("ok/b"), undo, {}),
                  step(one.url("fail/c"), one.url("ok/u"), {}), retry_interval=LONG, request_timeout=LONG)
    one.wait_calls(1, gid=gid, branch_id="02", op="compensate")
    if state == "idle":
        db.wait_attempts(gid, 1, "02", "compensate")
    operator = session(db.cluster)
    operator.q("begin")
    operator.q("select 1 from dtm.trans where gid = %s for update", gid)
    before = answers(db)
    if state == "settling":
        one.release(name)
        wait_until(lambda: answers(db) > before, "the answer is taken")
    assert operator.one("select dtm_skip(%s, '02', 'paid back')", gid) == "compensate"
    operator.q("commit")
    if state == "called":
        one.release(name)
    db.wait(gid, "failed")
    assert one.calls(gid=gid, branch_id="02", op="compensate")[1:] == [], "not again"
    assert one.effects(gid).count("01 compensate") == 1
    assert db.branch(gid, "02", "compensate")["last_error"] == "skipped by postgres: paid back"


def test_a_skipped_action_is_undone_with_the_others(db, one):
    """P6: nobody knows what its call has done, or the person by hand."""
    gid = db.saga(step(one.url("error/a"), one.url("ok/u"), {}), step(one.url("fail/b"), one.url("ok/u"), {}),
                  retry_interval=LONG)
    db.wait_attempts(gid, 1)
    db.q("select dtm_skip(%s, '01')", gid)
    db.wait(gid, "failed")
    assert one.sequence(gid) == ["01 action", "02 action", "02 compensate", "01 compensate"]


def test_a_paused_transaction_can_be_changed_and_stays_paused(db, one):
    gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=LONG)
    db.wait_attempts(gid, 1)
    db.q("select dtm_pause(%s)", gid)
    db.q("select dtm_skip(%s, '01')", gid)
    db.passed_by(one)
    assert db.status(gid) == "submitted"
    with pytest.raises(psycopg.Error) as error:
        db.q("select dtm_retry_now(%s)", gid)
    assert error.value.sqlstate == "TD003"
    db.q("select dtm_resume(%s)", gid)
    db.wait(gid, "succeed")
    gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=LONG)
    db.q("select dtm_pause(%s)", gid)
    assert db.one("select dtm_force_stop(%s)", gid) == "failed"
    assert db.row(gid)["attention"] is None


def test_verbs_that_are_rolled_back_change_nothing(db, session, one):
    scene = Scene(db, session, one, "idle")
    before = raw(db, scene.gid)
    with db.conn.transaction(force_rollback=True):
        db.q("select dtm_skip(%s, '02')", scene.gid)
        db.q("select dtm_pause(%s)", scene.gid)
        db.q("select dtm_pause(host => %s)", one.url(""))
        db.q("select dtm_redirect(%s, 'http://nowhere/')", one.url(""))
        db.q("select dtm_pause(everything => true)")
    db.passed_by(one)
    assert raw(db, scene.gid) == before and events(db, scene.gid) == []
    assert db.q("select * from dtm.control") == []


# --- hosts --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("state", STATES)
def test_a_paused_host_is_not_called_others_are(db, session, orders, one, two, state):
    scene = Scene(db, session, one, state)
    host = one.url("").rstrip("/")
    if state == "settling":
        scene.operator.q("select dtm_pause(host => %s, reason => 'test')", host)
        scene.operator.q("commit")
    else:
        db.q("select dtm_pause(host => %s, reason => 'test')", host)
    waiting = db.saga(step(one.url("ok/x"), None, {}), step(two.url("ok/y"), None, {}), retry_limit=1)
    wait_until(lambda: "is paused" in (db.row(waiting)["last_error"] or ""), "its call was kept back")
    db.passed_by(two)
    if state == "called":
        scene.answer()
    if state == "idle":
        db.q("select dtm_retry_now(%s)", scene.gid)
        db.passed_by(two)
        assert db.status(scene.gid) == "submitted"
    else:
        db.wait(scene.gid, "succeed")  # a call that was under way is waited for
    assert one.sequence(scene.gid) == scene.before and one.calls(gid=waiting) == []
    branch = db.branch(waiting)
    assert (branch["attempts"], branch["errors"]) == (0, 0)
    db.q("select dtm_resume(host => %s)", host)
    for gid in (waiting, scene.gid):
        db.wait(gid, "succeed")
    assert len(one.calls(gid=waiting)) == len(two.calls(gid=waiting)) == 1
    assert db.q("select verb, detail from dtm.event where gid = '' order by time desc limit 2") == [
        ("resume", f"host {host}"), ("pause", f"host {host}: test")]


def test_a_pause_is_shown_and_does_not_hide_the_last_answer(db, orders, one):
    gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=LONG)
    db.wait_attempts(gid, 1)
    answer = db.branch(gid)["last_error"]
    assert "out of order" in answer
    host = one.url("")[:-1]
    db.q("select dtm_pause(host => %s)", host)
    db.q("select dtm_retry_now(%s)", gid)
    kept = f"host {host} is paused"
    wait_until(lambda: db.branch(gid)["last_error"] == f"{answer}; not called: {kept}", "it is kept back")
    assert db.row(gid)["last_error"] == db.branch(gid)["last_error"]
    # Not while it is just being looked at.
    explained = wait_until(lambda: "; next look in " in (text := db.explain(gid)) and text, "there is a next look")
    assert answer in explained and f"01 action is kept back: {kept}; next look in " in explained
    reason, remedy = wait_until(lambda: db.q("select reason, remedy from dtm.attention where gid = %s", gid),
                                "a pause of some seconds is shown")[0]
    assert kept in reason and "dtm_resume(host => " in remedy
    assert db.q("select level, finding from dtm_check() where subject = 'orders'") == [("warning", f"paused: {host}")]
    db.q("select dtm_redirect(%s, %s)", host, "http://elsewhere")
    db.q("select dtm_resume(host => %s)", host)
    assert db.q("select level, finding from dtm_check() where subject = 'orders'") == [
        ("note", f"redirected: {host} to http://elsewhere")]


def test_a_pause_of_everything_is_shown(db, orders, one):
    before = db.saga(step(one.url("error/a"), None, {}), retry_interval=LONG)
    db.wait_attempts(before, 1)
    db.q("select dtm_pause(everything => true, reason => 'night')")
    gid = db.saga(step(one.url("ok/a"), None, {}))
    reason, remedy = wait_until(lambda: db.q("select reason, remedy from dtm.attention where gid = %s", gid),
                                "a pause of some seconds is shown")[0]
    assert reason.endswith("everything is paused by postgres: night") and "dtm_resume(everything => true)" in remedy
    assert db.q("select * from dtm.attention where gid = %s", before) == [], "it is not its time"
    assert db.q("select level, finding from dtm_check() where subject = 'orders'") == [
        ("warning", "paused: everything (paused by postgres: night)")]


@pytest.mark.parametrize("state", STATES)
def test_redirect_sends_the_next_call_elsewhere(db, session, orders, one, two, state):
    """The call in flight ends where it is and counts; the next one goes to the new place."""
    scene = Scene(db, session, one, state)
    marker = db.new_gid("marker")
    if state == "settling":
        scene.operator.q("select dtm_redirect(%s, %s)", one.url(""), two.url(""))
        scene.operator.q("commit")
    else:
        db.q("select dtm_redirect(%s, %s)", one.url(""), two.url(""))
    db.wait(db.saga(step(one.url(f"ok/{marker}"), None, {})), "succeed")
    assert len(two.calls(name=marker)) == 1 and one.calls(name=marker) == []
    if state == "called":
        scene.answer()
    if state == "idle":
        two.set_mode(scene.name, "ok")
        db.q("select dtm_retry_now(%s)", scene.gid)
    db.wait(scene.gid, "succeed")
    assert one.sequence(scene.gid) == scene.before
    here, there = one.calls(gid=scene.gid, branch_id="02"), two.calls(gid=scene.gid, branch_id="02")
    if state == "idle":
        assert there[0].target == here[0].target and there[0].body == here[0].body
    else:
        assert there == []
    assert db.branch(scene.gid, "02")["url"].startswith(one.url("")), "the request stays what it is"


def test_the_longest_prefix_wins_and_null_takes_back(db, orders, one, two):
    db.q("select dtm_redirect(%s, %s)", one.url("ok/"), two.url("ok/short-"))
    db.q("select dtm_redirect(%s, %s)", one.url("ok/very/"), two.url("ok/long-"))
    names = []
    for path in ("ok/a", "ok/very/a", "fail/a"):
        names.append(db.saga(step(one.url(path), None, {})))
        db.wait(names[-1])
    assert [[c.name for c in two.calls(gid=g)] for g in names] == [["short-a"], ["long-a"], []]
    db.q("select dtm_redirect(%s, %s)", one.url("ok/"), two.url("ok/other-"))  # replaces it
    db.q("select dtm_redirect(%s, null, 'over')", one.url("ok/very/"))
    gid = db.saga(step(one.url("ok/very/a"), None, {}))
    db.wait(gid, "succeed")
    assert [c.name for c in two.calls(gid=gid)] == ["other-very/a"]
    db.q("select dtm_redirect(%s, null)", one.url("ok/"))
    gid = db.saga(step(one.url("ok/very/a"), None, {}))
    db.wait(gid, "succeed")
    assert [c.name for c in one.calls(gid=gid)] == ["very/a"]


def test_a_call_goes_to_the_host_that_it_is_redirected_to(db, orders, one, two):
    """Pausing the old host does not stop what goes elsewhere; pausing the new one does."""
    db.q("select dtm_redirect(%s, %s)", one.url(""), two.url(""))
    db.q("select dtm_pause(host => %s)", one.url(""))
    gid = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(gid, "succeed")
    db.q("select dtm_pause(host => %s)", two.url(""))
    gid = db.saga(step(one.url("ok/a"), None, {}))
    wait_until(lambda: two.url("")[:-1] in (db.row(gid)["last_error"] or ""), "it was kept back")


# --- everything, and who -------------------------------------------------------------------------------

def turns(cluster, wanted=3):
    """Waits until the coordinators have come around some times: nobody else uses the database meanwhile."""
    def count():
        return cluster.sql("select xact_commit from pg_stat_database where datname = %s", cluster.dbname,
                           dbname="postgres")[0][0]
    before = count()
    wait_until(lambda: count() >= before + 4 * wanted, "the coordinators come around")


def slice_of(cluster, gid):
    return cluster.sql("select (hashtext(%s)::int8 & 4294967295) %% 2", gid)[0][0]


def in_both_slices(db, cluster, submit, each=3):
    """Submits until both coordinators have so many; returns the gids."""
    found = {0: [], 1: []}
    while min(len(g) for g in found.values()) < each:
        gid = submit()
        found[slice_of(cluster, gid)].append(gid)
    return found[0] + found[1]


@pytest.mark.settings({"dtm.workers": 2, "autovacuum": "off"})
def test_everything_is_paused_by_all_coordinators_through_restarts(own_cluster, session, one, two):
    own_cluster.wait_coordinator(count=2)
    db = session(own_cluster)
    name = db.new_gid("gate")
    called = in_both_slices(db, own_cluster, lambda: db.saga(
        step(one.url(f"hold/{name}"), None, {}), step(two.url("ok/b"), None, {}), request_timeout=LONG))
    one.wait_calls(len(called), name=name)
    idle = db.saga(step(one.url("error/a", n=1), None, {}), retry_interval=1)
    db.wait_attempts(idle, 1)
    db.q("select dtm_pause(everything => true, reason => 'night')")
    stored = in_both_slices(db, own_cluster, lambda: db.saga(step(two.url("ok/a"), None, {})))
    one.release(name)
    for gid in called:  # the answers are taken, the next step is not begun
        wait_until(lambda g=gid: "everything is paused by postgres: night" in (db.row(g)["last_error"] or ""),
                   "the second step is kept back")
    assert [two.calls(gid=g) for g in stored + called] == [[]] * len(stored + called)
    assert {db.branch(g)["status"] for g in called} == {"succeed"}
    own_cluster.expect("due to administrator command")
    before = own_cluster.coordinators()
    for pid in before:
        db.q("select pg_terminate_backend(%s)", pid)
    own_cluster.wait_coordinator(count=2, other_than=before)
    turns(own_cluster)
    own_cluster.restart()
    own_cluster.wait_coordinator(count=2)
    turns(own_cluster)
    assert [two.calls(gid=g) for g in stored + called] == [[]] * len(stored + called)
    db = session(own_cluster)
    db.gids = [idle, *called, *stored]
    db.q("select dtm_resume(everything => true)")
    assert set(db.wait_all(db.gids).values()) == {"succeed"}
    assert all(len(one.calls(gid=g)) == 1 and len(two.calls(gid=g)) == 1 for g in called)


@pytest.mark.settings({"dtm.workers": 2})
def test_orders_reach_all_coordinators_and_outlive_them(own_cluster, session, one, two):
    own_cluster.wait_coordinator(count=2)
    db = session(own_cluster)
    db.q("select dtm_redirect(%s, %s)", one.url("ok/old"), one.url("ok/new"))
    db.q("select dtm_pause(host => %s)", two.url(""))
    paused = in_both_slices(db, own_cluster, lambda: db.saga(step(one.url("error/a"), None, {}),
                                                             retry_interval=1), each=1)
    for gid in paused:
        db.wait_attempts(gid, 1)
        db.q("select dtm_pause(%s)", gid)

    def calls_of_the_paused():
        return [len(one.calls(gid=g)) for g in paused]
    for again in (False, True):
        kept = in_both_slices(db, own_cluster, lambda: db.saga(step(two.url("ok/a"), None, {})), each=1)
        sent = in_both_slices(db, own_cluster, lambda: db.saga(step(one.url("ok/old"), None, {})), each=1)
        assert set(db.wait_all(sent).values()) == {"succeed"}
        assert [one.calls(gid=g)[0].name for g in sent] == ["new"] * len(sent)
        for gid in kept:
            wait_until(lambda g=gid: "is paused" in (db.row(g)["last_error"] or ""), "it is kept back")
        if not again:  # both coordinators have heard of the pause, and what was under way before has arrived
            before_all = calls_of_the_paused()
            own_cluster.expect("due to administrator command")
            before = own_cluster.coordinators()
            for pid in before:
                db.q("select pg_terminate_backend(%s)", pid)
            own_cluster.wait_coordinator(count=2, other_than=before)
    assert [db.status(g) for g in paused] == ["submitted"] * len(paused)
    assert calls_of_the_paused() == before_all


def test_events_name_the_session_user(db, session, shared_cluster, orders, one):
    db.q("create role night_shift")
    try:
        db.q("select dtm_grant('night_shift', 'admin')")
        gid = db.saga(step(one.url("error/a"), None, {}), retry_interval=LONG)
        db.wait_attempts(gid, 1)
        operator = session(shared_cluster)
        operator.q("set role night_shift")
        operator.q("select dtm_retry_now(%s)", gid)
        db.wait_attempts(gid, 2)
        operator.q("select dtm_pause(%s)", gid)
        operator.q("select dtm_resume(%s)", gid)
        operator.q("select dtm_skip(%s, '01')", gid)
        db.wait(gid, "succeed")
        assert events(db, gid) == [("retry_now", "postgres", ""), ("pause", "postgres", ""),
                                   ("resume", "postgres", ""),
                                   ("skip", "postgres", "action of branch 01")]
    finally:
        db.q("select dtm_revoke('night_shift')")
        db.q("drop role night_shift")


def test_a_pause_holds_for_what_is_submitted_after_it(server, session, one):
    """Also when both come between the coordinator's look at its orders and its look into the ring: there it waits
    for the lock of who submits, because a client of the API waits for a transaction of the other coordinator."""
    api = server(dtm__workers=2, dtm__sweep_interval=3600000)
    cluster, operator, db = api.cluster, session(api.cluster), session(api.cluster)
    writer = session(cluster, autocommit=False)
    host, gate = one.hosts(2)[1], db.new_gid("gate")

    def gid_of(slice):
        return next(gid for gid in (db.new_gid("pause") for _ in range(1000)) if slice_of(cluster, gid) == slice)

    def waits():
        """Since when the first coordinator waits for a lock."""
        return operator.one("select min(waitstart)::text from pg_locks join dtm.stat_coordinator using (pid)"
                            " where not granted and worker = 0")

    def both_in_one_wait():
        writer.q("lock table dtm.trans in access exclusive mode")
        since = wait_until(waits, "the coordinator waits for the lock", pause=0.005)
        operator.q("select dtm_pause(host => %s)", host)
        gid = writer.saga(step(host + "ok/paused", None, {}), gid=gid_of(0))
        met = waits() == since
        writer.conn.commit()
        wait_until(lambda: one.calls(gid=gid) or "is paused" in (db.row(gid)["last_error"] or ""), "it is kept back")
        assert not one.calls(gid=gid), "it was paused before it was submitted"
        operator.q("select dtm_resume(host => %s)", host)
        db.wait(gid, "succeed")
        return met
    with Raw(cluster) as client:
        client.send(post_text(BASE + "submit", json.dumps({
            "gid": gid_of(1), "trans_type": "saga", "steps": [{"action": one.url(f"hold/{gate}")}],
            "payloads": ["1"], "wait_result": True, "request_timeout": LONG})))
        wait_until(both_in_one_wait, "both come while the coordinator waits")
        one.release(gate)
        assert client.answer().status == 200
