"""Limits of the coordinator (issue 5, point 10), those of README's table Limits that need a server. The others:

request, gid, steps, URL, headers            tests/unit/wire_refusal_test.cpp
answer of a service                          tests/unit/net_client_test.cpp, test_results.py
calls in flight, of all hosts and of one     tests/unit/net_limits_test.cpp, test_dead_host.py
places of a host that does not keep up       tests/unit/net_slow_host_test.cpp, test_dead_host.py
idle hosts that are remembered               tests/unit/net_breaker_test.cpp
"""
import json
import re
import time
from pathlib import Path

import pytest

from api import Api, Raw, listen_settings, wait_listening
from cluster import DEADLINE, free_port, wait_until
from dtm import step

MIB = 1 << 20
LONG = 1000  # seconds: nothing happens because of it during a test


def private_bytes(pid):
    """Memory that is this process' alone: shared buffers and the code of libraries are not."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(kb) for kb in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))


class Memory:
    """The most that the coordinator has had at one of the looks."""

    def __init__(self, pid):
        self.pid, self.most = pid, 0

    def look(self):
        self.most = max(self.most, private_bytes(self.pid))
        return self.most


def stat(db, column):
    return db.one(f"select {column} from dtm.stat_coordinator where datname = current_database()")


def multiply(db, gid, copies, due):
    """Copies of the row of a transaction, as if each had been submitted."""
    db.q("insert into dtm.trans (gid, trans_type, status, owner, request, next_cron_time, next_cron_interval)"
         " select %s || n, trans_type, status, owner, request, clock_timestamp() + %s::interval,"
         " next_cron_interval from dtm.trans, generate_series(1, %s) n where gid = %s",
         gid + "-", due, copies, gid)


@pytest.mark.settings({"autovacuum": "off", "max_wal_size": "8GB", "shared_buffers": "256MB",
                       "dtm.breaker_max_interval": 5})
def test_a_million_unfinished_transactions(own_cluster, session, one):
    """Half of them wait for their time; the others are due, and nobody is there to be called."""
    db = session(own_cluster)
    dead = f"http://127.0.0.1:{free_port()}/"
    models = [db.saga(step(dead, dead, {"n": 1}), step(dead, dead, {"n": 2}), request_timeout=1) for _ in range(2)]
    multiply(db, models[0], 500_000, "1 hour")
    multiply(db, models[1], 500_000, "0 s")
    assert db.one("select count(*) from dtm.trans where next_cron_time is not null") >= 1_000_000
    memory = Memory(own_cluster.coordinators()[0])
    before = taken = stat(db, "taken_by_sweep")
    moved = time.monotonic()
    while taken < before + 500_000:
        live = db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}))
        db.wait(live, "succeed")
        memory.look()
        assert stat(db, "active") <= 10_000
        now = stat(db, "taken_by_sweep")
        moved = time.monotonic() if now > taken else moved
        assert time.monotonic() - moved < DEADLINE, f"it takes up no more: {now - before}"
        taken = now
    assert memory.look() < 256 * MIB
    print(f"1 000 000 unfinished, {taken - before} taken up: {memory.most / MIB:.0f} MiB")
    assert db.one("select sum(attempts) from dtm.trans where gid like %s", models[0] + "-%") == 0


def test_large_requests_wait_in_the_table(own_cluster, session, one):
    """128 MiB of requests are held, however many transactions dtm.max_active allows."""
    db = session(own_cluster)
    name, following = db.new_gid("gate"), db.new_gid("next")
    hosts = one.hosts(200)
    model = db.saga(step(hosts[0] + f"hold/{name}", None, "x" * 900_000), step(one.url(f"ok/{following}"), None, {}),
                    request_timeout=LONG)
    one.wait_calls(1, gid=model)
    db.q("insert into dtm.trans (gid, trans_type, status, owner, request, next_cron_time, next_cron_interval)"
         " select gid || '-' || n || '-' || c, trans_type, status, owner, replace(request, %s, host),"
         " clock_timestamp(), next_cron_interval from dtm.trans, generate_series(1, 2) c,"
         " unnest(%s::text[]) with ordinality h(host, n) where gid = %s", hosts[0], hosts, model)
    memory = Memory(own_cluster.coordinators()[0])
    wait_until(lambda: stat(db, "active") * 910_000 >= 128 * MIB, "as many are held as may be")
    for _ in range(20):
        db.q("select dtm_wait(%s, '100 ms')", model)  # the coordinator goes on meanwhile
        memory.look()
        assert stat(db, "active") <= 128 * MIB // 900_000 + 1  # the row that reaches the limit
    assert db.one("select count(*) from dtm.trans where status = 'submitted'") == 401
    print(f"400 requests of 900 kB: {memory.most / MIB:.0f} MiB")
    assert memory.most < 384 * MIB
    # Full as it is, it hears verbs about those that it holds.
    db.q("select dtm_force_stop(gid) from dtm.trans where status = 'submitted'")
    wait_until(lambda: stat(db, "ring") == 0, "it has heard all of them")
    one.release(name)
    wait_until(lambda: stat(db, "in_flight") == 0, "what was in flight has ended")
    db.passed_by(one)
    assert one.calls(name=following) == []


def test_many_short_branches_wait_in_the_table(own_cluster, session, one):
    """A branch costs a coordinator many times the length of its text."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    model = db.new_gid("many")
    db.submit_request({"gid": model, "trans_type": "msg", "concurrent": True, "request_timeout": LONG,
                       "steps": [{"action": host + f"hold/{name}"} for host in one.hosts(2)] * 500,
                       "payloads": [""] * 1000})
    one.wait_calls(1, gid=model)
    multiply(db, model, 3000, "0 s")
    memory = Memory(own_cluster.coordinators()[0])
    wait_until(lambda: stat(db, "active") > 50, "it has taken up some of them")
    for _ in range(60):
        db.q("select dtm_wait(%s, '100 ms')", model)  # the coordinator goes on meanwhile
        assert memory.look() < 384 * MIB, f"{stat(db, 'active')} of 1000 branches each"
    print(f"3000 messages of 1000 branches, {stat(db, 'active')} held: {memory.most / MIB:.0f} MiB")
    live = db.saga(step(one.hosts(3)[2] + "ok/a", None, {}))
    db.wait(live, "succeed")
    db.q("select dtm_force_stop(gid) from dtm.trans where status = 'submitted'")
    one.release(name)


def test_large_registered_branches_wait_in_the_table(own_cluster, session, one):
    """64 rows that are read together may have 512 MiB of them."""
    db = session(own_cluster)
    name, model = db.new_gid("gate"), db.new_gid("tcc")
    body = {"gid": model, "trans_type": "tcc"}
    db.q("select dtm_prepare(%s::jsonb)", json.dumps({**body, "timeout_to_fail": LONG, "request_timeout": LONG}))
    for n in range(8):
        url = one.url(f"hold/{name}")
        db.q("select dtm_register_branch(%s::jsonb)", json.dumps(
            {**body, "branch_id": f"{n + 1:02}", "confirm": url, "cancel": url, "data": json.dumps("x" * 900_000)}))
    db.q("insert into dtm.trans_branch (gid, branch_id, op, url, cancel, status, data)"
         " select gid || '-' || n, branch_id, op, url, cancel, status, data"
         " from dtm.trans_branch, generate_series(1, 64) n where gid = %s", model)
    db.q("select dtm_submit(%s::jsonb)", json.dumps(body))
    one.wait_calls(1, gid=model)
    memory = Memory(own_cluster.coordinators()[0])
    multiply(db, model, 64, "0 s")
    wait_until(lambda: stat(db, "active") >= 10, "it has taken up some of them")
    for _ in range(20):
        db.q("select dtm_wait(%s, '100 ms')", model)  # the coordinator goes on meanwhile
        memory.look()
        assert stat(db, "active") <= 128 * MIB // (8 * 900_000) + 1
    print(f"64 times 8 registered branches of 900 kB: {memory.most / MIB:.0f} MiB")
    assert memory.most < 256 * MIB
    db.q("select dtm_force_stop(gid) from dtm.trans where status = 'submitted'")
    one.release(name)


def test_large_requests_of_a_slow_host_leave_memory_to_others(own_cluster, session, one, two):
    db = session(own_cluster)
    name = db.new_gid("gate")
    model = db.saga(step(one.url(f"hold/{name}"), None, "x" * 900_000), request_timeout=LONG)
    one.wait_calls(1, gid=model)
    multiply(db, model, 400, "0 s")
    live = [db.saga(step(two.url("ok/a"), None, "x" * 900_000)) for _ in range(20)]
    assert set(db.wait_all(live).values()) == {"succeed"}
    wait_until(lambda: stat(db, "active") * 900_000 < 128 * MIB / 2 and len(one.calls(name=name)) >= 40,
               "it holds a third, the others are in the table")
    assert len(one.calls(name=name)) <= 128 * MIB / 900_000 / 2
    db.q("select dtm_force_stop(gid) from dtm.trans where status = 'submitted'")


@pytest.mark.settings({**listen_settings(), "dtm.max_in_flight_per_host": 20, "autovacuum": "off"})
def test_answers_are_not_fetched_without_end_while_a_commit_waits(own_cluster, session, one, two):
    """For a standby that is away: with 32 MiB of answers nobody is called before the coordinator has taken them."""
    wait_listening(Api(own_cluster)).close()
    db = session(own_cluster)
    name, size = db.new_gid("gate"), 1 << 16
    gids = [db.new_gid("large") for _ in range(1000)]
    with db.conn.transaction():
        for gid in gids:
            db.saga(step(one.url(f"hold/{name}", size=size), None, {}), gid=gid, request_timeout=LONG)
    wait_until(lambda: db.q("select in_flight, waiting from dtm.stat_endpoint where endpoint = %s", one.url("")[:-1])
               == [(20, 980)], "the others stand in line")

    def called():
        return one.query("select count(*) from call where name = ?", name)[0][0]
    db.q("set synchronous_commit = local")
    own_cluster.reload(synchronous_standby_names="away")
    try:
        last = db.saga(step(two.url("ok/a"), None, {}))
        wait_until(lambda: db.one("select wait_event from pg_stat_activity where backend_type = 'dtm coordinator'")
                   == "SyncRep", "its commit waits")
        one.set_mode(name, "huge")
        one.release(name)
        wait_until(lambda: called() * size >= 32 * MIB, "as many are called as may be")
        for _ in range(100):  # the network thread goes round meanwhile, and the service answers
            with Raw(own_cluster) as raw:
                assert raw.send("NONSENSE\r\n\r\n").answer().status == 400
            one.control("ping")
            assert called() <= 20 + 32 * MIB // size + 20
    finally:
        own_cluster.reload(synchronous_standby_names="")
    assert set(db.wait_all([*gids, last]).values()) == {"succeed"}
    assert called() == 1000


@pytest.mark.settings({"dtm.max_in_flight_per_host": 1, "autovacuum": "off"})
def test_calls_that_come_back_leave_their_memory_to_others(own_cluster, session, one, two):
    """Each change of the orders brings back what stands in line behind a call, and JSON-RPC makes a body for each."""
    db = session(own_cluster)
    gate = db.new_gid("gate")
    url = one.url(f"hold/{gate}") + "?method=add"
    for _ in range(10):
        db.submit("saga", [step(url, None, {"x": "x" * 90_000}) for _ in range(10)], protocol="json-rpc",
                  concurrent=True, request_timeout=LONG)
    one.wait_calls(1, name=gate)
    wait_until(lambda: stat(db, "in_flight") == 100, "one is called, the others stand in line")
    bodies = 0
    while bodies < 2 * 128 * MIB:
        for verb in ("pause", "resume"):
            db.q(f"select dtm_{verb}(host => 'http://nobody')")
            db.passed_by(two)
            bodies += 99 * 90_000
    assert stat(db, "in_flight") == 100
    assert len(one.calls(name=gate)) == 1
    db.each_open("force_stop", db.gids)
    one.release(gate)


@pytest.mark.settings({"dtm.max_active": 50})
def test_active_transactions_are_limited(own_cluster, session, one):
    db = session(own_cluster)
    name = db.new_gid("gate")
    gids = [db.new_gid("held") for _ in range(300)]
    with db.conn.transaction():
        for gid, host in zip(gids, 3 * one.hosts(100)):
            db.saga(step(host + f"hold/{name}", None, {}), gid=gid, request_timeout=LONG)
    one.wait_calls(50, name=name)
    wait_until(lambda: stat(db, "active") == 50, "as many are held as may be")
    assert len(one.calls(name=name)) == 50
    one.release(name)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert len(one.calls(name=name)) == 300


@pytest.mark.settings({"dtm.max_active": 10})
def test_hints_beyond_those_that_are_kept_are_found_by_the_sweep(own_cluster, session, one):
    """4096 of those that it has read wait for room, and 4096 that it has not read; the table has the rest."""
    db = session(own_cluster)
    name = db.new_gid("gate")
    held = [db.saga(step(host + f"hold/{name}", None, {}), request_timeout=LONG) for host in one.hosts(10)]
    one.wait_calls(10, name=name)
    gids = [db.new_gid("many") for _ in range(9000)]
    with db.conn.transaction():
        db.q("select dtm_submit('saga', array[dtm_step('')], gid) from unnest(%s::text[]) gid", gids)
    wait_until(lambda: (stat(db, "ring"), stat(db, "active")) == (0, 10), "it has read them all")
    before = stat(db, "taken_by_sweep")
    one.release(name)
    assert set(db.wait_all(held + gids).values()) == {"succeed"}
    assert stat(db, "taken_by_sweep") - before >= 9000 - 2 * 4096


def test_the_view_of_hosts_is_limited(own_cluster, session, one):
    """64 hosts, those with trouble first."""
    db = session(own_cluster)
    ports = [free_port() for _ in range(80)]
    for port in ports:
        db.saga(step(f"http://127.0.0.1:{port}/", None, {}), retry_interval=LONG)
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    wait_until(lambda: db.one("select count(*) from dtm.stat_endpoint where errors > 0") == 64, "64 are shown")
    assert db.one("select count(*) from dtm.stat_endpoint") == 64


def test_descriptors_that_run_out_are_no_fault_of_the_hosts(own_cluster, session, one, two):
    """Half of them are for calls, the last eighth of these for hosts that have none."""
    own_cluster.descriptors = 300
    own_cluster.restart()
    own_cluster.wait_coordinator()
    db = session(own_cluster)
    name = db.new_gid("gate")
    held = [db.saga(step(host + f"hold/{name}", None, {}), request_timeout=LONG) for host in 4 * one.hosts(100)]
    one.wait_calls(100, name=name)
    for _ in range(3):
        db.wait(db.saga(step(two.url("ok/a"), None, {})), "succeed")
    assert db.one("select count(*) from dtm.stat_endpoint where errors > 0 or breaker <> 'closed'") == 0
    assert len(one.calls(name=name)) < 150
    one.release(name)
    assert set(db.wait_all(held).values()) == {"succeed"}
