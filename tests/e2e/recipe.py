"""The programs of tests/recipes as processes, and what a test has to know about each."""
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
from urllib.parse import urlencode

from cluster import free_port, wait_until
from dtm import step
from pooler import debs

RECIPES = Path(__file__).parents[1] / "recipes"
FULL = 100      # what a new thing holds


class Program:
    """A service of tests/recipes on a port of its own."""

    def __init__(self, name, connection):
        self.name, self.port = name, free_port()
        command = ["/usr/bin/python3", RECIPES / name]
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        if name.endswith(".js"):
            command[0] = shutil.which("node") or "nodejs"
            environment["NODE_PATH"] = str(debs.unpacked("node-pg") / "usr" / "share" / "nodejs")
        # pdeathsig: no service outlives a test that was killed.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command, str(self.port), connection],
                                        stdin=subprocess.DEVNULL, stderr=sys.__stderr__, env=environment)

    def listens(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.process.returncode}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def destroy(self):
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Recipe:
    """A kind of branch whose action takes one piece of a thing; its compensation puts it back."""
    name: str
    program: str
    path: str
    table: str
    columns: tuple
    payload: Callable

    def new_thing(self, db, holds=FULL):
        thing = f"{self.name}-{uuid.uuid4().hex[:8]}"
        db.q(f"insert into {self.table} ({', '.join(self.columns)}) values (%s, %s)", thing, holds)
        return thing

    def left(self, db, thing):
        name, holds = self.columns
        return db.one(f"select {holds} from {self.table} where {name} = %s", thing)

    def refill(self, db, thing):
        name, holds = self.columns
        db.q(f"update {self.table} set {holds} = %s where {name} = %s", FULL, thing)


ALL = (
    Recipe("python", "service.py", "account", "account", ("name", "balance"),
           lambda thing: {"account": thing, "amount": -1}),
    Recipe("node", "service.js", "account", "account", ("name", "balance"),
           lambda thing: {"account": thing, "amount": -1}),
    Recipe("procedure", "service.py", "stock", "stock", ("item", "pieces"),
           lambda thing: {"item": thing, "pieces": 1}),
    Recipe("legacy", "legacy_service.py", "room", "room", ("name", "free"),
           lambda thing: {"room": thing, "guest": "ada"}),
)


class Services:
    """All programs, connected in every way: direct or through pgbouncer; as app, or as strict, for
    whom dtm.strict_barrier is on."""
    ROUTES = ("direct", "pgbouncer")

    def __init__(self, cluster, pooler):
        self.programs = {}
        # Started in one go: most of the time they are loading their libraries.
        for role in ("app", "strict"):
            direct = f"postgresql://{role}@127.0.0.1:{cluster.port}/{cluster.dbname}"
            for route, connection in zip(self.ROUTES, (direct, pooler.url(role))):
                for program in {r.program for r in ALL}:
                    self.programs[program, route, role] = Program(program, connection)

    def started(self):
        for program in self.programs.values():
            wait_until(program.listens, f"{program.name} listens")
        return self

    def destroy(self):
        for program in self.programs.values():
            program.destroy()

    def url(self, recipe, route, role="app"):
        return f"http://127.0.0.1:{self.programs[recipe.program, route, role].port}/{recipe.path}"

    def step(self, recipe, route, thing, **payload):
        url = self.url(recipe, route)
        return step(url, url, recipe.payload(thing) | payload)

    def call(self, recipe, route, thing, gid, op, role="app", **payload):
        """What the coordinator sends, by hand; returns the status of the answer."""
        query = urlencode({"branch_id": "01", "gid": gid, "op": op, "trans_type": "saga"})
        request = urllib.request.Request(f"{self.url(recipe, route, role)}?{query}",
                                         json.dumps(recipe.payload(thing) | payload).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 409, error.read().decode()
            return error.code
