"""A host that accepts and never answers, or is not there: it delays only who needs it (P8). The circuit
breaker of such a host opens, tries again from time to time, and closes when the host is back."""
import json
import re

import pytest

from cluster import free_port, wait_until
from dtm import step
from service import Service

LONG = 1000  # seconds: nothing happens because of it during a test


@pytest.fixture
def dead():
    """A participant of this test alone, to be set to `never` or killed."""
    service = Service("dead").start()
    yield service
    service.destroy()


def crowd(db, url, count, **options):
    """Submits `count` sagas of one step in one transaction."""
    gids = [db.new_gid("dead") for _ in range(count)]
    with db.conn.transaction():
        for gid in gids:
            db.saga(step(url, None, {}), gid=gid, **options)
    return gids


def endpoint(db, service):
    """The row of a host in dtm.stat_endpoint as a dict, {} when there is none."""
    cur = db.conn.execute("select * from dtm.stat_endpoint where datname = current_database()"
                          " and endpoint = %s", (service.url("")[:-1],))
    row = cur.fetchone()
    return dict(zip([c.name for c in cur.description], row)) if row else {}


def wait_breaker(db, service, *states):
    return wait_until(lambda: (e := endpoint(db, service)) and e["breaker"] in states and e,
                      f"the breaker of {service.name} is {states}")


def outages_told(alarm, name, service):
    """The alerts about a host, apart from those about single transactions."""
    told = [json.loads(c.body) for c in alarm.calls(name=name)]
    return [a for a in told if a["error"].startswith(service.url("")[:-1] + " answers nobody: ")]


def plain(error):
    """What curl says, without the milliseconds that it took: they differ from call to call."""
    return re.sub(r" after \d+ ms", "", error)


def unfinished(db, gids):
    return db.one("select count(*) from dtm.trans where gid = any(%s) and status = 'submitted'", gids)


def stream(db, service, gids_of_dead, count=100):
    """Live sagas one after the other: each ends, and no dead one has."""
    for _ in range(count):
        gid = db.saga(step(service.url("ok/a"), None, {}), step(service.url("ok/b"), None, {}))
        db.wait(gid, "succeed")
    assert unfinished(db, gids_of_dead) == len(gids_of_dead)


def test_a_thousand_that_hang_delay_nobody_else(own_cluster, session, dead, one):
    """No call ends here: what the dead host may occupy is its share of the places (dtm.max_in_flight_per_host)."""
    db = session(own_cluster)
    gids = crowd(db, dead.url("never/a"), 1000, request_timeout=LONG)
    dead.wait_calls(100)
    stream(db, one, gids)
    wait_until(lambda: (e := endpoint(db, dead)) and (e["breaker"], e["in_flight"], e["waiting"]) ==
               ("closed", 100, 900), "the dead host has its share, the rest waits")
    assert len(dead.calls()) == 100
    assert own_cluster.settings.get("dtm.max_in_flight_per_host") is None, "100 is the default"


@pytest.mark.settings({"dtm.breaker_max_interval": 2})
def test_a_breaker_opens_tries_and_closes(own_cluster, session, dead, one):
    db = session(own_cluster)
    name = db.new_gid("dead")
    gids = crowd(db, dead.url(f"never/{name}"), 1000, request_timeout=1)
    seen = wait_until(lambda: (e := endpoint(db, dead)) and e["breaker"] == "open"
                      and e["next_probe"].total_seconds() > 0 and e, "it is open, and a probe will come")
    assert seen["errors_in_a_row"] >= 10 and seen["last_error"]
    stream(db, one, gids)
    wait_breaker(db, dead, "half_open")
    seen = wait_until(lambda: (e := endpoint(db, dead))["deferred"] >= 1000 and e, "all were kept back")
    # A transaction that is kept back is not tried: what the rows count is what was called.
    tried = db.one("select sum(attempts) from dtm.branch where gid = any(%s)", gids)
    wait_until(lambda: len(dead.calls()) >= tried, "each has arrived")
    assert db.one("select count(*) from dtm.branch where gid = any(%s) and errors > attempts", gids) == 0
    dead.set_mode(name, "ok")
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert all(len(dead.effects(g)) == 1 for g in gids[::50])
    seen = wait_breaker(db, dead, "closed")
    assert seen["errors_in_a_row"] == 0 and seen["next_probe"] is None


@pytest.mark.settings({"dtm.breaker_max_interval": 2, "dtm.max_active": 100})
def test_more_hang_than_the_coordinator_holds(own_cluster, session, dead, one):
    """P8 beyond dtm.max_active: those that are kept back leave their places to others."""
    db = session(own_cluster)
    name = db.new_gid("dead")
    gids = crowd(db, dead.url(f"never/{name}"), 1000, request_timeout=1)
    stream(db, one, gids)
    assert db.one("select max(active) from dtm.stat_coordinator") <= 100
    dead.set_mode(name, "ok")
    assert set(db.wait_all(gids, timeout=120).values()) == {"succeed"}


@pytest.mark.settings({"dtm.max_active": 100, "dtm.breaker_max_interval": 5})
def test_more_hang_for_long_than_the_coordinator_holds(own_cluster, session, dead, one):
    """No call ends and no breaker opens: a slow host holds a third of the places, the rest goes back to the table."""
    db = session(own_cluster)
    name = db.new_gid("dead")
    gids = crowd(db, dead.url(f"hold/{name}"), 1000, request_timeout=LONG)
    stream(db, one, gids)
    many = [db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {})) for _ in range(200)]
    assert set(db.wait_all(many).values()) == {"succeed"}
    wait_until(lambda: (e := endpoint(db, dead)).get("deferred", 0) >= 900
               and (e["breaker"], e["in_flight"] + e["waiting"]) == ("closed", 33), "the others went back")
    assert db.one("select max(active) from dtm.stat_coordinator") <= 100
    assert len(dead.wait_calls(33)) == 33
    kept = wait_until(lambda: db.q("select attempts, errors, last_error from dtm.branch where gid = any(%s)"
                                   " and last_error is not null", gids), "the rows say why")
    assert {row[:2] for row in kept} == {(0, 0)} and all("too many calls wait" in row[2] for row in kept)
    dead.release(name)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert len(dead.calls()) == 1000


@pytest.mark.settings({"dtm.breaker_max_interval": 2, "dtm.alert_retry_limit": 3})
def test_a_refused_port_opens_it_and_uses_nothing_up(own_cluster, session, dead, one):
    """Neither attempts nor the retries of retry_limit nor alerts are spent on calls that were not made."""
    own_cluster.reload(**{"dtm.alert_webhook": one.url("ok/alert-of-the-dead")})
    dead.kill()
    db = session(own_cluster)
    gids = crowd(db, dead.url("ok/a"), 100, retry_interval=1)
    limited = crowd(db, dead.url("ok/b"), 20, retry_limit=50)
    wait_breaker(db, dead, "open", "half_open")
    stream(db, one, gids, count=20)
    wait_until(lambda: endpoint(db, dead)["deferred"] >= 300, "calls were kept back again and again")
    assert unfinished(db, limited) == 20
    # The view is some time behind the rows; what is kept back is far more than the calls of a minute.
    spent = db.one("select sum(attempts) from dtm.branch where gid = any(%s)", gids + limited)
    wait_until(lambda: endpoint(db, dead)["calls"] >= spent, "an attempt is a call")
    wait_until(lambda: outages_told(one, "alert-of-the-dead", dead), "somebody is told")
    warned = [c.body for c in one.calls(name="alert-of-the-dead")]
    assert len(warned) == len(set(warned)), "each is told once"
    wait_until(lambda: endpoint(db, dead)["calls"] >= 3 * len(warned), "nobody is told before the third call")
    dead.start()
    assert set(db.wait_all(gids + limited).values()) == {"succeed"}
    wait_breaker(db, dead, "closed")


def test_any_answer_is_an_answer(own_cluster, session, dead):
    """A host that says 500 lives: each transaction goes its own way."""
    db = session(own_cluster)
    gids = crowd(db, dead.url("error/a"), 50, retry_interval=LONG, request_timeout=LONG)
    for gid in gids:
        db.wait_attempts(gid, 1)
    seen = wait_until(lambda: (e := endpoint(db, dead)) and e["calls"] == 50 and e, "all are counted")
    assert (seen["breaker"], seen["errors"], seen["errors_in_a_row"], seen["deferred"]) == ("closed", 0, 0, 0)


@pytest.mark.settings({"dtm.breaker_errors": 1, "dtm.breaker_max_interval": 86400})
def test_retry_now_goes_through_an_open_breaker(own_cluster, session, dead, one):
    """Each retry_now of a dead host is a probe that fails and doubles the pause; the last one finds the host
    alive, while all the others still have hours to wait."""
    dead.kill()
    db = session(own_cluster)
    gid = db.saga(step(dead.url("ok/a"), None, {}), retry_interval=LONG)
    for attempts in range(1, 13):
        db.wait_attempts(gid, attempts)
        db.q("select dtm_retry_now(%s)", gid)
    db.wait_attempts(gid, 13)
    other = db.saga(step(dead.url("ok/a"), None, {}))
    wait_until(lambda: "circuit breaker" in (db.row(other)["last_error"] or ""), "it is kept back")
    assert db.branch(other)["attempts"] == 0 and db.until_next(other) > 600
    dead.start()
    db.passed_by(one)
    assert dead.calls() == []
    db.q("select dtm_retry_now(%s)", other)
    db.wait(other, "succeed")
    wait_breaker(db, dead, "closed")
    db.wait(db.saga(step(dead.url("ok/a"), None, {})), "succeed")
    db.q("select dtm_retry_now(%s)", gid)
    db.wait(gid, "succeed")


@pytest.mark.settings({"dtm.breaker_errors": 3, "dtm.breaker_max_interval": 1, "dtm.alert_retry_limit": 5})
def test_an_outage_is_told_once_and_shown_as_long_as_it_lasts(own_cluster, session, dead, one):
    """No transaction fails often enough to be told of by itself."""
    name = f"outage-{dead.port}"
    own_cluster.reload(**{"dtm.alert_webhook": one.url(f"ok/{name}")})
    db = session(own_cluster)

    def check():
        return db.one("select level || ': ' || finding from dtm_check() where subject = 'circuit breakers'")

    assert check() == "ok: none is open"
    for outages in (1, 2):
        dead.kill()
        first = crowd(db, dead.url("ok/a"), 3, retry_interval=LONG)
        wait_breaker(db, dead, "open", "half_open")
        gids = crowd(db, dead.url("ok/a"), 200, retry_interval=LONG)
        wait_until(lambda n=outages: len(outages_told(one, name, dead)) == n, "the outage is told")
        told = outages_told(one, name, dead)[-1]
        assert told["gid"] in first + gids and told["branch"] == dead.url("ok/a")
        assert told["status"] == "submitted" and told["retry_count"] >= 5
        seen = endpoint(db, dead)
        error = plain(seen["last_error"])
        assert plain(told["error"]).endswith(error)
        wait_until(lambda n=seen["errors_in_a_row"]: endpoint(db, dead)["errors_in_a_row"] >= n + 2, "probes fail")
        assert len(outages_told(one, name, dead)) == outages, "once, whatever the number of probes and transactions"
        kept = wait_until(lambda g=gids: len(rows := db.q("select gid, reason, remedy from dtm.attention"
                                                          " where gid = any(%s)", g)) >= 100 and rows,
                          "all but those that were probes")
        for gid, reason, remedy in kept:
            assert reason.startswith("01 action is kept back since ") and f"dtm_retry_now('{gid}')" in remedy
            assert f"the circuit breaker of {dead.url('')[:-1]} is open after " in reason
            assert plain(reason).endswith(error)
        checked = plain(check())
        assert dead.url("")[:-1] in checked and checked.startswith("warning: ") and error in checked
        # Any one of them may have become the next probe in the meantime, and then waits for its own next attempt.
        explained = [db.explain(gid) for gid, _, _ in kept[:100]]
        assert sum("is kept back: the circuit breaker of " in text for text in explained) >= 10, explained[0]
        dead.start()

        def all_have_succeeded():
            db.q("select dtm_retry_all()")  # not one by one: each that is answered may end the others
            return not db.q("select from dtm.trans where gid = any(%s) and status <> 'succeed'", first + gids)
        wait_until(all_have_succeeded, "they go on", pause=0.5)
        wait_until(lambda: check() == "ok: none is open", "it is over")
        assert db.q("select * from dtm.attention") == []


@pytest.mark.settings({"dtm.breaker_errors": 0})
def test_without_a_breaker_all_are_tried(own_cluster, session, dead):
    dead.kill()
    db = session(own_cluster)
    gids = crowd(db, dead.url("ok/a"), 50, retry_interval=LONG)
    for gid in gids:
        db.wait_attempts(gid, 1)
    assert endpoint(db, dead).get("deferred", 0) == 0


def test_the_host_that_alerts_go_to_may_be_dead_too(own_cluster, session, one):
    """Alerts are nobody's transaction: those that find no host are gone, and nothing waits for them."""
    own_cluster.reload(**{"dtm.alert_webhook": f"http://127.0.0.1:{free_port()}/", "dtm.alert_retry_limit": 1})
    db = session(own_cluster)
    gids = crowd(db, one.url("error/a", n=1), 40, retry_interval=1)
    assert set(db.wait_all(gids).values()) == {"succeed"}


@pytest.mark.settings({"dtm.alert_retry_limit": 1, "dtm.request_timeout": LONG})
def test_a_webhook_that_hangs_blocks_nobody(own_cluster, session, dead, one):
    """More alerts than it may occupy places: neither what they are about nor others wait for it."""
    own_cluster.reload(**{"dtm.alert_webhook": dead.url("never/alert")})
    db = session(own_cluster)
    wait_until(lambda: db.one("show dtm.alert_webhook"), "the setting is loaded")
    db.passed_by(one)
    gids = crowd(db, one.url("error/a"), 150, retry_interval=LONG)
    dead.wait_calls(100)
    stream(db, one, gids)
    for gid in gids:
        db.wait_attempts(gid, 1)
    db.q("select dtm_retry_now(%s)", gids[-1])
    db.wait_attempts(gids[-1], 2)
    assert len(dead.calls()) == 100, "none of them has ended"


@pytest.mark.settings({"dtm.max_in_flight": 16})
def test_no_more_calls_than_allowed_are_in_flight(own_cluster, session, dead):
    """Of all hosts together."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    gids = [gid for host in dead.hosts(20) for gid in crowd(db, host + f"hold/{name}", 3, request_timeout=LONG)]
    dead.wait_calls(16)
    for _ in range(3):
        before = db.one("select settles from dtm.stat_coordinator where datname = current_database()")
        db.wait(db.saga(step("", None, {})), "succeed")
        wait_until(lambda n=before: db.one("select settles from dtm.stat_coordinator where datname ="
                                           " current_database()") > n, "the coordinator goes on")
    assert len(dead.calls()) == 16
    dead.release(name)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert max(c.in_flight for c in dead.calls()) <= 16
