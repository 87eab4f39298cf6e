"""What the benchmarks share: a throw-away PostgreSQL with the extension, the CPU time of everybody by role, pgbench
as the submitting sessions, and the ceiling of plain INSERTs."""
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from cluster import BINDIR, Cluster, children, free_port, rows_of, wait_until  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PAYLOAD = '{"amount":30,"account":"a-benchmark-account","note":"sixty bytes or so"}'
INSERT = "insert into plain values (gen_random_uuid()::text, :req, now());\n"
DRAIN = 120  # seconds that the backlog of a case may take; what is left then is reported, not waited for


# --- processes and their CPU --------------------------------------------------------------------------

def cpu_of(stat_file, reaped=False):
    """utime + stime in seconds; `reaped`: of the children that ended. 0 when the process is gone."""
    try:
        fields = Path(stat_file).read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    first = 13 if reaped else 11
    return (int(fields[first]) + int(fields[first + 1])) / TICK


class Cpu:
    """CPU seconds by role, as the difference of two looks. Sessions are children of the postmaster that
    end with the case, so they are found in what it has reaped (autovacuum's workers too)."""

    def __init__(self, lab):
        self.lab = lab
        self.before = self.look()

    def look(self):
        lab = self.lab
        seen = {"network": 0.0, "coordinator": 0.0, "other": 0.0}
        coordinators = lab.coordinators()
        for pid in coordinators:
            for task in os.listdir(f"/proc/{pid}/task"):
                role = "coordinator" if int(task) == pid else "network"
                seen[role] += cpu_of(f"/proc/{pid}/task/{task}/stat")
        postmaster = lab.cluster.postmaster.pid
        for pid in children(postmaster):
            if pid not in coordinators:
                seen["other"] += cpu_of(f"/proc/{pid}/stat")
        seen["sessions"] = cpu_of(f"/proc/{postmaster}/stat", reaped=True)
        if lab.echo:
            seen["echo"] = cpu_of(f"/proc/{lab.echo.pid}/stat")
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # the load, when it has ended
        seen["driver"] = usage.ru_utime + usage.ru_stime
        return seen

    def spent(self):
        after = self.look()
        return {k: round(max(0.0, after[k] - v), 2) for k, v in self.before.items()}


def build(*programs):
    subprocess.run(["make", "-s", "-j2", "-C", str(HERE), *programs], check=True)


def percentile(values, q):
    return sorted(values)[int((len(values) - 1) * q)] if values else None


def fsync_ms(directory):
    """Median time of a 8 kB write and its fdatasync: what a lonely commit must wait for."""
    with tempfile.NamedTemporaryFile(dir=directory) as f:
        took = []
        for _ in range(100):
            begin = time.monotonic()
            os.pwrite(f.fileno(), b"x" * 8192, 0)
            os.fdatasync(f.fileno())
            took.append(time.monotonic() - begin)
    return round(percentile(took, 0.5) * 1000, 3)


# --- the lab ------------------------------------------------------------------------------------------

class Lab:
    """One cluster, where its branches are called, and the figures of all cases so far."""

    def __init__(self, args):
        self.args = args
        self.cluster, self.echo, self.conn = None, None, None
        self.results = []

    def open(self, settings=None, echo=True):
        """`echo`: a participant for as long as the lab is open; else self.port is kept for one."""
        build()
        self.port = free_port()
        if echo:
            self.echo = subprocess.Popen([str(HERE / "build/echo"), str(self.port)], stdout=subprocess.PIPE)
            self.echo.stdout.readline()
        settings = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "512MB",
                    "max_wal_size": "4GB", "autovacuum_naptime": "1min"} | (settings or {})
        settings.update(s.split("=", 1) for s in self.args.set)
        self.cluster = Cluster("bench", settings, dbname="bench").init().start()
        self.cluster.sql("create database bench", dbname="postgres")
        self.cluster.sql("create extension dtm_pg")
        self.cluster.wait_coordinator(count=int(settings.get("dtm.workers", 1)))
        self.cluster.sql("create table plain(gid text primary key, payload text, at timestamptz)")
        self.conn = self.cluster.connect()
        return self

    def close(self):
        if self.conn:
            self.conn.close()
        if self.cluster:
            self.cluster.destroy()
        if self.echo:
            self.echo.kill()
            self.echo.wait()

    def q(self, sql, *params):
        return rows_of(self.conn.execute(sql, params or None))

    def coordinators(self):
        return [p for p, in self.q("select pid from pg_stat_activity where backend_type = 'dtm coordinator'"
                                   " and datname = current_database()")]

    def stats(self):
        """The counters of all coordinators of this database, added up."""
        cur = self.conn.execute("select * from dtm.stat_coordinator where datname = current_database()")
        names = [c.name for c in cur.description]
        total = {}
        for row in cur.fetchall():
            for name, value in zip(names, row):
                if isinstance(value, int) and name not in ("pid", "worker"):
                    total[name] = total.get(name, 0) + value
        return total

    def machine(self):
        """What figures depend on, and one line that says it."""
        m = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "fsync_ms": fsync_ms(self.cluster.root),
             "postgres": self.q("show server_version")[0][0], "settings": self.cluster.settings}
        return m, (f"{m['cores']} cores, load {m['load_before']:.1f}, one fdatasync {m['fsync_ms']} ms,"
                   f" PostgreSQL {m['postgres']}")

    def rss(self):
        """High-water mark of the coordinators' memory without what they share with the server, in MiB."""
        total = 0
        for pid in self.coordinators():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"RssAnon:\s+(\d+)", status).group(1))
        return round(total / 1024, 1)

    def remember(self, figures):
        self.results.append(figures)
        print(self.line(figures), flush=True)

    def line(self, figures):
        return json.dumps(figures, default=str)

    # --- pgbench ----------------------------------------------------------------------------------

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def request(self, kind, branches):
        steps = [{"action": self.url("action")} | ({"compensate": self.url("undo")} if kind == "saga" else {})
                 for _ in range(branches)]
        return json.dumps({"trans_type": kind, "steps": steps, "payloads": [PAYLOAD] * branches})

    def pgbench(self, script, request, sessions, seconds, rate=None):
        """Runs it; returns [(end as epoch seconds, latency in ms)] of all its transactions."""
        with tempfile.TemporaryDirectory(prefix="dtm_pgbench_") as tmp:
            file = Path(tmp) / "script.sql"
            file.write_text(script)
            command = [str(BINDIR / "pgbench"), "-n", "-M", "prepared", "-c", str(sessions),
                       "-j", str(min(2, sessions)), "-T", str(seconds), "-f", str(file), "-D", f"req={request}",
                       "--log", f"--log-prefix={tmp}/log", "-h", str(self.cluster.root),
                       "-p", str(self.cluster.port), "-U", "postgres", "bench"]
            if rate:
                command += ["-R", str(rate)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + DRAIN)
            if done.returncode != 0:
                raise RuntimeError(f"pgbench: {done.stderr}\n{self.cluster.log_tail(20)}")
            found = []
            for log in Path(tmp).glob("log.*"):
                for line in log.read_text().splitlines():
                    f = line.split()
                    lag = int(f[6]) if rate else 0  # time pgbench was late by itself
                    found.append((int(f[4]) + int(f[5]) / 1e6, (int(f[2]) - lag) / 1000))
            return sorted(found)

    def submit_figures(self, log, seconds):
        """After the warm-up: rate and latency as the sessions saw them."""
        begin = log[0][0] + self.args.warmup
        kept = [ms for end, ms in log if end >= begin]
        return {"submit_per_s": round(len(kept) / max(0.001, log[-1][0] - begin)),
                "submit_p50_ms": round(percentile(kept, 0.5), 3),
                "submit_p99_ms": round(percentile(kept, 0.99), 3)}

    def insert_ceiling(self, sessions):
        self.q("truncate plain")
        self.q("checkpoint")
        cpu = Cpu(self)
        seconds = self.args.seconds + self.args.warmup
        log = self.pgbench(INSERT, self.request("saga", 2), sessions, seconds)
        figures = {"case": f"insert-{sessions}", "type": "insert", "sessions": sessions}
        figures |= self.submit_figures(log, seconds) | {"cpu_s": cpu.spent()}
        figures["per_s"] = figures["steady_per_s"] = figures["submit_per_s"]
        self.remember(figures)
