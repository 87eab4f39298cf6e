"""What the chaos run happens to: the cluster that coordinates, the cluster of the banks, the banks.

Promises that nothing is left behind, as tests/e2e/cluster.py does; call everything from the main thread.
"""
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from api import listen_settings  # noqa: E402
from cluster import Cluster, free_port, wait_until  # noqa: E402
from ledger import ACCOUNTS, START, Sqlite  # noqa: E402

SCRIPT = HERE.parents[1] / "src" / "script" / "dtm_pg_barrier.sql"
LOCAL = 1_000_000  # money of the town itself; messages spend it
# The town's books: a row in the commit that submits. What a message sends is gone from here with it.
TOWN = "create table transfer(gid text primary key, kind text not null, banks text[] not null, serial bool not null," \
       " amount bigint not null)"

# SQLSTATEs of ordinary sessions that would be a defect of the server or the extension.
INTERNAL = re.compile(r" (XX\d{3}|22P0[0-9]|42[0-9A-Z]{3}) (ERROR|WARNING|FATAL):")
PREPARED_GONE = re.compile(r" 42704 ERROR:  prepared transaction with identifier .* does not exist")
OURS = re.compile(r"\bdtm (launcher|coordinator)\b.* (WARNING|ERROR|FATAL|PANIC):|recalcitrant")
# What our processes may say when the server dies or is told to stop.
SENT_HOME = re.compile(r"terminating (background worker|connection|dtm)|due to administrator command"
                       r"|because of crash of another server process|unexpected postmaster exit"
                       r"|canceling authentication due to timeout"  # what SIGTERM says before a session is one
                       r"|database system is (starting up|shutting down|in recovery mode)")


class Bank:
    """A participant process; the same port, accounts and trace in every life."""

    def __init__(self, name, kind, place, directory, seed):
        self.name, self.kind, self.place, self.seed = name, kind, place, seed
        self.port = free_port()
        self.trace = directory / f"{name}.trace"
        self.process, self.life, self.is_calm = None, 0, False

    def start(self):
        self.life += 1
        command = ["/usr/bin/python3", str(HERE / "bank.py"), str(self.port), self.kind, self.place, str(self.trace),
                   "--seed", str(self.seed), "--life", str(self.life)] + ["--calm"] * self.is_calm
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=sys.__stderr__)
        return self

    def died(self):
        """It ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def host(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self):
        """For everything that it is asked to do."""
        return f"{self.host}/bank/{self.name}"

    def control(self, verb):
        try:
            return urllib.request.urlopen(f"{self.host}/_ctl/{verb}", timeout=10).read().decode()
        except OSError:
            return None

    def calm_down(self):
        self.is_calm = True
        if self.process is None or self.died():
            self.start()
        wait_until(lambda: self.control("calm"), f"{self.name} answers")

    def records(self):
        """(time, gid, branch_id, op, what, detail) of everything that happened to calls."""
        if not self.trace.exists():
            return
        for line in self.trace.read_text().splitlines():
            fields = line.split("\t")
            if len(fields) == 6:
                yield (float(fields[0]), *fields[1:])


class PostgresBank(Bank):
    def __init__(self, name, kind, shops, directory, seed):
        super().__init__(name, kind, f"{shops.dsn(name)} application_name={name}", directory, seed)
        self.shops = shops

    def create(self):
        self.shops.sql(f"create database {self.name}", dbname="postgres")
        with self.shops.connect(self.name) as conn:
            if self.kind == "script":
                conn.execute(SCRIPT.read_text())
            elif self.kind != "none":
                conn.execute("create extension dtm_pg")
            conn.execute((HERE / "bank.sql").read_text())
            if self.kind == "branch":
                conn.execute("select dtm_protect('account', true), dtm_protect('effect', true)")
            if self.kind == "call":
                conn.execute(f"alter database {self.name} set dtm.strict_barrier = on")

    def money(self):
        return self.shops.sql("select sum(balance) from account", dbname=self.name)[0][0]

    def effects(self):
        return self.shops.sql("select gid, branch_id, op from effect order by id", dbname=self.name)


class SqliteBank(Bank):
    def __init__(self, name, directory, seed):
        super().__init__(name, "sqlite", str(directory / f"{name}.sqlite"), directory, seed)

    def create(self):
        db = Sqlite(self.place).db
        db.executemany("insert into account values(?, ?)", [(f"a{n}", START) for n in range(ACCOUNTS)])
        db.close()

    def query(self, sql):
        db = sqlite3.connect(self.place, timeout=30)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def money(self):
        return self.query("select sum(balance) from account")[0][0]

    def effects(self):
        return self.query("select gid, branch_id, op from effect order by id")


class Town:
    def __init__(self, directory, seed, unguarded=False):
        common = {"log_line_prefix": "%m [%p] %b %d %e ", "log_min_messages": "warning"}
        self.main = Cluster("chaos", {**common, "dtm.workers": 2, "dtm.request_timeout": 1, "dtm.retry_interval": 1,
                                      "dtm.max_retry_interval": 2, "dtm.max_in_flight_per_host": 25,
                                      "dtm.breaker_errors": 5, "dtm.breaker_max_interval": 3,
                                      "max_prepared_transactions": 200, **listen_settings()})
        self.shops = Cluster("shops", {**common, "max_connections": 120})
        kinds = ["call", "none" if unguarded else "barrier", "branch", "script"]
        self.banks = [PostgresBank(f"bank_{kind}", kind, self.shops, directory, seed) for kind in kinds]
        self.banks.append(SqliteBank("bank_sqlite", directory, seed))

    def __enter__(self):
        try:
            for cluster in (self.main, self.shops):
                cluster.expect("terminated by signal (9|3): ", "exited with exit code 2", "abnormal termination",
                               "FATAL:  connection to client lost", SENT_HOME.pattern)
                cluster.init().start()
            self.main.sql("create database bank", dbname="postgres")
            self.main.sql("create extension dtm_pg")
            self.main.sql(TOWN)
            alert = f"{self.banks[-1].host}/alert"
            self.main.sql(f"alter system set dtm.alert_webhook = '{alert}'")
            self.main.sql("select pg_reload_conf()")
            for bank in self.banks:
                bank.create()
                bank.start()
            for bank in self.banks:
                wait_until(lambda b=bank: b.control("ping"), f"{bank.name} answers")
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *_):
        self.destroy()

    def destroy(self):
        for bank in self.banks:
            bank.kill()
        for cluster in (self.main, self.shops):
            try:
                cluster.destroy()
            except AssertionError as error:
                print(f"# {cluster.name}: {error}")

    def wait_ready(self):
        """Both servers are up, with their coordinators. Whoever was killed must have been found dead: from then on
        the postmaster lets nobody in before the restart that it causes is over."""
        for cluster in (self.main, self.shops):
            cluster.wait_ready()

        def served():
            try:
                return len(self.main.coordinators()) == int(self.main.sql("show dtm.workers")[0][0])
            except psycopg.Error:
                return False
        wait_until(served, "as many coordinators as there should be")

    def money(self):
        spent = self.main.sql("select coalesce(sum(amount), 0) from transfer where kind = 'msg'")[0][0]
        return LOCAL - spent + sum(b.money() for b in self.banks)

    def start_money(self):
        return LOCAL + len(self.banks) * ACCOUNTS * START

    def bad_log_lines(self):
        for cluster in (self.main, self.shops):
            yield from (f"{cluster.name}: {line}" for line in cluster.bad_log_lines())
            for line in cluster.log_text().splitlines():
                internal = INTERNAL.search(line) and not PREPARED_GONE.search(line)
                if internal or OURS.search(line) and not SENT_HOME.search(line):
                    yield f"{cluster.name}: {line}"

    def keep_evidence(self, place):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for file in [self.main.log, self.shops.log] + [b.trace for b in self.banks]:
            if file.exists():
                shutil.copy(file, place / (f"{file.parent.name}.log" if file.name == "server.log" else file.name))
