"""A few hundred transfers between two banks while everything is killed at random.

DTM_SEED repeats a run (the seed is printed), DTM_CHAOS_SECONDS makes it longer. The oracle: money is
neither made nor lost, every acknowledged submit is final, a failed saga left no effect, a finished one all
of them, and nothing that was rolled back was ever called (P1-P6).
"""
import os
import random
import signal
import time

import pytest

from chaos import ACCOUNTS, START, Client, finish_prepared
from cluster import wait_until
from conftest import running_cluster, services
from service import Service

SEED = int(os.environ.get("DTM_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS = float(os.environ.get("DTM_CHAOS_SECONDS", 45))
CLIENTS = 4
LOCAL = 1_000_000  # money of the local account


@pytest.fixture
def banks():
    found = [Service(f"bank{n}", chaos=0.06, seed=SEED + n).start() for n in (1, 2)]
    services.extend(found)
    yield found
    for bank in found:
        services.remove(bank)
        bank.destroy()


@pytest.fixture
def town():
    with running_cluster("town", {"dtm.request_timeout": 1, "dtm.max_retry_interval": 2, "dtm.workers": 2,
                                  "max_prepared_transactions": 100}) as cluster:
        cluster.sql("create table transfer(gid text primary key, kind text, amount int)")
        cluster.sql("create table local_account(balance bigint)")
        cluster.sql("insert into local_account values (%s)", LOCAL)
        yield cluster


class Killer:
    """Chooses who dies next. Postmasters are started by the thread that runs the test (see Cluster)."""

    def __init__(self, town, banks):
        self.town, self.banks, self.random = town, banks, random.Random(SEED)
        self.done = {}

    def strike(self):
        kinds = ["terminate", "coordinator", "service", "postmaster", "backend", "launcher"]
        kind = self.random.choices(kinds, [4, 2, 3, 2, 1, 1])[0]
        getattr(self, kind)()
        self.done[kind] = self.done.get(kind, 0) + 1

    def pids(self, backend_type):
        try:
            return [p for p, in self.town.sql("select pid from pg_stat_activity where backend_type = %s"
                                              " and pid <> pg_backend_pid()", backend_type, dbname="postgres")]
        except Exception:  # a restart is under way: nobody to kill
            return []

    def signal(self, backend_type, how):
        pids = self.pids(backend_type)
        if pids:
            try:
                os.kill(self.random.choice(sorted(pids)), how)
            except ProcessLookupError:
                pass

    def terminate(self):
        self.signal("dtm coordinator", signal.SIGTERM)

    def coordinator(self):
        self.signal("dtm coordinator", signal.SIGKILL)

    def launcher(self):
        self.signal("dtm launcher", self.random.choice([signal.SIGKILL, signal.SIGTERM]))

    def backend(self):
        self.signal("client backend", signal.SIGKILL)

    def postmaster(self):
        self.town.kill_postmaster()
        self.town.start()

    def service(self):
        bank = self.random.choice(self.banks)
        bank.kill()
        time.sleep(self.random.random())  # a while without it; no test depends on how long
        bank.start()


def rage(town, banks, clients):
    """Kills until the time is over; leaves everything running."""
    killer = Killer(town, banks)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(killer.random.uniform(0.3, 2.0))
        killer.strike()
        for client in clients:
            assert client.failure is None, f"{client.name}: {client.failure!r}"
    print(f"killed: {killer.done}")
    wait_until(lambda: ready(town), "the town is quiet again")


def ready(town):
    """A crash restart that begins only now would break the look at the results."""
    try:
        first = town.sql("select pg_postmaster_start_time()")
        return len(town.coordinators()) == 2 and first == town.sql("select pg_postmaster_start_time()")
    except Exception:
        return False


def test_money_is_neither_made_nor_lost(town, banks):
    print(f"DTM_SEED={SEED}")
    town.expect_crash()
    town.expect("due to administrator command", "server closed the connection",
                "connection to client lost", "could not (send|receive) data")
    one, two = banks
    for n in range(ACCOUNTS):
        one.deposit(f"a{n}", START)
    clients = [Client(n, SEED, town, one, two) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        rage(town, banks, clients)
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(60)
    finish_prepared(town)
    committed = [g for c in clients for g in c.committed]
    rolled_back = [g for c in clients for g in c.rolled_back]
    unknown = [g for c in clients for g in c.unknown]
    print(f"{len(committed)} acknowledged, {len(rolled_back)} rolled back, {len(unknown)} unknown")
    assert len(committed) >= 100, "too little traffic to prove anything"

    wait_until(lambda: not open_ones(town), "every transaction ends", timeout=120, pause=0.5)
    found = dict(town.sql("select gid, status from dtm.trans"))
    business = {g for g, in town.sql("select gid from transfer")}
    assert business == set(found), "a business row without its transaction, or the reverse"
    assert set(committed) <= set(found), "acknowledged and lost"
    assert set(found) <= set(committed) | set(unknown), "nobody submitted these"
    assert not set(rolled_back) & set(found), "rolled back and alive"
    print({s: list(found.values()).count(s) for s in set(found.values())})
    check_effects(town, one, two, found, rolled_back)
    money = (town.sql("select balance from local_account")[0][0] + one.money() + two.money())
    assert money == LOCAL + ACCOUNTS * START, f"the sum of money changed by {money - LOCAL - ACCOUNTS * START}"


def open_ones(town):
    return town.sql("select gid, status from dtm.trans where status not in ('succeed', 'failed') limit 5")


def check_effects(town, one, two, found, rolled_back):
    """Each transaction's effects are all there or all undone, and nobody else's are."""
    effects = {}
    for bank in (one, two):
        for gid, branch, op in bank.query("select gid, branch_id, op from effect where verdict = 'run'"):
            effects.setdefault(gid, []).append(f"{branch} {op}")
        called = {g for g, in bank.query("select distinct gid from call where gid <> ''")}
        assert not called & set(rolled_back), "a rolled back submit was called"
        assert called <= set(found), "called without a transaction"
    kinds = dict(town.sql("select gid, kind from transfer"))
    for gid, status in found.items():
        done = sorted(effects.get(gid, []))
        assert len(done) == len(set(done)), f"{gid}: an effect happened twice: {done}"
        actions = [e.split()[0] for e in done if e.endswith("action")]
        undone = [e.split()[0] for e in done if e.endswith("compensate")]
        if status == "failed":
            assert kinds[gid] == "saga", f"{gid}: a message failed"
            assert actions == undone, f"{gid} failed and left {done}"
        else:
            assert actions == (["01", "02"] if kinds[gid] == "saga" else ["01"]), f"{gid} {status}: {done}"
            assert not undone, f"{gid} succeeded and was undone: {done}"
