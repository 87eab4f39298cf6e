"""The traffic of the chaos test: sessions that transfer money while others kill what they talk to.

Each transfer is a business row and a submit in one local transaction. The client writes down what it was
told: committed, rolled back, or nothing (the connection broke in COMMIT). That is what the oracle holds
against the tables and the ledgers afterwards.
"""
import json
import random
import threading
import uuid

import psycopg

ACCOUNTS = 10
START = 100_000  # money of every account of bank one


class Client(threading.Thread):
    """One submitting session; reconnects for ever."""

    def __init__(self, number, seed, cluster, one, two):
        super().__init__(name=f"client-{number}", daemon=True)
        self.random = random.Random(seed * 1000 + number)
        self.cluster, self.one, self.two = cluster, one, two
        self.conn = None
        self.stopping = threading.Event()
        self.committed, self.rolled_back, self.unknown = [], [], []
        self.failure = None

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.conn is None or self.conn.closed:
                    self.conn = self.cluster.connect(autocommit=False, connect_timeout=5)
                self.transfer()
                self.stopping.wait(self.random.uniform(0, 0.02))  # leaves the machine to the others
            except (psycopg.OperationalError, psycopg.InterfaceError):
                self.conn = None
                self.stopping.wait(0.05)
            except Exception as error:  # shown by the test; a thread cannot fail it
                self.failure = error
                return
        if self.conn is not None:
            self.conn.close()

    def transfer(self):
        gid = f"chaos-{uuid.UUID(int=self.random.getrandbits(128), version=4).hex}"
        kind = self.random.choice(["saga"] * 3 + ["msg"])
        how = self.random.choices(["commit", "rollback", "savepoint", "two-phase"], [10, 2, 1, 1])[0]
        if how == "two-phase":
            kind = "saga"  # a forgotten one must not keep the local account locked
        sure = False  # once COMMIT was sent, a broken connection says nothing about its fate
        try:
            if how == "savepoint":
                self.conn.execute("savepoint s")
                dropped = gid + "-dropped"
                self.submit(dropped, kind)
                self.conn.execute("rollback to s")
                self.rolled_back.append(dropped)
            self.submit(gid, kind)
            if how == "rollback":
                self.conn.rollback()
                self.rolled_back.append(gid)
                return
            if how == "two-phase":
                self.conn.execute(f"prepare transaction '{gid}'")
                self.conn.rollback()
                self.conn.autocommit = True
                self.conn.execute(f"commit prepared '{gid}'")
                self.conn.autocommit = False
            else:
                self.conn.commit()
            sure = True
            self.committed.append(gid)
        finally:
            if not sure and how != "rollback":
                self.unknown.append(gid)

    def submit(self, gid, kind):
        amount = self.random.randint(1, 100)
        source, target = (f"a{self.random.randrange(ACCOUNTS)}" for _ in range(2))
        take = json.dumps({"account": source, "amount": amount, "refuse": self.random.random() < 0.1})
        give = json.dumps({"account": target, "amount": amount, "refuse": self.random.random() < 0.1})
        self.conn.execute("insert into transfer values (%s, %s, %s)", (gid, kind, amount))
        if kind == "saga":
            concurrent = self.random.random() < 0.3
            self.conn.execute(
                "select dtm_submit('saga', array[dtm_step(%s, %s, %s::jsonb), dtm_step(%s, %s, %s::jsonb)],"
                " %s, %s::jsonb)",
                (self.one.url("bank/out"), self.one.url("bank/out"), take,
                 self.two.url("bank/in"), self.two.url("bank/in"), give,
                 gid, '{"concurrent": true}' if concurrent else None))
        else:
            # A message cannot fail: the money leaves the local account in the same commit.
            give = json.dumps({"account": target, "amount": amount})
            self.conn.execute("update local_account set balance = balance - %s", (amount,))
            self.conn.execute("select dtm_submit('msg', array[dtm_step(%s, null, %s::jsonb)], %s)",
                              (self.two.url("bank/in"), give, gid))


def finish_prepared(cluster):
    """What two-phase clients left behind when they lost their connection: commit it, as a transaction
    manager would. Returns the gids."""
    names = [n for n, in cluster.sql("select gid from pg_prepared_xacts where gid like 'chaos-%%'")]
    for name in names:
        cluster.sql(f"commit prepared '{name}'")
    return names
