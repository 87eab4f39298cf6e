#!/usr/bin/python3
"""A participant of global transactions: a bank and a box of faults behind HTTP/1.1.

Promises: every request is written down, byte for byte, before it is answered; every effect happens at
most once per (gid, branch_id, op) by dtm's barrier rules (dtm-compat 6.6); both survive SIGKILL at any
moment, because log and ledger are one SQLite file. It knows nothing about PostgreSQL.

    participant.py PORT LEDGER

Path: /<mode>/<name>?<options>. Options: n (the mode applies to the first n calls of an operation, then
`ok`), ms, status, body, size, then.

  ok        effect, 200 {"dtm_result":"SUCCESS"}       fail     409         fail200   200 with FAILURE
  ongoing   425                                        ongoing200           200 with ONGOING
  error     500 (or status=)                           status   no effect, status= and body= as given
  slow      waits ms, then ok                          never    no answer, connection kept open
  reset     TCP reset before any effect                truncated  effect, half of an answer
  lost      effect, connection dropped unanswered      huge     effect, 200 with a body of `size` bytes
  hold      waits until /_ctl/release?name=, then ok (or then=MODE)
  bank      bank/out and bank/in, see Ledger.transfer

/_ctl/set?name=N&mode=M overrides the mode of a name, /_ctl/release?name=N ends its holds (also future
ones). Both last until the process ends.
"""
import argparse
import asyncio
import json
import signal
import socket
import sqlite3
import struct
import time
from urllib.parse import parse_qs, unquote, urlsplit

SUCCESS = b'{"dtm_result":"SUCCESS"}'
FAILURE = b'{"dtm_result":"FAILURE","message":"refused"}'
ONGOING = b'{"dtm_result":"ONGOING"}'
SCHEMA = """
create table if not exists call(
  id integer primary key, at real, conn integer, in_flight integer, method text, target text, name text,
  gid text, branch_id text, op text, headers text, body blob);
create index if not exists call_op on call(gid, branch_id, op);
create table if not exists barrier(
  gid text, branch_id text, op text, reason text, primary key(gid, branch_id, op));
create table if not exists effect(
  id integer primary key, at real, gid text, branch_id text, op text, name text, verdict text);
create index if not exists effect_gid on effect(gid);
create table if not exists account(name text primary key, balance integer not null);
"""


class Refused(Exception):
    """The business says no; the transaction of the call is rolled back, barrier rows included."""


class Ledger:
    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        # A killed process loses nothing, only a killed machine would.
        self.db.executescript("pragma journal_mode=wal; pragma synchronous=off;" + SCHEMA)

    def log(self, request, conn, in_flight):
        """Writes the request down; returns how often this operation was called before."""
        q = request.params
        key = (q.get("gid", ""), q.get("branch_id", ""), q.get("op", ""))
        self.db.execute("begin immediate")
        seen = self.db.execute("select count(*) from call where gid=? and branch_id=? and op=?",
                               key).fetchone()[0]
        self.db.execute("insert into call(at, conn, in_flight, method, target, name, gid, branch_id, op,"
                        " headers, body) values(?,?,?,?,?,?,?,?,?,?,?)",
                        (time.time(), conn, in_flight, request.method, request.target, request.name, *key,
                         json.dumps(request.headers), request.body))
        self.db.execute("commit")
        return seen

    def barrier(self, gid, branch_id, op):
        """dtm-compat 6.6.1: run, duplicate (repeated or hanging) or empty."""
        def inserted(o):
            return self.db.execute("insert or ignore into barrier values(?,?,?,?)",
                                   (gid, branch_id, o, op)).rowcount > 0
        origin = {"compensate": "action", "cancel": "try", "rollback": "action"}.get(op)
        origin_new = inserted(origin) if origin else False
        own_new = inserted(op)
        return "empty" if origin_new else "run" if own_new else "duplicate"

    def effect(self, request):
        """One call's effect in one transaction, at most once."""
        q = request.params
        gid, branch_id, op = q.get("gid", ""), q.get("branch_id", ""), q.get("op", "")
        self.db.execute("begin immediate")
        try:
            verdict = self.barrier(gid, branch_id, op)
            if verdict == "run" and request.mode == "bank":
                self.transfer(request, op)
            self.db.execute("insert into effect(at, gid, branch_id, op, name, verdict) values(?,?,?,?,?,?)",
                            (time.time(), gid, branch_id, op, request.name, verdict))
        except BaseException:
            self.db.execute("rollback")
            raise
        self.db.execute("commit")

    def transfer(self, request, op):
        """bank/out takes money from an account, bank/in gives, with its action or try; what undoes it does
        the reverse, what confirms it nothing. Body: {"account": name, "amount": n, "refuse": bool}. An unknown
        account starts with 0."""
        order = json.loads(request.body)
        out = request.name == "out"
        if op in ("confirm", "commit"):
            return
        forward = op in ("action", "try")
        amount = order["amount"] * (-1 if out else 1) * (1 if forward else -1)
        if forward and order.get("refuse"):
            raise Refused
        self.db.execute("insert or ignore into account values(?, 0)", (order["account"],))
        self.db.execute("update account set balance = balance + ? where name = ?",
                        (amount, order["account"]))
        balance = self.db.execute("select balance from account where name = ?",
                                  (order["account"],)).fetchone()[0]
        if forward and out and balance < 0:
            raise Refused


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        parts = urlsplit(target)
        self.params = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        segments = parts.path.lstrip("/").split("/", 1)
        self.mode = segments[0]
        self.name = unquote(segments[1]) if len(segments) > 1 else ""


class Drop(Exception):
    """Close the connection now; `reset` sends RST instead of FIN."""
    def __init__(self, reset=False, data=b""):
        super().__init__()
        self.reset, self.data = reset, data


class Participant:
    def __init__(self, ledger):
        self.ledger = ledger
        self.connections = self.in_flight = 0
        self.overrides, self.gates = {}, {}
        self.never = asyncio.Event()  # kept here, or the collector takes the calls that wait for it

    def gate(self, name):
        return self.gates.setdefault(name, asyncio.Event())

    async def serve(self, reader, writer):
        self.connections += 1
        conn = self.connections
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while request := await self.read(reader, writer):
                self.in_flight += 1
                try:
                    status, body = await self.answer(request, conn)
                finally:
                    self.in_flight -= 1
                length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
                writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%s\r\n%s"
                             % (status, length, body if status != 204 else b""))
                await writer.drain()
        except Drop as drop:
            writer.write(drop.data)
            if drop.reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                           struct.pack("ii", 1, 0))
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def read(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = [[k, v.strip()] for k, _, v in (line.partition(":") for line in lines[1:])]
        lower = {k.lower(): v for k, v in headers}
        if lower.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        if lower.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            body = await reader.readexactly(int(lower.get("content-length", 0)))
        return Request(method, target, headers, body)

    async def answer(self, r, conn):
        if r.mode == "_ctl":
            return self.control(r)
        seen = self.ledger.log(r, conn, self.in_flight)
        mode = self.overrides.get(r.name, r.mode)
        if "n" in r.params and seen >= int(r.params["n"]):
            mode = "ok"
        if mode in ("ok", "bank", "slow", "hold", "lost", "truncated", "huge"):
            if mode == "slow":
                await asyncio.sleep(int(r.params.get("ms", 500)) / 1000)
            if mode == "hold":
                await self.gate(r.name).wait()
                if "then" in r.params:
                    return await self.misbehave(r.params["then"], r)
            try:
                self.ledger.effect(r)
            except Refused:
                return 409, FAILURE
            if mode == "huge":
                return 200, SUCCESS + b" " * int(r.params.get("size", 1 << 20))
            if mode in ("lost", "truncated"):
                return await self.misbehave(mode, r)
            return 200, SUCCESS
        return await self.misbehave(mode, r)

    async def misbehave(self, mode, r):
        if mode == "status":
            return int(r.params["status"]), r.params.get("body", "").encode()
        if mode == "error":
            return int(r.params.get("status", 500)), b'{"message":"out of order"}'
        if mode == "reset":
            raise Drop(reset=True)
        if mode == "lost":
            raise Drop()
        if mode == "truncated":
            raise Drop(data=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + SUCCESS)
        if mode == "never":
            await self.never.wait()
        answers = {"fail": (409, FAILURE), "fail200": (200, FAILURE), "ongoing": (425, ONGOING),
                   "ongoing200": (200, ONGOING)}
        return answers.get(mode, (404, b"no such mode"))

    def control(self, r):
        if r.name == "release":
            self.gate(r.params["name"]).set()
        elif r.name == "set":
            self.overrides[r.params["name"]] = r.params["mode"]
        elif r.name != "ping":
            return 404, b"no such control"
        return 200, SUCCESS


def die_with_parent():
    """SIGKILL when the test process ends, however it ends."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("ledger")
    args = parser.parse_args()
    die_with_parent()
    participant = Participant(Ledger(args.ledger))
    server = await asyncio.start_server(participant.serve, "127.0.0.1", args.port, limit=1 << 20,
                                        backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
