"""What one row, one lock or one host does to all the others: nothing (P7, P8, I5, I6)."""
import json
import os
import re
import socket
import threading
from pathlib import Path

import pytest

from cluster import DEADLINE, free_port, wait_until
from dtm import AFTER_A_STALL, step

LONG = 1000  # seconds: nothing happens because of it during a test
SOON = 50    # seconds: far more than it takes, far less than what the others wait for

# Finished sagas whose timeouts lie far ahead; 110000 fill the coordinator's list of alarms.
CROWD = int(os.environ.get("DTM_CROWD", 3000))


def in_background(job):
    """Runs job() in a thread; returns the thread and the list that takes its result."""
    got = []
    thread = threading.Thread(target=lambda: got.append(job()), daemon=True)
    thread.start()
    return thread, got


def cpu_seconds(pid):
    """What a process has used of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- one row ------------------------------------------------------------------------------------------

def poison(db, gid, code="P0001"):
    """Every UPDATE of this row fails, also the one that would put it aside."""
    db.q("create function refuse() returns trigger language plpgsql as"
         f" $$ begin raise exception 'this row cannot be written' using errcode = '{code}'; end $$")
    db.q("create trigger poison before update on dtm.trans for each row"
         f" when (old.gid = '{gid}') execute function refuse()")


def one_is_poisoned(db, service, code="P0001"):
    """Submits a saga whose row cannot be written, nine others with the same COMMIT, and others afterwards;
    returns its gid when all the others have ended."""
    bad = db.new_gid("poisoned")
    poison(db, bad, code)
    others = []
    with db.conn.transaction():
        db.saga(step(service.url("ok/a"), None, {}), gid=bad)
        others += [db.saga(step(service.url("ok/a"), None, {})) for _ in range(9)]
    service.wait_calls(1, gid=bad)
    for _ in range(5):
        others += [db.saga(step(service.url("ok/a"), None, {}), step(service.url("ok/b"), None, {}))
                   for _ in range(10)]
        others.append(db.saga(step(service.url("fail/a"), service.url("ok/u"), {})))
    found = db.wait_all(others, timeout=SOON)
    assert sorted(found.values()).count("failed") == 5
    assert db.status(bad) == "submitted"
    return bad


@pytest.mark.parametrize("code", ["P0001", "58030"], ids=["row", "disk"])
def test_a_row_that_cannot_be_written_stops_no_other(own_cluster, session, one, code):
    """The disk's error may be about the block of this row alone, and then it is not put aside."""
    db = session(own_cluster)
    bad = one_is_poisoned(db, one, code)
    assert "cannot work" not in own_cluster.log_text()
    assert db.one("select attention from dtm.trans where gid = %s", bad) is None
    db.q("drop trigger poison on dtm.trans")
    db.q("select dtm_retry_now(%s)", bad)
    db.wait(bad, "succeed", timeout=120)  # it rests for a minute
    assert one.effects(bad) == ["01 action"]


def test_a_row_that_could_not_be_written_is_taken_up_by_the_next_coordinator(own_cluster, session, one):
    db = session(own_cluster)
    bad = one_is_poisoned(db, one)
    db.q("drop trigger poison on dtm.trans")
    before = own_cluster.wait_coordinator()
    own_cluster.expect("due to administrator command")
    db.q("select pg_terminate_backend(%s)", before[0])
    own_cluster.wait_coordinator(other_than=before)
    db.wait(bad, "succeed")
    assert one.effects(bad) == ["01 action"]


# --- nobody's row -------------------------------------------------------------------------------------

@pytest.mark.settings({"autovacuum": "off"})
@pytest.mark.parametrize("codes", [("53100", "53200", "53400"), ("57014", "57P03"), ("58030", "58P01"),
                                   ("42P01", "42703", "3F000", "25006"), ("55P03", "40P01")],
                         ids=["shortage", "operator", "system", "schema", "lock"])
def test_trouble_of_the_server_is_no_fault_of_a_row(own_cluster, session, one, codes):
    """A full disk, a shortage, a lock, a schema that is being changed: the row is written when that is over."""
    db = session(own_cluster)
    begin = own_cluster.log_size()
    db.q("create sequence tries")
    for code in codes:
        gid = db.new_gid("trouble")
        before = db.one("select last_value from tries")
        db.q("create function fail() returns trigger language plpgsql as $$ begin perform nextval('public.tries');"
             f" raise exception 'trouble {code}' using errcode = '{code}'; end $$")
        db.q(f"create trigger fail before update on dtm.trans for each row when (old.gid = '{gid}')"
             " execute function fail()")
        db.saga(step(one.url("ok/a"), None, {}), gid=gid)
        wait_until(lambda: db.one("select last_value from tries") >= before + 3, f"it tries again after {code}")
        db.q("drop function fail cascade")
        db.wait(gid, "succeed", timeout=SOON)
        assert one.effects(gid) == ["01 action"]
        of_a_lock = code in ("55P03", "40P01")
        told = f"trouble {code}" in own_cluster.log_text(begin)
        assert told != of_a_lock, "locks are nothing to talk about"
    for words in ("puts it aside", "can neither write nor mark", "begins anew"):
        assert words not in own_cluster.log_text(begin)


# --- one lock -----------------------------------------------------------------------------------------

def lock_waits(db, seen):
    """Adds those of the coordinator that are under way; returns how many were seen."""
    seen.update(db.q("select l.pid, l.waitstart from pg_locks l join pg_stat_activity a using (pid)"
                     " where not l.granted and a.backend_type = 'dtm coordinator' and a.datname = current_database()"
                     " and l.waitstart is not null"))
    return len(seen)


def wait_blocked(db, times):
    seen = set()
    wait_until(lambda: lock_waits(db, seen) >= times, "the coordinator runs into the lock again and again", pause=0.02)


def test_a_locked_table_puts_nothing_aside(db, session, shared_cluster, one):
    name = db.new_gid("gate")
    gids = [db.saga(step(one.url(f"ongoing/{name}"), one.url("ok/u"), {}), retry_interval=1) for _ in range(8)]
    for gid in gids:
        db.wait_attempts(gid, 1)
    one.set_mode(name, "ok")
    locker = session(shared_cluster, autocommit=False)
    locker.q("lock table dtm.trans in access exclusive mode")
    # Each time it waits for half a second and gives up: two to four seconds in all.
    wait_blocked(session(shared_cluster), 4)
    locker.conn.commit()
    assert set(db.wait_all(gids, timeout=SOON).values()) == {"succeed"}
    assert db.q("select gid, reason from dtm.attention where gid = any(%s)", gids) == []
    assert db.one("select count(*) from dtm.trans where gid = any(%s) and attention is not null", gids) == 0


def test_locked_branches_stop_no_other_transaction(own_cluster, session, one):
    """Rows that are read with what somebody has locked are not read, and all others are."""
    db = session(own_cluster)
    tcc = db.new_gid("tcc")
    db.q("select dtm_prepare(%s)", json.dumps({"gid": tcc, "trans_type": "tcc", "timeout_to_fail": LONG}))
    db.q("select dtm_register_branch(%s)", json.dumps(
        {"gid": tcc, "trans_type": "tcc", "branch_id": "01", "confirm": one.url("ok/c"), "cancel": one.url("ok/u")}))
    with own_cluster.connect(autocommit=False) as holder:
        holder.execute("lock table dtm.trans_branch in access exclusive mode")
        db.q("update dtm.trans set next_cron_time = now() - interval '1 hour' where gid = %s", tcc)
        before = own_cluster.coordinators()
        own_cluster.expect("due to administrator command")
        db.q("select pg_terminate_backend(%s)", before[0])
        own_cluster.wait_coordinator(other_than=before)  # it looks at all rows
        for _ in range(5):
            db.wait(db.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("ok/b"), None, {})), "succeed")
        holder.rollback()
    db.q("select dtm_submit(%s)", json.dumps({"gid": tcc, "trans_type": "tcc"}))
    db.wait(tcc, "succeed")


@pytest.mark.settings({"deadlock_timeout": "400ms", "log_lock_waits": "on", "autovacuum": "off"})
def test_a_coordinator_gives_way_before_deadlocks_are_looked_for(own_cluster, session, one):
    """However soon that is: else the session of somebody else might have to. Who looks says that it waits."""
    db, locker = session(own_cluster), session(own_cluster, autocommit=False)
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=1)
    db.wait_attempts(gid, 1)
    locker.q("lock table dtm.trans in access exclusive mode")
    seen, begin = set(), own_cluster.log_size()

    def gave_way():
        waits = lock_waits(db, seen)
        return waits - len(re.findall(r"dtm coordinator.* still waiting for", own_cluster.log_text(begin)))
    wait_until(lambda: gave_way() >= 4, "it waits for a lock again and again, and not until then", pause=0.02)
    locker.conn.commit()


def test_a_waiting_session_holds_up_neither_ddl_nor_submits(db, session, shared_cluster, one):
    """A lock kept over dtm_wait would let DDL queue behind it, and every submit behind the DDL."""
    name = db.new_gid("gate")
    gid = db.saga(step(one.url(f"hold/{name}"), None, {}), request_timeout=LONG)
    waiter, ddl, client = (session(shared_cluster) for _ in range(3))
    waiting, answer = in_background(lambda: waiter.one("select dtm_wait(%s, '10 min')", gid))
    wait_until(lambda: db.one("select wait_event_type from pg_stat_activity where pid = %s",
                              waiter.conn.info.backend_pid) == "Extension", "the waiter waits")

    ddl.q("begin")
    ddl.q("set local lock_timeout = '60 s'")
    ddl.q("lock table dtm.trans in access exclusive mode")
    submitting, submitted = in_background(lambda: client.saga(step(one.url("ok/a"), None, {})))
    wait_until(lambda: db.one("select count(*) from pg_locks where not granted and pid = %s",
                              client.conn.info.backend_pid), "the submit stands behind the lock")
    ddl.q("commit")
    submitting.join(DEADLINE)
    assert submitted, "the submit is held up"
    client.wait(submitted[0], "succeed")

    assert waiting.is_alive(), "the waiter still waits"
    one.release(name)
    waiting.join(60)
    assert answer == ["succeed"]


def test_a_waiting_session_sleeps(db, session, shared_cluster, one):
    """Giving the lock back between two looks must not turn waiting into spinning."""
    gid = db.saga(step(one.url("ongoing/a"), None, {}), retry_interval=LONG)
    waiter = session(shared_cluster)
    before = cpu_seconds(waiter.conn.info.backend_pid)
    assert waiter.one("select dtm_wait(%s, '4 s')", gid) is None
    assert cpu_seconds(waiter.conn.info.backend_pid) - before < 1


# --- one timeout --------------------------------------------------------------------------------------

def test_a_timeout_comes_however_many_lie_behind_it(db, one):
    """Sagas that ended long before their timeouts leave nothing behind that hides the next one."""
    db.q("select dtm_submit('saga', array[dtm_step(%s)], 'crowd-' || n, '{\"timeout_to_fail\": 3600}')"
         " from generate_series(1, %s) n", one.url("ok/crowd"), CROWD)
    wait_until(lambda: db.one("select count(*) from dtm.trans where gid like 'crowd-%' and status = 'succeed'")
               == CROWD, f"{CROWD} sagas end", timeout=60 + CROWD / 200)
    assert one.query("select count(*) from call where name = 'crowd'")[0][0] >= CROWD
    steps = step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("ongoing/b"), one.url("ok/u"), {})
    late = [db.saga(*steps, timeout_to_fail=AFTER_A_STALL, retry_interval=interval) for interval in (1, LONG)]
    # With a call in flight the row says nothing, nobody answers, and only the timer in memory tells.
    name = db.new_gid("gate")
    busy = db.saga(steps[0], step(one.url(f"hold/{name}"), one.url("ok/u"), {}), timeout_to_fail=AFTER_A_STALL,
                   request_timeout=90)
    wait_until(lambda: db.status(busy) == "aborting", "its timeout decides while the call hangs", timeout=SOON)
    one.release(name)
    for gid in late + [busy]:
        db.wait(gid, "failed")
        assert "01 compensate" in one.effects(gid)
        assert "timeout" in db.row(gid)["rollback_reason"].lower()


# --- one host -----------------------------------------------------------------------------------------

@pytest.fixture
def silent_host():
    """Accepts every connection and never says a word."""
    with socket.socket() as host:
        host.bind(("127.0.0.1", free_port()))
        host.listen(1024)
        yield f"http://127.0.0.1:{host.getsockname()[1]}/"


def test_a_silent_host_delays_only_its_own(db, silent_host, one):
    dead = [db.saga(step(silent_host, None, {}), request_timeout=LONG, retry_interval=LONG) for _ in range(300)]
    wait_until(lambda: db.one("select sum(in_flight) from dtm.stat_coordinator where datname = current_database()")
               >= 100, "as many calls hang as one host may have")
    live = [db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {})) for _ in range(20)]
    assert set(db.wait_all(live).values()) == {"succeed"}
    assert {s for s, in db.q("select distinct status from dtm.trans where gid = any(%s)", dead)} == {"submitted"}
