"""Who is killed, stopped, paused or reconfigured, and when. Kinds, order, targets and pauses follow from the seed.

Everything happens in the main thread, because a postmaster dies with the thread that started it.
"""
import heapq
import os
import random
import signal
import threading
import time
from collections import Counter

import psycopg

from cluster import children, wait_until

# How often, relative to each other.
WEIGHTS = {
    "coordinator terminated": 5, "coordinator killed": 4, "coordinator frozen": 2,
    "launcher terminated": 1, "launcher killed": 1,
    "sessions terminated": 6, "session killed": 1,
    "postmaster killed": 2, "postmaster quit": 2, "server restarted": 1,
    "shops' sessions terminated": 4, "shops' session killed": 1,
    "shops' postmaster killed": 1, "shops' postmaster quit": 1,
    "bank killed": 4, "bank down": 3,
    "workers changed": 4, "everything paused": 2, "host paused": 3, "transactions paused": 6,
    "retried now": 5, "redirected": 2, "rows locked": 1,
    "coordinator killed behind lock": 5,
}
RESUME_HOST, RESUME_ALL = "select dtm_resume(host => %s)", "select dtm_resume(everything => true)"
UNFINISHED = "status not in ('succeed', 'failed')"


class Director:
    def __init__(self, seed, town):
        self.seed, self.town = seed, town
        self.random = random.Random(f"{seed}/director")
        self.later = []          # (when, number, function): what has to follow
        self.number = 0
        self.done = Counter()
        self.script = list(WEIGHTS)
        self.random.shuffle(self.script)  # each kind once, then as the weights say
        self.down = set()        # banks that somebody will start again
        self.standing = {}       # what was ordered: whether the server said so
        self.overruled = []      # orders that were gone before they were taken back
        self.began = {}          # when a pause was carried out
        self.quiet = []          # (host or None for all, from, to): when nothing new may have arrived
        self.seconds = 0
        self.killed = []         # (cluster, pid): each of them restarts all of its server's processes

    # --- time ---------------------------------------------------------------------------------------

    def follow(self, seconds, function):
        self.number += 1
        heapq.heappush(self.later, (time.monotonic() + seconds, self.number, function))

    def run(self, seconds, check):
        """Rages for so long; `check` is called all the time and may raise."""
        self.seconds = seconds
        end = time.monotonic() + seconds
        strike = time.monotonic() + 1
        while time.monotonic() < end:
            check()
            self.find_dead_banks()
            while self.later and self.later[0][0] <= time.monotonic():
                heapq.heappop(self.later)[2]()
            if strike <= time.monotonic():
                self.strike(self.next_kind(), random.Random(self.random.random()))
                strike = time.monotonic() + self.random.uniform(0.2, 1.6)
            time.sleep(0.05)

    def next_kind(self):
        """Each once, then as the weights say; what could not be done comes again between the others."""
        scripted = len(self.script) > 1 or self.script and self.random.random() < 0.5
        return self.script.pop() if scripted else self.random.choices(list(WEIGHTS), WEIGHTS.values())[0]

    def strike(self, kind, r):
        if r.random() < 0.8:  # the others hit a server that may be recovering
            wait_until(lambda: self.ask(self.town.main, "select 1"), "the server accepts connections")
        name = kind.replace(" ", "_").replace("'", "")
        if getattr(self, name)(r) is not False:
            self.done[kind] += 1
        elif not self.done[kind] and kind not in self.script:
            self.script.insert(0, kind)

    # --- help ---------------------------------------------------------------------------------------

    def ask(self, cluster, sql, *params, dbname=None):
        """Rows, or None where the server is not there or says no."""
        try:
            return cluster.sql(sql, *params, dbname=dbname)
        except psycopg.Error:
            return None

    def order(self, sql, *params):
        """An operator's verb; whether it was carried out."""
        return self.ask(self.town.main, sql, *params) is not None

    def stand(self, seconds, order, undo, *params):
        """Gives an order for so long. What was given must be there to be taken back, whatever happens between."""
        if (undo, params) in self.standing:
            return False
        try:
            self.town.main.sql(order, *params)
            self.standing[undo, params] = True
            self.began[undo, params] = time.time()
        except psycopg.OperationalError:
            self.standing[undo, params] = False  # nobody knows
        except psycopg.Error:
            return False
        self.follow(seconds, lambda: self.take_back(undo, params))
        return True

    def take_back(self, undo, params):
        end = time.time()
        try:
            with self.town.main.connect() as conn:
                try:
                    conn.execute(undo, params)
                except psycopg.OperationalError:
                    self.standing[undo, params] = False
                    raise
        except psycopg.OperationalError:
            return self.follow(0.5, lambda: self.take_back(undo, params))
        except psycopg.Error as error:
            if self.standing[undo, params]:
                self.overruled.append((params, f"{undo}: {error}"))
        began = self.began.pop((undo, params), None)
        if began and self.standing[undo, params] and undo in (RESUME_HOST, RESUME_ALL):
            self.quiet.append((params[0] if params else None, began, end))
        return self.standing.pop((undo, params))

    def signal_one(self, cluster, backend_type, how, r):
        rows = self.ask(cluster, "select pid from pg_stat_activity where backend_type = %s and pid <> pg_backend_pid()"
                        " order by pid", backend_type, dbname="postgres")
        if not rows:
            return False
        try:
            pid = r.choice(rows)[0]
            os.kill(pid, how)
        except ProcessLookupError:
            return False
        if how == signal.SIGKILL:
            self.killed.append((cluster, pid))
        return pid

    def terminate_some(self, cluster, r):
        return bool(self.ask(cluster, "select pg_terminate_backend(pid) from pg_stat_activity where backend_type ="
                             " 'client backend' and pid <> pg_backend_pid() and pid %% 3 = %s", r.randrange(3),
                             dbname="postgres"))

    # --- processes ----------------------------------------------------------------------------------

    def coordinator_terminated(self, r):
        return self.signal_one(self.town.main, "dtm coordinator", signal.SIGTERM, r)

    def coordinator_killed(self, r):
        return self.signal_one(self.town.main, "dtm coordinator", signal.SIGKILL, r)

    def coordinator_frozen(self, r):
        """Its answers come, its calls time out and operators intervene while it does not look."""
        pid = self.signal_one(self.town.main, "dtm coordinator", signal.SIGSTOP, r)
        if pid:
            # Not from this thread, which may come to wait for a lock that the frozen one holds.
            thaw = threading.Timer(r.uniform(0.5, 2.5), os.kill, (pid, signal.SIGCONT))
            thaw.start()
            self.transactions_paused(r)
            thaw.join()
        return pid

    def launcher_terminated(self, r):
        return self.signal_one(self.town.main, "dtm launcher", signal.SIGTERM, r)

    def launcher_killed(self, r):
        return self.signal_one(self.town.main, "dtm launcher", signal.SIGKILL, r)

    def sessions_terminated(self, r):
        return self.terminate_some(self.town.main, r)

    def session_killed(self, r):
        return self.signal_one(self.town.main, "client backend", signal.SIGKILL, r)

    def shops_sessions_terminated(self, r):
        return self.terminate_some(self.town.shops, r)

    def shops_session_killed(self, r):
        return self.signal_one(self.town.shops, "client backend", signal.SIGKILL, r)

    def postmaster_killed(self, _):
        self.town.main.kill_postmaster()
        self.town.main.start()

    def postmaster_quit(self, _):
        self.town.main.stop(signal.SIGQUIT)
        self.town.main.start()

    def server_restarted(self, _):
        self.town.main.restart()

    def shops_postmaster_killed(self, r):
        self.town.shops.kill_postmaster()
        time.sleep(r.uniform(0, 2))
        self.town.shops.start()

    def shops_postmaster_quit(self, _):
        self.town.shops.stop(signal.SIGQUIT)
        self.town.shops.start()

    # --- banks --------------------------------------------------------------------------------------

    def find_dead_banks(self):
        """A bank that shot itself comes back after a while."""
        for bank in self.town.banks:
            if bank.died() and bank not in self.down:
                self.down.add(bank)
                self.done["bank killed itself"] += 1
                r = random.Random(f"{self.seed}/{bank.name}/{bank.life}")  # not ours: it must not depend on time
                self.follow(r.uniform(0, 1), lambda b=bank: self.bring_up(b))

    def bring_up(self, bank):
        bank.kill()
        bank.start()
        self.down.discard(bank)

    def take_down(self, bank, seconds):
        if bank in self.down:
            return False
        self.down.add(bank)
        bank.kill()
        self.follow(seconds, lambda: self.bring_up(bank))
        return True

    def bank_killed(self, r):
        return self.take_down(r.choice(self.town.banks), r.uniform(0, 0.5))

    def bank_down(self, r):
        """Long enough for the circuit breaker of its host to open."""
        bank, seconds = r.choice(self.town.banks), r.uniform(4, 8)

        def look():
            if self.ask(self.town.main, "select 1 from dtm.stat_endpoint where endpoint = %s and breaker <> 'closed'",
                        bank.host):
                self.done["breaker seen open"] += 1
        taken = self.take_down(bank, seconds)
        if taken:
            self.follow(seconds - 0.1, look)
        return taken

    # --- orders -------------------------------------------------------------------------------------

    def workers_changed(self, _):
        now = self.ask(self.town.main, "show dtm.workers")
        if now is None:
            return False
        self.order(f"alter system set dtm.workers = {3 - int(now[0][0])}")
        return self.order("select pg_reload_conf()")

    def everything_paused(self, r):
        return self.stand(r.uniform(1, 11), "select dtm_pause(everything => true)", RESUME_ALL)

    def host_paused(self, r):
        return self.stand(r.uniform(1, 14), "select dtm_pause(host => %s, reason => 'chaos')", RESUME_HOST,
                          r.choice(self.town.banks).host)

    def unfinished(self, r, most):
        rows = self.ask(self.town.main, f"select gid from dtm.trans where {UNFINISHED} order by gid") or []
        return [gid for gid, in r.sample(rows, min(most, len(rows)))]

    def transactions_paused(self, r):
        return sum(self.stand(r.uniform(0, 5), "select dtm_pause(gid => %s)", "select dtm_resume(gid => %s)", gid)
                   for gid in self.unfinished(r, 30)) > 0

    def retried_now(self, r):
        return sum(self.order("select dtm_retry_now(%s)", gid) for gid in self.unfinished(r, 20)) > 0

    def redirected(self, r):
        """The bank answers at any path."""
        host = r.choice(self.town.banks).host
        return self.stand(r.uniform(1, 6), f"select dtm_redirect(%s, '{host}/moved/to/')",
                          "select dtm_redirect(%s, null)", f"{host}/bank/")

    def lock_rows(self, r, then):
        """All that is unfinished is locked, as an operator's forgotten session might: nothing can be written."""
        try:
            with self.town.main.connect(autocommit=False, options="-c lock_timeout=2s") as conn:
                conn.execute(f"select from dtm.trans where {UNFINISHED} order by gid for update")
                time.sleep(r.uniform(0.2, 1.2))
                then()
        except psycopg.Error:
            return False
        return True

    def rows_locked(self, r):
        return self.lock_rows(r, lambda: None)

    def coordinator_killed_behind_lock(self, r):
        """What it decided and could not write must not have had consequences (P5)."""
        how = r.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        killed = []
        self.lock_rows(r, lambda: killed.append(self.signal_one(self.town.main, "dtm coordinator", how, r)))
        return any(killed)

    # --- the end ------------------------------------------------------------------------------------

    def make_peace(self):
        """Everybody lives, nothing is paused, no bank misbehaves."""
        for bank in self.town.banks:
            bank.calm_down()
        for cluster, pid in self.killed:
            wait_until(lambda c=cluster, p=pid: p not in children(c.postmaster.pid), f"{pid} is found dead")
        self.town.wait_ready()
        self.later.clear()
        for undo, params in list(self.standing):
            self.take_back(undo, params)
        main = self.town.main
        for kind, name in main.sql("select kind, name from dtm.control"):
            if kind == "redirect":
                self.order("select dtm_redirect(%s, null)", name)
            else:
                self.order("select dtm_resume(host => %s, everything => %s)", name or None, not name)
        for gid, in main.sql("select gid from dtm.trans where attention like 'paused by%%'"):
            self.order("select dtm_resume(gid => %s)", gid)

    def wait_finished(self, timeout=180):
        """Until nothing is unfinished and no bank has anything under way."""
        def over():
            return not self.town.main.sql(f"select 1 from dtm.trans where {UNFINISHED} limit 1")
        wait_until(over, "every transaction ends", timeout, pause=0.3)
        for bank in self.town.banks:
            wait_until(lambda b=bank: b.control("idle") == "idle", f"{bank.name} has nothing under way")
