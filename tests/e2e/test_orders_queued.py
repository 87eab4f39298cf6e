"""An order holds for what was decided before it and has not left yet: calls that stand in line behind the limit of
their host (dtm.max_in_flight_per_host) are judged again. Only what is in flight stays in flight. And orders are
heard by a coordinator that has no room for anything else."""
import pytest

from clock import Clock
from cluster import wait_until
from dtm import step

LONG = 1000  # seconds: nothing happens because of it during a test
TWO_AT_A_TIME = pytest.mark.settings({"dtm.max_in_flight_per_host": 2, "autovacuum": "off"})


class Line:
    """Fifty sagas at one host, whose calls are held: two are in flight, the others stand in line."""

    def __init__(self, db, service):
        self.db, self.service, self.name = db, service, db.new_gid("gate")
        self.gids = [db.new_gid("line") for _ in range(50)]
        with db.conn.transaction():
            for gid in self.gids:
                db.saga(step(service.url(f"hold/{self.name}"), None, {}), gid=gid, request_timeout=LONG)
        self.wait_waiting(48)
        service.wait_calls(2, name=self.name)

    def wait_waiting(self, count):
        wait_until(lambda: self.db.q("select in_flight, waiting from dtm.stat_endpoint where endpoint = %s",
                                     self.service.url("")[:-1]) == [(2, count)], f"{count} stand in line")

    def calls(self):
        return self.service.calls(name=self.name)

    def called(self):
        return {c.gid for c in self.calls()}

    def wait_kept_back(self, words, count=48):
        wait_until(lambda: self.db.one("select count(*) from dtm.trans where gid = any(%s) and last_error like %s",
                                       self.gids, f"%{words}%") == count, f"{count} are kept back")

    def let_in(self):
        """Those that are in flight are answered; returns when all that could follow them has."""
        self.service.release(self.name)
        wait_until(lambda: self.db.one("select count(*) from dtm.trans where gid = any(%s) and status = 'succeed'",
                                       self.gids) == 2, "those in flight end")


@TWO_AT_A_TIME
def test_a_paused_host_gets_only_what_is_in_flight(own_cluster, session, one, two):
    db = session(own_cluster)
    line = Line(db, one)
    db.q("select dtm_pause(host => %s)", one.url(""))
    line.wait_kept_back("is paused")
    line.let_in()
    db.passed_by(two)
    assert len(line.calls()) == 2
    assert db.one("select sum(attempts) from dtm.branch where gid = any(%s)", line.gids) == 2
    db.q("select dtm_resume(host => %s)", one.url(""))
    assert set(db.wait_all(line.gids).values()) == {"succeed"}
    assert len(line.calls()) == 50


@TWO_AT_A_TIME
def test_everything_paused_means_the_line_too(own_cluster, session, one, two):
    db = session(own_cluster)
    line = Line(db, one)
    db.q("select dtm_pause(everything => true, reason => 'night')")
    line.wait_kept_back("everything is paused by postgres: night")
    line.let_in()
    assert len(line.calls()) == 2
    db.q("select dtm_resume(everything => true)")
    assert set(db.wait_all(line.gids).values()) == {"succeed"}
    assert len(line.calls()) == 50


@TWO_AT_A_TIME
def test_verbs_take_single_transactions_out_of_the_line(own_cluster, session, one):
    db = session(own_cluster)
    line = Line(db, one)
    waiting = [gid for gid in line.gids if gid not in line.called()]
    paused, stopped, skipped = waiting[:5], waiting[20:25], waiting[40:45]
    for gid in paused:
        db.q("select dtm_pause(%s)", gid)
    for gid in stopped:
        db.q("select dtm_force_stop(%s)", gid)
    for gid in skipped:
        db.q("select dtm_skip(%s, '01')", gid)
    line.wait_waiting(33)
    one.release(line.name)
    others = [gid for gid in line.gids if gid not in paused + stopped]
    assert set(db.wait_all(others).values()) == {"succeed"}
    assert line.called() == set(others) - set(skipped)
    for gid in paused:
        db.q("select dtm_resume(%s)", gid)
    assert set(db.wait_all(paused).values()) == {"succeed"}
    assert len(line.calls()) == 40


@TWO_AT_A_TIME
def test_the_line_is_redirected(own_cluster, session, one, two):
    db = session(own_cluster)
    line = Line(db, one)
    first = line.called()
    two.release(line.name)
    db.q("select dtm_redirect(%s, %s)", one.url(""), two.url(""))
    others = [gid for gid in line.gids if gid not in first]
    assert set(db.wait_all(others).values()) == {"succeed"}
    assert line.called() == first, "they are still there"
    assert {c.gid for c in two.calls(name=line.name)} == set(others)
    one.release(line.name)
    db.wait_all(line.gids)
    assert db.one("select max(attempts) from dtm.branch where gid = any(%s)", line.gids) == 1


@TWO_AT_A_TIME
def test_a_database_that_is_not_ours_any_more(own_cluster, session, one, two):
    """A dump is restored into a database that is at work: its line is not called, until somebody adopts it (P15). What
    tells is a transaction that is older than the installation; the coordinator's next look around is not awaited, here
    because the clock stands still."""
    clock = Clock(own_cluster)
    db = session(own_cluster)
    restored = db.saga(step(two.url("ongoing/restored"), None, {}), retry_interval=LONG)
    db.wait_attempts(restored, 1)
    line = Line(db, one)
    own_cluster.expect("calls nobody")
    clock.stop()
    with db.conn.transaction():
        db.q("select dtm_retry_now(%s)", restored)
        db.q("update dtm.trans set create_time = '2000-01-01' where gid = %s", restored)
        db.q("insert into dtm.identity (system_identifier, database, timeline, installed)"
             " select system_identifier + 1, database, timeline, installed from dtm.identity")
    line.wait_kept_back("everything is silent: ")
    line.let_in()
    assert len(line.calls()) == 2 and len(two.calls(gid=restored)) == 1
    clock.go_on()
    db.q("select dtm_adopt()")
    assert set(db.wait_all(line.gids).values()) == {"succeed"}
    assert len(line.calls()) == 50


@TWO_AT_A_TIME
def test_an_order_about_others_changes_nothing(own_cluster, session, one, two):
    db = session(own_cluster)
    line = Line(db, one)
    db.q("select dtm_pause(host => %s)", two.url(""))
    kept = db.saga(step(two.url("ok/a"), None, {}))
    wait_until(lambda: "is paused" in (db.row(kept)["last_error"] or ""), "the order is known")
    line.wait_waiting(48)
    one.release(line.name)
    assert set(db.wait_all(line.gids).values()) == {"succeed"}
    assert len(line.calls()) == 50
    assert db.one("select count(*) from dtm.trans where gid = any(%s) and version <> 2", line.gids) == 0


@pytest.mark.settings({"dtm.max_active": 10})
def test_a_full_coordinator_hears_verbs(own_cluster, session, one):
    db = session(own_cluster)
    name = db.new_gid("gate")
    gids = [db.saga(step(host + f"hold/{name}", None, {}), step(one.url("ok/b"), None, {}), request_timeout=LONG)
            for host in one.hosts(10)]
    one.wait_calls(10, name=name)
    new = [db.saga(step(one.url("ok/b"), None, {})) for _ in range(20)]  # before the verbs in the ring
    stopped, paused, skipped, *others = gids
    db.q("select dtm_force_stop(%s)", stopped)
    db.q("select dtm_pause(%s)", paused)
    db.q("select dtm_skip(%s, '02')", skipped)
    wait_until(lambda: db.q("select active, ring from dtm.stat_coordinator") == [(10, 0)], "it has heard all of it")
    one.release(name)
    assert set(db.wait_all(others + new).values()) == {"succeed"}
    db.wait(skipped, "succeed")
    db.passed_by(one)
    for gid in stopped, paused:
        assert one.sequence(gid) == ["01 action"]
    assert set(one.sequence(skipped)) == {"01 action"}
    assert (db.status(stopped), db.status(paused)) == ("failed", "submitted")


def test_a_paused_coordinator_hears_verbs(own_cluster, session, one):
    """Of two steps that were called when everything was paused, none is lost and none is too many."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    stopped, kept = [db.saga(step(one.url(f"hold/{name}"), None, {}), step(one.url("ok/b"), None, {}),
                             request_timeout=LONG) for _ in range(2)]
    one.wait_calls(2, name=name)
    db.q("select dtm_pause(everything => true)")
    db.q("select dtm_force_stop(%s)", stopped)
    wait_until(lambda: db.one("select ring from dtm.stat_coordinator") == 0, "it has heard it")
    one.release(name)
    wait_until(lambda: "everything is paused" in (db.row(kept)["last_error"] or ""), "the second step is kept back")
    db.q("select dtm_resume(everything => true)")
    db.wait(kept, "succeed")
    assert one.sequence(stopped) == ["01 action"] and one.sequence(kept) == ["01 action", "02 action"]
