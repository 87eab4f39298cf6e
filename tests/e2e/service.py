"""The test's handle on a participant process: start it, kill it, ask what it was called with.

Reads log and ledger from the participant's SQLite file, so it can answer while the process is dead.
"""
import json
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from cluster import free_port, wait_until

HERE = Path(__file__).parent


class Call:
    """One request as it arrived."""
    columns = "id, at, conn, in_flight, method, target, name, gid, branch_id, op, headers, body"

    def __init__(self, row):
        (self.id, self.at, self.conn, self.in_flight, self.method, self.target, self.name, self.gid,
         self.branch_id, self.op, headers, self.body) = row
        self.headers = [tuple(h) for h in json.loads(headers)]

    def header(self, name):
        """Values of all headers of that name."""
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def __repr__(self):
        return f"#{self.id} {self.at:.3f} {self.method} {self.target}"


class Service:
    """A participant on 127.0.0.1; the same port and ledger in every life of its process."""

    def __init__(self, name):
        self.name = name
        self.port = free_port()
        self.directory = tempfile.TemporaryDirectory(prefix=f"dtm_{name}_")
        self.ledger = Path(self.directory.name) / "ledger.sqlite"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", str(HERE / "participant.py"), str(self.port), str(self.ledger)],
            stdin=subprocess.DEVNULL, stderr=sys.__stderr__)
        wait_until(self.ping, f"participant {self.name} answers")
        return self

    def ping(self):
        assert self.process.poll() is None, f"participant {self.name} ended: {self.process.returncode}"
        try:
            self.control("ping")
            return True
        except OSError:
            return False

    def kill(self):
        """SIGKILL: what is in flight gets no answer."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def destroy(self):
        self.kill()
        self.directory.cleanup()

    # --- control ----------------------------------------------------------------------------------

    def url(self, path, **options):
        return f"http://127.0.0.1:{self.port}/{path}" + (f"?{urlencode(options)}" if options else "")

    def hosts(self, number):
        """The beginning of its URLs under so many names: to the coordinator each is a host of its own."""
        return [f"http://n{n}.localhost:{self.port}/" for n in range(number)]

    def control(self, verb, **params):
        urllib.request.urlopen(self.url(f"_ctl/{verb}", **params), timeout=10).read()

    def release(self, name):
        self.control("release", name=name)

    def set_mode(self, name, mode):
        self.control("set", name=name, mode=mode)

    # --- what happened ----------------------------------------------------------------------------

    def query(self, sql, *params):
        db = sqlite3.connect(self.ledger, timeout=30)
        try:
            return db.execute(sql, params).fetchall()
        finally:
            db.close()

    def calls(self, gid=None, name=None, branch_id=None, op=None):
        wanted = {"gid": gid, "name": name, "branch_id": branch_id, "op": op}
        wanted = {k: v for k, v in wanted.items() if v is not None}
        where = " and ".join(f"{k} = ?" for k in wanted) or "true"
        return [Call(row) for row in self.query(f"select {Call.columns} from call where {where} order by id",
                                                *wanted.values())]

    def wait_calls(self, count, **wanted):
        return wait_until(lambda: len(c := self.calls(**wanted)) >= count and c,
                          f"{count} call(s) at {self.name} with {wanted}")

    def sequence(self, gid):
        """What was called for a transaction, in order of arrival: ['01 action', ...]."""
        return [f"{c.branch_id} {c.op}" for c in self.calls(gid=gid)]

    def effects(self, gid):
        """Effects that happened, as a sorted list: ['01 action', ...]."""
        return sorted(f"{b} {o}" for b, o in self.query(
            "select branch_id, op from effect where gid = ? and verdict = 'run'", gid))

    def deposit(self, account, amount):
        db = sqlite3.connect(self.ledger, timeout=30)
        with db:
            db.execute("insert into account values(?, ?)", (account, amount))
        db.close()
