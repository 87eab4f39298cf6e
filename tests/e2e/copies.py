"""Copies of databases and servers, made by the tools that people use: pg_dump, pg_basebackup, a standby."""
import os
import shutil
import subprocess
from contextlib import contextmanager

from cluster import BINDIR, Cluster, as_postgres
from conftest import clusters

# What a standby says when its primary is gone.
LONELY = ("FATAL:  could not (receive data from|send end-of-streaming)", "FATAL:  .*connect to",
          "FATAL:  terminating walreceiver")


def run(cluster, program, *arguments):
    """A client program of PostgreSQL, at this server; returns what it prints."""
    ran = subprocess.run([str(BINDIR / program), "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres",
                          *map(str, arguments)], capture_output=True, text=True,
                         env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"})
    assert ran.returncode == 0, f"{program} {arguments}:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


class Copy(Cluster):
    """A server whose files come from a running one, with its settings."""

    def __init__(self, original, name="copy", **settings):
        own = {"port", "unix_socket_directories", "listen_addresses"}
        super().__init__(name, {k: v for k, v in original.settings.items() if k not in own}, original.dbname)
        self.original = original
        self.settings.update({k.replace("__", "."): v for k, v in settings.items()})

    def init(self, *files):
        """By pg_basebackup; `files` are made in the data directory, e.g. recovery.signal."""
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        subprocess.run(as_postgres(BINDIR / "pg_basebackup", "-d", self.original.dsn("postgres"), "-D", self.data,
                                   "-X", "stream", "-c", "fast", "--no-sync"), check=True, cwd="/")
        self.configure()
        for file in files:
            (self.data / file).touch()
        return self

    def init_cold(self):
        """By copying the files of a server that is shut down."""
        shutil.copytree(self.original.data, self.data)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres:postgres", str(self.root)], check=True)
        self.configure()
        return self

    def tool(self, program, *arguments):
        """A program that works on the data directory; returns what it prints."""
        return subprocess.run(as_postgres(BINDIR / program, *arguments, self.data), check=True, cwd="/", text=True,
                              stdout=subprocess.PIPE).stdout

    def promote(self):
        subprocess.run(as_postgres(BINDIR / "pg_ctl", "promote", "-D", self.data), check=True, cwd="/",
                       stdout=subprocess.DEVNULL)


@contextmanager
def kept(copy):
    """The copy is looked after as the fixtures look after theirs."""
    clusters.append(copy)
    try:
        yield copy
        assert not (bad := copy.bad_log_lines()), bad
    finally:
        clusters.remove(copy)
        copy.destroy()


@contextmanager
def standby_of(primary):
    """A streaming standby, running."""
    with kept(Copy(primary, "standby")) as standby:
        standby.settings["primary_conninfo"] = f"host=127.0.0.1 port={primary.port} user=postgres"
        yield standby.init("standby.signal").start()
