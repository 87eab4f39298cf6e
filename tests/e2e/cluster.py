"""A throw-away PostgreSQL cluster: initdb, start, crash, restart, look into its log.

Promises that nothing of it is left behind: the data directory is a mkdtemp, the postmaster dies with the
process that started it (pdeathsig), and only processes that were started here are ever signalled.
Knows nothing about dtm_pg but the names of its processes. Used by the end-to-end tests and the bench.
"""
import grp
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

DEADLINE = 60  # seconds; generous, because a shared machine may be slow and no test asserts a duration
BINDIR = Path(subprocess.check_output([os.environ.get("PG_CONFIG", "pg_config"), "--bindir"],
                                      text=True).strip())

# A log line that no test may cause without saying so (Cluster.expect). Errors of ordinary sessions are
# the test's own business; those of our processes never are.
BAD_LOG = re.compile(r"PANIC:|FATAL:|terminated by signal|TRAP:|AddressSanitizer|runtime error:"
                     r"|exited with exit code [2-9]"
                     r"|\bdtm (launcher|coordinator)\b.* ERROR:")
# FATALs that a client gets while the server starts or stops; no defect of anybody.
HARMLESS_LOG = re.compile(r"FATAL:  the database system is (starting up|shutting down|in recovery mode"
                          r"|not yet accepting connections)")

# Whoever is starting while its database is dropped says this, PostgreSQL's own workers too. Once is a
# race that cannot be avoided; a coordinator that says it again and again is started again and again.
DATABASE_GONE = re.compile(r"\b(dtm coordinator|autovacuum worker)\b.*FATAL:  database (\d+) does not exist")

_handed_out = set()


def wait_until(condition, what, timeout=DEADLINE, pause=0.05):
    """Returns the first true value of condition(); fails, naming `what`, when the time is over."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {timeout} s: {what} (last value: {value!r})")
        time.sleep(pause)


def rows_of(cur):
    """What a statement returned: rows of no columns count, too (`select from …` has no description); [] of none."""
    return cur.fetchall() if cur.pgresult.status == psycopg.pq.ExecStatus.TUPLES_OK else []


def free_port():
    """A port of 127.0.0.1 below the ephemeral range, so that no outgoing connection takes it."""
    for _ in range(2000):
        port = random.SystemRandom().randint(20000, 31999)
        if port in _handed_out:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RuntimeError("no free port in 20000..31999")


def as_postgres(*command, pdeathsig=None):
    """The command line that runs `command` as user postgres when we are root (initdb refuses root)."""
    prefix = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    if pdeathsig:
        # Must come after the change of user, which would clear it: setpriv does it in this order.
        prefix = (prefix or ["setpriv"]) + [f"--pdeathsig={pdeathsig}"]
    return prefix + [str(c) for c in command]


def children(pid):
    """pids of the direct children, in one look."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Cluster:
    """One PostgreSQL server. Settings are given as a dict and can be changed with configure()."""

    bindir = BINDIR
    environment = None  # of the server; None: ours

    def __init__(self, name="e2e", settings=None, dbname="bank"):
        self.name, self.dbname = name, dbname
        self.root = Path(tempfile.mkdtemp(prefix=f"dtm_{name}_"))
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.port = free_port()
        self.settings = {
            "listen_addresses": "127.0.0.1", "port": self.port,
            "unix_socket_directories": str(self.root),
            "shared_preload_libraries": "dtm_pg",
            # Only processes are killed here, never the machine: the page cache survives.
            "fsync": "off",
            "max_connections": 60, "max_worker_processes": 24, "max_prepared_transactions": 10,
            "shared_buffers": "64MB", "log_line_prefix": "%m [%p] %b %d ",
            "log_checkpoints": "off", "autovacuum_naptime": "10s",
        }
        self.settings.update(settings or {})
        self.postmaster = None
        self.descriptors = None  # how many each process of a server that is started may have
        self.expected = []      # patterns of bad log lines that the running test causes on purpose
        self.gone = {}          # coordinators that found their database dropped, by its oid
        self.log_checked = 0    # offset up to which the log was looked at

    # --- life -------------------------------------------------------------------------------------

    def init(self):
        if os.geteuid() == 0:
            os.chown(self.root, pwd.getpwnam("postgres").pw_uid, grp.getgrnam("postgres").gr_gid)
        subprocess.run(as_postgres(self.bindir / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                                   "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.configure()
        return self

    def configure(self, **changes):
        """Writes the settings; the caller reloads or restarts."""
        self.settings.update({k.replace("__", "."): v for k, v in changes.items()})
        text = "".join(f"{k} = '{v}'\n" for k, v in self.settings.items())
        path = self.data / "postgresql.auto.conf"
        path.write_text(text)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")

    def reload(self, **changes):
        """Returns when all processes have been told. The postmaster tells one after the other, sessions before
        coordinators, and lets nobody in meanwhile: what a new session knows, all have been told."""
        def loaded():
            return self.sql("select pg_conf_load_time()", dbname="postgres")[0][0]
        before = loaded()
        self.configure(**changes)
        os.kill(self.postmaster.pid, signal.SIGHUP)
        wait_until(lambda: loaded() > before, "the settings are loaded")

    def start(self):
        limit = ["prlimit", f"--nofile={self.descriptors}"] if self.descriptors else []
        with open(self.log, "ab") as log:
            # pdeathsig follows the *thread* that starts the process: call start() from the main one.
            self.postmaster = subprocess.Popen(
                limit + as_postgres(self.bindir / "postgres", "-D", self.data, pdeathsig="INT"),
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                start_new_session=True)
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.postmaster.poll() is not None:
                raise AssertionError(f"postmaster ended with {self.postmaster.returncode}:\n"
                                     + self.log_tail(40))
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
                return True
            except psycopg.OperationalError:
                return False
        wait_until(ready, "the server accepts connections")

    def stop(self, how=signal.SIGINT, timeout=DEADLINE):
        """Fast shutdown (SIGINT); returns how many seconds it took."""
        if self.postmaster is None:
            return 0.0
        # PostgreSQL's own words for everybody who is sent home.
        self.expect("FATAL: +terminating .*due to administrator command")
        begin = time.monotonic()
        self.postmaster.send_signal(how)
        try:
            self.postmaster.wait(timeout)
        except subprocess.TimeoutExpired:
            left = {p: self.name_of(p) for p in children(self.postmaster.pid)}
            self.kill_postmaster()
            raise AssertionError(f"shutdown did not end in {timeout} s; still there: {left}") from None
        self.postmaster = None
        return time.monotonic() - begin

    def restart(self):
        self.stop()
        return self.start()

    def kill_postmaster(self):
        """SIGKILL, then waits until its children noticed: a restart is impossible before that."""
        self.postmaster.send_signal(signal.SIGSTOP)  # or it bears another child while we count
        orphans = children(self.postmaster.pid)
        self.postmaster.kill()
        self.postmaster.wait()
        self.postmaster = None
        try:
            wait_until(lambda: not any(alive(p) for p in orphans), "children outlive a killed postmaster")
        except AssertionError as late:
            stuck = {p: self.name_of(p) for p in orphans if alive(p)}
            for pid in stuck:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{late}: {stuck}") from None

    def destroy(self):
        try:
            if self.postmaster is not None and self.postmaster.poll() is None:
                self.stop()
        finally:
            if self.postmaster is not None and self.postmaster.poll() is None:
                self.kill_postmaster()
            shutil.rmtree(self.root, ignore_errors=True)

    @staticmethod
    def name_of(pid):
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            return "gone"

    # --- sessions ---------------------------------------------------------------------------------

    def dsn(self, dbname=None):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={dbname or self.dbname}"

    def connect(self, dbname=None, autocommit=True, **options):
        return psycopg.connect(self.dsn(dbname), autocommit=autocommit, **options)

    def sql(self, text, *params, dbname=None):
        """One statement in a session of its own; rows as tuples, [] when it returns none."""
        with self.connect(dbname) as conn:
            cur = conn.execute(text, params or None)
            return rows_of(cur)

    def coordinators(self, dbname=None):
        """pids of the coordinators of a database (of all databases: dbname='')."""
        rows = self.sql("select pid, datname from pg_stat_activity where backend_type = 'dtm coordinator'"
                        " order by pid", dbname="postgres")
        wanted = self.dbname if dbname is None else dbname
        return [pid for pid, name in rows if not wanted or name == wanted]

    def wait_coordinator(self, dbname=None, count=1, other_than=()):
        """Waits until exactly `count` coordinators serve the database; returns their pids."""
        return wait_until(lambda: (p := self.coordinators(dbname)) and len(p) == count
                          and not set(p) & set(other_than) and p,
                          f"{count} coordinator(s) for {dbname or self.dbname}")

    def wait_no_coordinator(self, dbname=None):
        wait_until(lambda: not self.coordinators(dbname), f"no coordinator in {dbname or self.dbname}")

    # --- log --------------------------------------------------------------------------------------

    def log_text(self, begin=0, end=None):
        with open(self.log, "rb") as f:
            f.seek(begin)
            return f.read(-1 if end is None else end - begin).decode(errors="replace")

    def log_size(self):
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, lines=60):
        return "\n".join(self.log_text().splitlines()[-lines:]) if self.log.exists() else ""

    def expect(self, *patterns):
        """The running test causes log lines like these on purpose."""
        self.expected += [re.compile(p) for p in patterns]

    def expect_crash(self):
        """The running test kills a server process: crash restart and everything it says is wanted."""
        self.expect("terminated by signal 9", "terminating connection because of crash",
                    "terminating connection due to (administrator command|unexpected postmaster exit)",
                    "FATAL:  terminating background worker", "exited with exit code 2",
                    "abnormal termination")

    def bad_log_lines(self):
        """Bad lines since the last look that nobody expected."""
        end = self.log_size()
        text = self.log_text(self.log_checked, end)
        self.log_checked = end
        bad = [line for line in text.splitlines()
               if BAD_LOG.search(line) and not HARMLESS_LOG.search(line)
               and not any(p.search(line) for p in self.expected) and not self.is_race(line)]
        self.expected = []
        return bad

    def is_race(self, line):
        found = DATABASE_GONE.search(line)
        if not found:
            return False
        who, oid = found.groups()
        self.gone[oid] = self.gone.get(oid, 0) + (who == "dtm coordinator")
        return self.gone[oid] <= int(self.settings.get("dtm.workers", 1))
