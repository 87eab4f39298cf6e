"""Kills a server at a named point of its code and compares what becomes of it with what was promised.

A story is a function that drives transactions through a Run: every statement of it may be the last one of
its session, and says so when it is. Walk runs it once to learn which points it passes how often, then once for
each passage, with a kill there. Points are DTM_CRASH_POINT in src/.
"""
import fcntl
import itertools
import os
import queue
import re
import shutil
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import psycopg

from cluster import Cluster, wait_until
from dtm import FINAL, Dtm, step

SOURCES = Path(__file__).parents[2] / "src"
FUNDS = 100
LONG = 1000             # seconds: somebody has to do something
SECOND_PHASE = {"tcc": {"succeed": "confirm", "failed": "cancel"}, "xa": {"succeed": "commit", "failed": "rollback"}}
UNDOES = {"action": ("compensate", "rollback"), "try": ("cancel",),
          "compensate": ("action",), "rollback": ("action",), "cancel": ("try",)}
BY_CLIENT = "by=client"  # in the URL of calls that are not the coordinator's
numbers = itertools.count(1)


def points_in_source():
    found = Counter(name for path in SOURCES.rglob("*.cpp")
                    for name in re.findall(r'DTM_CRASH_POINT\("([^"]+)"\)', path.read_text()))
    assert set(found.values()) == {1}, f"two points of one name: {found.most_common(3)}"
    return set(found)


class CrashCluster(Cluster):
    """A server that kills itself where it is told to. `build`: a PrivateBuild with CRASH_POINTS=1."""

    def __init__(self, build, name, settings=None):
        super().__init__(name, {"shared_buffers": "16MB", "autovacuum": "off", "wal_keep_size": "256MB",
                                **(settings or {})})
        self.bindir = Path(build.bindir)
        self.crash_file, self.seen_file = self.root / "crash", self.root / "seen"
        self.environment = {**os.environ, "DTM_CRASH_FILE": str(self.crash_file),
                            "DTM_CRASH_SEEN": str(self.seen_file)}
        self.armed_at = 0   # offset in the log

    def arm(self, point, passage):
        self.armed_at = self.log_size()
        new = self.root / "crash.new"
        new.write_text(f"{point} {passage}")
        if os.geteuid() == 0:
            shutil.chown(new, "postgres", "postgres")
        new.rename(self.crash_file)

    def disarm(self):
        """True: somebody died at the point."""
        with open(self.crash_file, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the dying one holds it to the end
            empty = not file.read()
            file.truncate(0)
        return empty

    def seen_size(self):
        return self.seen_file.stat().st_size if self.seen_file.exists() else 0

    def seen(self, begin):
        with open(self.seen_file) as file:
            file.seek(begin)
            return Counter(file.read().split())

    def wait_recovery(self):
        """After a session was lost: the crash that took it is over."""
        def over():
            _, _, after = self.log_text(self.armed_at).partition("was terminated by signal 9")
            return "database system is ready to accept connections" in after
        wait_until(over, "crash restart", pause=0.02)
        self.wait_ready()


class Run:
    """One pass of a story. Every method comes back with the server alive, whatever died meanwhile."""

    def __init__(self, cluster, service):
        self.cluster, self.service = cluster, service
        self.id = f"crash-{next(numbers)}"
        self.db = None
        self.expected = {}   # gid: {status: effects, None: whatever the rules below allow}
        self.money = FUNDS   # at the end
        service.deposit(f"{self.id}-a", FUNDS)

    def close(self):
        if self.db is not None:
            self.db.close()
            self.db = None

    # --- statements -------------------------------------------------------------------------------

    def attempt(self, job):
        """(True, what job(db) returns); (False, None) when the server died on the way."""
        try:
            if self.db is None:
                self.db = Dtm(self.cluster)
            return True, job(self.db)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if self.db is not None and not self.db.conn.closed:
                raise
            self.server_was_lost()
            return False, None

    def server_was_lost(self):
        self.close()
        self.cluster.wait_recovery()

    def q(self, sql, *params):
        """A statement that may be repeated."""
        while True:
            done, rows = self.attempt(lambda db: db.q(sql, *params))
            if done:
                return rows

    def one(self, sql, *params):
        rows = self.q(sql, *params)
        return rows[0][0] if rows else None

    def until(self, what, sql, *params):
        return wait_until(lambda: self.one(sql, *params), f"{self.id}: {what}", pause=0.02)

    def change(self, sql, *params, done):
        """A statement that must happen once. `done`: SQL that tells whether it has; its parameters are the
        last ones of `params`."""
        count = sql.replace("%%", "").count("%s")
        check = params[len(params) - done.count("%s"):]
        while not self.attempt(lambda db: db.q(sql, *params[:count]))[0]:
            if self.one(done, *check):
                return

    def verb(self, verb, gid, *arguments):
        """An operator's verb about a transaction: it and its event are there, or neither."""
        before = self.one("select count(*) from dtm.event where gid = %s and verb = %s", gid, verb)
        places = ", ".join(["%s"] * (1 + len(arguments)))
        self.change(f"select dtm_{verb}({places})", gid, *arguments, gid, verb, before,
                    done="select (select count(*) from dtm.event where gid = %s and verb = %s) > %s")
        after = self.one("select count(*) from dtm.event where gid = %s and verb = %s", gid, verb)
        assert after == before + 1, f"{verb} left {after - before} events"

    def order(self, verb, arguments, done):
        """A standing order; done: SQL that tells whether it stands."""
        self.change(f"select dtm_{verb}({arguments})", done=done)
        assert self.one(done), f"{verb}({arguments}) does not stand"

    # --- transactions -----------------------------------------------------------------------------

    def out(self, path="bank", undo=True):
        url = self.service.url(f"{path}/out")
        return step(url, url if undo else None, {"account": f"{self.id}-a", "amount": 5})

    def give(self, refuse=False, undo=True):
        url = self.service.url("bank/in")
        return step(url, url if undo else None, {"account": f"{self.id}-b", "amount": 5, "refuse": refuse})

    def idle(self, mode="ok", name="idle", **options):
        """A step without money."""
        return step(self.service.url(f"{mode}/{name}", **options), self.service.url("ok/undo"), {})

    def new_gid(self, expected):
        """expected: {status: effects} as of begin()."""
        gid = f"{self.id}-{len(self.expected)}"
        self.expected[gid] = expected
        return gid

    def begin(self, *stories):
        """Submits with one COMMIT. Each story: (trans_type, steps, options, {status: effects}). When the
        COMMIT did not come back, all are there or none, and then nothing was called (P2)."""
        gids = [f"{self.id}-{len(self.expected) + i}" for i in range(len(stories))]

        def submit(db):
            with db.conn.transaction():
                for gid, (kind, steps, options, _) in zip(gids, stories):
                    db.submit(kind, steps, gid=gid, **options)
        while not self.attempt(submit)[0]:
            there = self.one("select count(*) from dtm.trans where gid = any(%s)", gids)
            assert there in (0, len(gids)), f"{there} of {gids} were committed"
            if there:
                break
            assert not any(self.service.calls(gid=g) for g in gids), f"{gids} were called, but never were"
        for gid, (_, _, _, expected) in zip(gids, stories):
            self.expected[gid] = expected
        return gids

    def half_done(self, expected, *more, mode="ongoing"):
        """A saga that waits in its second step, until set_mode(run.id, "ok"); returns its gid."""
        steps = self.out(), self.idle(mode, self.id), *more
        [gid] = self.begin(("saga", steps, {"retry_interval": LONG}, expected))
        self.wait_attempts(gid, 1, "02")
        return gid

    def wait_attempts(self, gid, attempts, branch_id="01"):
        self.until(f"{gid} {branch_id} was tried {attempts} times and rests",
                   "select attempts >= %s and next_time is not null from dtm.branch"
                   " where gid = %s and branch_id = %s and op = 'action'", attempts, gid, branch_id)

    def wait_end(self, gids):
        self.until(f"{gids} end", "select count(*) = %s from dtm.trans where gid = any(%s)"
                   " and status in ('succeed', 'failed')", len(gids), gids)

    # --- the oracle -------------------------------------------------------------------------------

    def finish(self):
        self.wait_end(list(self.expected))
        self.check()

    def check(self):
        found = {g: (t, s) for g, t, s in self.q("select gid, trans_type, status from dtm.trans"
                                                 " where gid = any(%s)", list(self.expected))}
        for gid, expected in self.expected.items():
            kind, status = found.get(gid, (None, None))
            assert status in FINAL and status in expected, f"{gid} is {status}, not {list(expected)}"
            effects = self.service.effects(gid)
            assert len(effects) == len(set(effects)), f"{gid}: twice: {effects}"
            if expected[status] is not None:
                assert effects == sorted(expected[status]), f"{gid} is {status} with {effects}"
            else:
                self.check_undone(gid, effects)
            self.check_order(gid)
            if kind in SECOND_PHASE:
                self.check_second_phase(gid, SECOND_PHASE[kind][status])
        got = self.service.query("select sum(balance) from account where name like ?", f"{self.id}-_")[0][0]
        assert got == self.money, f"{got} in the accounts of {self.id}, not {self.money}"

    def check_undone(self, gid, effects):
        for effect in effects:
            branch, op = effect.split()
            others = [f"{branch} {other}" for other in UNDOES[op]]
            assert set(others) & set(effects), f"{gid}: {effect}, but not {' or '.join(others)}"

    def called_by_coordinator(self, gid):
        """(branch_id, op) of every branch."""
        return {(c.branch_id, c.op) for c in self.service.calls(gid=gid)
                if BY_CLIENT not in c.target and c.branch_id != "00"}

    def check_second_phase(self, gid, op):
        """Every registered branch is confirmed or every one is cancelled, and nothing else is called."""
        registered = {b for b, in self.q("select branch_id from dtm.trans_branch where gid = %s", gid)}
        called = self.called_by_coordinator(gid)
        assert called == {(b, op) for b in registered}, f"{gid}: {op} of {registered}, but called was {called}"

    def check_order(self, gid):
        """P4: nothing is done any more where undoing has begun. In a concurrent saga that is said of each
        branch: the others' actions were under way."""
        calls = [c.split() for c in self.service.sequence(gid)]
        concurrent = self.one("select request like '%%concurrent%%' from dtm.trans where gid = %s", gid)
        undone = set()
        for branch, op in calls:
            branch = branch if concurrent else "all"
            assert op != "action" or branch not in undone, f"{gid}: {calls}"
            undone |= {branch} if op == "compensate" else set()

    def evidence(self):
        for gid in self.expected:
            yield f"{gid}: {self.service.sequence(gid)} effects {self.service.effects(gid)}"
        try:
            with self.cluster.connect(connect_timeout=5) as conn:
                for gid in self.expected:
                    yield "\n".join(r[0] for r in conn.execute("select dtm_explain(%s)", (gid,)))
        except psycopg.Error as error:
            yield f"nothing to be had: {error}"
        yield self.cluster.log_tail(25)


class Walk:
    """Stories over several clusters at a time: most of a crash is waiting."""

    def __init__(self, clusters, service):
        self.clusters, self.service = clusters, service
        self.kills = Counter()      # (story, point): kills
        self.missed = Counter()     # passages that did not come this time
        self.seconds = 0.0
        self.begin = 0              # of the log of points, when the last story began

    def add(self, other):
        self.kills += other.kills
        self.missed += other.missed
        self.seconds += other.seconds

    def run(self, cluster, story, point=None, passage=0):
        """One pass; True when somebody died at the point. Raises AssertionError with all that is known."""
        run = Run(cluster, self.service)
        try:
            if hasattr(story, "before"):
                story.before(run)
            self.begin = cluster.seen_size()
            if point:
                cluster.arm(point, passage)
            story(run)
            run.finish()
            died = bool(point) and cluster.disarm()
            if died:
                cluster.wait_recovery()
                run.close()
                run.check()
            return died
        except Exception as error:
            text = "".join(traceback.format_exception_only(error))
            where = traceback.extract_tb(error.__traceback__)
            lines = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(where[-5:]))
            raise AssertionError(f"{story.__name__}, killed at {point} #{passage}: {text} ({lines})\n"
                                 + "\n".join(run.evidence())) from None
        finally:
            run.close()

    def plan(self, story, points, passages):
        """[(point, passage)]; the story runs once to find out."""
        cluster = self.clusters[0]
        self.run(cluster, story)
        passed = cluster.seen(self.begin)
        return [(p, n) for n in range(1, passages + 1) for p in sorted(passed)
                if n <= passed[p] and re.search(points, p)]

    def walk(self, story, points=".", passages=5):
        """Kills at each passage of each point that the story passes, up to so many of a point. points: a
        regular expression."""
        started = time.monotonic()
        jobs, failures = queue.Queue(), []
        for job in self.plan(story, points, passages):
            jobs.put(job)
        planned = jobs.qsize()
        killed = []

        def work(cluster):
            while len(failures) < 2:
                try:
                    point, passage = jobs.get_nowait()
                except queue.Empty:
                    return
                try:
                    # Once more for one that did not come: which ones do depends on who is how fast.
                    if any(self.run(cluster, story, point, passage) for _ in range(2)):
                        killed.append(point)
                    else:
                        self.missed[story.__name__, point] += 1
                except BaseException as failure:  # what a thread raises is lost
                    failures.append(str(failure) or repr(failure))
                    cluster.disarm()
        threads = [threading.Thread(target=work, args=(c,)) for c in self.clusters[1:]]
        for thread in threads:
            thread.start()
        work(self.clusters[0])  # in this thread: only the main one may start a server
        for thread in threads:
            thread.join()
        for point in killed:
            self.kills[story.__name__, point] += 1
        seconds = time.monotonic() - started
        self.seconds += seconds
        print(f"{story.__name__}: {len(killed)} kills at {len(set(killed))} points, "
              f"{planned - len(killed)} passages did not come, {seconds:.0f} s")
        assert not failures, "\n".join(failures)
        assert killed and planned - len(killed) <= max(1, planned / 3), f"only {len(killed)} of {planned} passages came"
