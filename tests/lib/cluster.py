"""A throw-away PostgreSQL cluster for tests and the demo. Python's standard library only.

Never touches an existing cluster: own directory, own socket in it, no TCP port unless asked for, and
a port number from 20000..31999 that nobody listens on. Started as a child process and ended by its
pid. PostgreSQL refuses to run as root, so as root everything runs as user postgres (or nobody).
"""
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def pg_config(option, program=None):
    program = program or os.environ.get("PG_CONFIG", "pg_config")
    return subprocess.run([program, option], check=True, capture_output=True,
                          text=True).stdout.strip()


def unprivileged():
    """Arguments for subprocess that leave root behind; {} when we are not root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        except KeyError:
            pass
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody")


def free_port():
    for _ in range(200):
        port = random.randint(20000, 31999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port in 20000..31999")


class Cluster:
    """with Cluster(settings={...}) as c: c.psql("select 1")"""

    def __init__(self, settings=None, bindir=None, tcp=False, environment=None):
        self.bindir = bindir or pg_config("--bindir")
        self.directory = tempfile.mkdtemp(prefix="dtm_pg-", dir="/tmp")
        self.data = os.path.join(self.directory, "data")
        self.log = os.path.join(self.directory, "postgres.log")
        self.port = free_port()
        self.settings = {
            "port": self.port,
            "unix_socket_directories": self.directory,
            "listen_addresses": "127.0.0.1" if tcp else "",
            "max_prepared_transactions": 20,
            "log_line_prefix": "%m [%p] %b ",
            "timezone": "UTC",
        }
        self.settings.update(settings or {})
        self.server = None
        self.as_user = unprivileged()
        self.server_environment = dict(os.environ, HOME=self.directory, LC_ALL="C",
                                       LC_MESSAGES="C", **(environment or {}))
        for name in [n for n in self.server_environment if n.startswith("PG")]:
            del self.server_environment[name]
        if self.as_user:
            os.chown(self.directory, self.as_user["user"], self.as_user["group"])

    def environment(self, database="postgres"):
        """For clients: psql, pg_regress, libpq."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        env.update(PGHOST=self.directory, PGPORT=str(self.port), PGUSER="postgres",
                   PGDATABASE=database)
        return env

    def start(self):
        if not os.path.exists(self.data):
            made = subprocess.run(
                [os.path.join(self.bindir, "initdb"), "-D", self.data, "-U", "postgres", "-A",
                 "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
                cwd=self.directory, env=self.server_environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self.as_user)
            if made.returncode != 0:
                raise RuntimeError("initdb failed:\n" + made.stdout)
            with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
                for name, value in self.settings.items():
                    conf.write(f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'\n")
        with open(self.log, "a") as log:
            self.server = subprocess.Popen(
                [os.path.join(self.bindir, "postgres"), "-D", self.data],
                cwd=self.directory, env=self.server_environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, **self.as_user)
        deadline = time.monotonic() + 60
        while True:
            ready = subprocess.run(
                [os.path.join(self.bindir, "psql"), "-XAtqc", "select 1"],
                env=self.environment(), capture_output=True, text=True)
            if ready.returncode == 0:
                return self
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start:\n" + self.log_text()
                                   + ready.stderr)
            time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """Fast shutdown by default; immediate when that takes over 30 seconds."""
        if self.server is None:
            return
        if self.server.poll() is None:
            self.server.send_signal(how)
            try:
                self.server.wait(30)
            except subprocess.TimeoutExpired:
                self.server.send_signal(signal.SIGQUIT)
                try:
                    self.server.wait(10)
                except subprocess.TimeoutExpired:
                    self.server.kill()
                    self.server.wait()
        self.server = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    def log_text(self):
        try:
            with open(self.log, errors="replace") as log:
                return log.read()
        except OSError:
            return ""

    def psql(self, sql, database="postgres", options=("-At",), check=True):
        """Runs SQL; returns what psql printed. Raises with psql's message when it fails."""
        run = subprocess.run(
            [os.path.join(self.bindir, "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", *options, "-f",
             "-"], input=sql, env=self.environment(database), capture_output=True, text=True)
        if check and run.returncode != 0:
            raise RuntimeError(run.stderr.strip() or f"psql ended with {run.returncode}")
        return run.stdout.rstrip("\n") if check else run
