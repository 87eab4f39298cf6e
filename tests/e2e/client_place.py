"""Where real clients of dtm are tried: a coordinator, and a database of services that knows nothing of dtm_pg.

DTM_ADDRESS=host:port takes another coordinator, e.g. a dtm server, instead of one of our own:

    DTM_ADDRESS=127.0.0.1:36789 /usr/bin/python3 -m pytest tests/e2e/test_go_client.py tests/e2e/test_python_client.py
"""
import os
import urllib.request
import uuid
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

from api import Api, address_of, listen_settings, wait_listening
from barrier_table import table_of_client
from cluster import free_port, wait_until
from conftest import running_cluster
from dtm import Dtm
from go_service import BUILT, Commanded, build

ACCOUNTS = "create table account (name text primary key, balance bigint not null, frozen bigint not null default 0)"


def other_coordinator():
    """(host, port) of DTM_ADDRESS, None without it."""
    host, _, port = os.environ.get("DTM_ADDRESS", "").rpartition(":")
    return (host or "127.0.0.1", int(port)) if port else None


class Place:
    def __init__(self, cluster, address):
        self.cluster = cluster
        self.host, self.port = address
        self.api = wait_listening(Api(cluster, address=address))
        self.conn = cluster.connect("services")

    @property
    def dtm(self):
        return f"http://{self.host}:{self.port}/api/dtmsvr"

    @property
    def rpc(self):
        return f"http://{self.host}:{self.port}/api/json-rpc"

    def accounts(self, *balances):
        """Fresh accounts with these balances; their names."""
        names = [f"{uuid.uuid4().hex[:8]}-{n}" for n, _ in enumerate(balances)]
        for name, balance in zip(names, balances):
            self.conn.execute("insert into account values (%s, %s)", (name, balance))
        return names

    def balances(self, *names):
        """Their balances; nothing may be frozen when a transaction has ended."""
        rows = self.conn.execute("select name, balance, frozen from account where name = any(%s)",
                                 (list(names),)).fetchall()
        assert not [row for row in rows if row[2]], rows
        found = {name: balance for name, balance, _ in rows}
        return [found[name] for name in names]

    def prepared(self):
        """Prepared transactions of the services' database."""
        return self.conn.execute("select gid from pg_prepared_xacts where database = 'services'").fetchall()

    def new_gid(self):
        return f"client-{uuid.uuid4().hex[:12]}"

    def wait(self, gid, status):
        self.api.hurried(gid, status)


@contextmanager
def a_place():
    address = other_coordinator()
    settings = {"max_prepared_transactions": 50, **({} if address else listen_settings())}
    with running_cluster("clients", settings, extension=not address) as cluster:
        cluster.sql("create database services", dbname="postgres")
        with cluster.connect("services") as conn:
            table_of_client(conn, owner="postgres")
            conn.execute(ACCOUNTS)
        place = Place(cluster, address or address_of(cluster))
        try:
            yield place
        finally:
            if not address:
                stop_leftovers(cluster)
            place.conn.close()
            place.api.close()


def stop_leftovers(cluster):
    dtm = Dtm(cluster)
    dtm.gids = [gid for gid, in dtm.q("select gid from dtm.trans where status not in ('succeed', 'failed')")]
    dtm.stop_leftovers()
    dtm.close()


class GoClient(Commanded):
    """tests/interop/go/client: starts transactions, and is the services that they call."""

    def __init__(self, place, hold_after=0, port=None):
        self.place, self.port = place, port or free_port()
        super().__init__(BUILT / "client", "-dtm", place.dtm, "-rpc", place.rpc, "-listen", f"127.0.0.1:{self.port}",
                         "-db-port", place.cluster.port, "-hold-workflows-after", hold_after)
        wait_until(self.answers, "the Go program answers")

    def answers(self):
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        try:
            return urllib.request.urlopen(self.url("ping"), timeout=10).status == 200
        except OSError:
            return False

    def url(self, path, **options):
        return f"http://127.0.0.1:{self.port}/{path}" + (f"?{urlencode(options)}" if options else "")

    def run(self, what, gid=None, **fields):
        """Runs a command; returns (gid, error)."""
        gid = gid or self.place.new_gid()
        return gid, self.do(what, gid=gid, **fields)["error"]

    def good(self, what, gid=None, **fields):
        """Runs a command that must succeed; returns its gid."""
        gid, error = self.run(what, gid, **fields)
        assert not error, error
        return gid

    def calls(self, gid):
        """What was called for a transaction, in order: ['01 action', …]."""
        return self.do("calls", gid=gid)["result"].split("\n")

    # --- steps -------------------------------------------------------------------------------------

    def step(self, direction, account, amount=30, style="saga", fault=None, on="action", **options):
        """A step that takes from (out) or gives to (in) an account. fault: what its address `on` does."""
        body = {"account": account, "amount": amount}

        def address(role):
            faults = {"fault": fault, **options} if fault and on == role else {}
            if style == "rpc" and role != "try":
                return self.url("rpc", method=f"{direction}.{role}", **faults)
            return self.url(f"bank/{direction}/{role}", **faults)
        if style == "xa":
            return {"action": self.url(f"xa/{direction}", **({"fault": fault, **options} if fault else {})),
                    "body": body}
        if style in ("tcc", "rpc tcc"):
            style = "rpc" if style == "rpc tcc" else style
            return {role: address(role) for role in ("try", "confirm", "cancel")} | {"body": body}
        return {role: address(role) for role in ("action", "compensate")} | {"body": body}

    def transfer(self, a, b, amount=30, style="saga", out=None, into=None):
        """Two steps; out and into: the faults of each."""
        return [self.step("out", a, amount, style, **(out or {})), self.step("in", b, amount, style, **(into or {}))]


# Fixtures for files that import them.

@pytest.fixture(scope="module")
def place():
    build("./client", "client")
    with a_place() as place:
        yield place


@pytest.fixture(scope="module")
def go(place):
    """The Go program: a client, and the services."""
    go = GoClient(place)
    yield go
    go.destroy()
