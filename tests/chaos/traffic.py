"""What the clients of the chaos run order, and those of them who do so in SQL: each transfer is a business row and a
submit in one local transaction.

A client writes down what it was told: acknowledged, rolled back, or nothing, because its connection broke after
COMMIT was sent. The oracle holds that against the tables. Everything about transfer n of client c follows from
the seed, its gid included. The clients of the API are in api_traffic.py.
"""
import json
import queue
import random
import threading
import time
from collections import Counter

import psycopg

from ledger import ACCOUNTS

SESSIONS = 5
ENDINGS = {"commit": 50, "rollback": 8, "savepoint": 8, "several": 6, "prepare": 10, "prepare and roll back": 4,
           "shot": 10, "leave": 2}


def drawn(r, weights):
    return r.choices(list(weights), list(weights.values()))[0]


class Transfer:
    """What one client orders; decided by the seed alone."""
    kinds = {"saga": 3, "msg": 1}
    endings = dict.fromkeys(kinds, ENDINGS)

    def __init__(self, seed, client, number, banks):
        r = self.random = random.Random(f"{seed}/client/{client}/{number}")
        self.gid = f"c{client}-{number}"
        self.kind = drawn(r, self.kinds)
        self.ending = drawn(r, self.endings[self.kind])
        steps = r.randint(1, 3) if self.kind == "msg" else r.randint(2, 4)
        self.banks = [r.choice(banks) for _ in range(steps)]
        amounts = [r.randint(1, 1000) for _ in range(steps)]
        if self.kind != "msg":  # what one step takes the others give
            amounts = [-n for n in amounts[1:]] + [sum(amounts[1:])]
        self.amount = sum(amounts)
        self.payloads = [{"account": f"a{r.randrange(ACCOUNTS)}", "amount": n} for n in amounts]
        self.options, self.after = {}, [None] * steps
        getattr(self, "choose_" + self.kind)(r, steps)
        if r.random() < 0.2:
            self.options["request_timeout"] = r.randint(1, 2)
        if r.random() < 0.1:
            self.options["branch_headers"] = {"X-Chaos": self.gid}

    def choose_saga(self, r, steps):
        if r.random() < 0.15:
            self.payloads[r.randrange(steps)]["refuse"] = True
        if r.random() < 0.35:
            self.options["concurrent"] = True
            if r.random() < 0.5:
                self.after = [r.sample(range(i), r.randint(0, i)) or None for i in range(steps)]
        if r.random() < 0.25:
            self.options["timeout_to_fail"] = r.randint(1, 6)
        if r.random() < 0.2:
            self.options["retry_limit"] = r.randint(1, 3)
        if r.random() < 0.15:
            self.options["exact_progress"] = True

    def choose_msg(self, r, _):
        if r.random() < 0.15:
            self.options["delay"] = r.randint(1, 3)

    @property
    def plan(self):
        """What the oracle must know: kind, names of the banks, whether they come one after the other."""
        return self.kind, [b.name for b in self.banks], self.kind == "saga" and "concurrent" not in self.options

    def write(self, conn, gid):
        """Business row and submit."""
        conn.execute("insert into transfer values (%s, %s, %s, %s, %s)", (gid, *self.plan, self.amount))
        params, step = [self.kind], "dtm_step(%s, %s, %s::jsonb, %s::int[])"
        for bank, payload, after in zip(self.banks, self.payloads, self.after):
            params += [bank.url, bank.url if self.kind == "saga" else None, json.dumps(payload), after]
        conn.execute(f"select dtm_submit(%s, array[{', '.join([step] * len(self.banks))}]::jsonb[], %s, %s::jsonb)",
                     (*params, gid, json.dumps(self.options)))


class Assassin(threading.Thread):
    """Terminates the sessions whose pids it is given, as fast as it can: around their COMMIT, mostly."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.orders = cluster, queue.SimpleQueue()

    def run(self):
        conn = None
        while (pid := self.orders.get()) is not None:
            try:
                if conn is None or conn.closed:
                    conn = self.cluster.connect("postgres", connect_timeout=5)
                conn.execute("select pg_terminate_backend(%s)", (pid,))
            except psycopg.Error:
                conn = None


class Client(threading.Thread):
    """Orders one transfer after the other until it is told to stop."""
    transfer = Transfer

    def __init__(self, number, seed, town):
        super().__init__(name=f"client-{number}", daemon=True)
        self.number, self.seed, self.town = number, seed, town
        self.pace = random.Random(f"{seed}/pace/{number}")
        self.stopping = threading.Event()
        self.book = {}       # gid: acknowledged, rolled back, unknown, or what api_traffic.py says
        self.ordered = 0
        self.endings = Counter()
        self.failure = None

    def next_transfer(self):
        self.ordered += 1
        found = self.transfer(self.seed, self.number, self.ordered, self.town.banks)
        self.endings[found.ending] += 1
        return found

    def rest(self):
        """Leaves the machine to the others."""
        self.stopping.wait(self.pace.uniform(0, 0.15))


class Session(Client):
    """A client in SQL; reconnects for ever."""

    def __init__(self, number, seed, town, assassin):
        super().__init__(number, seed, town)
        self.assassin = assassin
        self.conn = None
        self.prepared = []   # (when, gid) that this client will finish
        self.verbs = {}      # gid: what becomes of it once it is prepared

    def run(self):
        todo = None
        while not self.stopping.is_set():
            try:
                if self.conn is None or self.conn.closed:
                    self.conn = self.town.main.connect(autocommit=False, connect_timeout=5,
                                                       options="-c lock_timeout=20s")
                if todo is None:
                    todo = self.next_transfer()
                    self.do(todo)
                elif self.book.get(todo.gid) == "unknown" and todo.random.random() < 0.5:
                    self.repeat(todo)
                todo = None
                self.finish_prepared(time.monotonic())
                self.rest()
            except (psycopg.OperationalError, psycopg.InterfaceError):
                self.lose_connection()
            except Exception as error:  # shown by the run; a thread cannot fail it
                self.failure = error
                return
        self.lose_connection()

    def lose_connection(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = None
        self.stopping.wait(0.05)

    def do(self, t):
        """Until COMMIT or PREPARE is sent, a broken connection means rolled back; after it, nothing."""
        self.book[t.gid] = "rolled back"
        if t.ending == "savepoint":
            self.book[t.gid + "-dropped"] = "rolled back"
            self.conn.execute("savepoint s")
            t.write(self.conn, t.gid + "-dropped")
            self.conn.execute("rollback to s")
            self.conn.execute("savepoint r")
        t.write(self.conn, t.gid)
        if t.ending == "savepoint":
            self.conn.execute("release r")
        if t.ending == "several":
            self.book[t.gid + "-too"] = "rolled back"
            t.write(self.conn, t.gid + "-too")
        if t.ending == "rollback":
            return self.conn.rollback()
        if t.ending == "leave":
            self.conn.close()
            return None
        if t.ending.startswith("prepare"):
            return self.prepare(t)
        if t.ending == "shot":
            self.assassin.orders.put(self.conn.info.backend_pid)
        gids = [t.gid] + [t.gid + "-too"] * (t.ending == "several")
        self.book.update(dict.fromkeys(gids, "unknown"))
        self.conn.commit()
        self.book.update(dict.fromkeys(gids, "acknowledged"))
        return None

    def prepare(self, t):
        """COMMIT PREPARED comes seconds later, after the run at the latest."""
        self.verbs[t.gid] = "commit" if t.ending == "prepare" else "rollback"
        if t.ending == "prepare":
            self.book[t.gid] = "unknown"
        self.conn.execute(f"prepare transaction '{t.gid}'")
        self.conn.rollback()
        if t.ending == "prepare":
            self.book[t.gid] = "acknowledged"
        self.prepared.append((time.monotonic() + t.random.uniform(0, 3), t.gid))

    def finish_prepared(self, now):
        for due in [p for p in self.prepared if p[0] <= now]:
            self.conn.autocommit = True
            try:
                self.conn.execute(f"{self.verbs[due[1]]} prepared '{due[1]}'")
            except psycopg.errors.UndefinedObject:
                pass  # an earlier try had done it
            self.conn.autocommit = False
            self.prepared.remove(due)

    def repeat(self, t):
        """The client asks its own row what became of the COMMIT, and submits again if it is not there."""
        if t.ending not in ("commit", "shot", "savepoint"):
            return
        there = self.conn.execute("select from transfer where gid = %s", (t.gid,)).fetchone()
        if there is None:
            try:
                t.write(self.conn, t.gid)
            except psycopg.errors.UniqueViolation:
                self.conn.rollback()  # the first COMMIT was still under way
        self.conn.commit()
        self.book[t.gid] = "acknowledged"
        self.endings["repeated"] += 1


def finish_prepared(cluster, sessions):
    """What two-phase clients left behind, as a transaction manager would."""
    verbs = {gid: verb for s in sessions for gid, verb in s.verbs.items()}
    for gid, in cluster.sql("select gid from pg_prepared_xacts"):
        cluster.sql(f"{verbs[gid]} prepared '{gid}'")
