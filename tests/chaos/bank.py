#!/usr/bin/python3
"""A participant of the chaos run: a bank behind HTTP/1.1 that misbehaves as its seed says.

    bank.py PORT KIND PLACE TRACE --seed N --life N [--calm]

KIND is a key of ledger.KINDS (PLACE: a connection string) or sqlite (PLACE: a file). POST /bank/ID with
{"account", "amount", "refuse"}; all ops have the same URL, and so has GET for op msg: whether the local transaction
of a message is committed here. TRACE gets a line for everything that happens to a call, written before it has
consequences. GET /_ctl/calm ends the faults, /_ctl/idle says whether nothing is under way.
"""
import argparse
import json
import logging
import os
import random
import signal
import socket
import socketserver
import struct
import threading
import time
from urllib.parse import parse_qs, urlsplit

import psycopg

import faults
from ledger import Call, File, Postgres, Refused
from participant import FAILURE, ONGOING, SUCCESS, die_with_parent

LATE = 1.3  # seconds: later than the request timeout of the run
SIGN = {"action": 1, "compensate": -1, "try": 1, "confirm": 0, "cancel": -1}  # of the money that an op moves


class Drop(Exception):
    """Close the connection now; `reset` sends RST instead of FIN."""
    def __init__(self, reset=False, data=b""):
        super().__init__()
        self.reset, self.data = reset, data


class Bank:
    def __init__(self, args):
        self.seed, self.life, self.calm = args.seed, args.life, args.calm
        self.ledger = File(args.place) if args.kind == "sqlite" else Postgres(args.kind, args.place)
        self.trace_file = os.open(args.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.lock = threading.Lock()
        self.attempts = {}
        self.under_way = 0

    def trace(self, call, what, detail):
        line = f"{time.time():.6f}\t{call.gid}\t{call.branch_id}\t{call.op}\t{what}\t{detail}\n"
        os.write(self.trace_file, line.encode())

    def count(self, change):
        with self.lock:
            self.under_way += change

    def answer(self, target, body):
        """(status, body) of a request."""
        url = urlsplit(target)
        if url.path.startswith("/_ctl/"):
            self.calm = self.calm or url.path == "/_ctl/calm"
            return 200, b"idle" if self.under_way == 0 else b"busy"
        if url.path == "/alert":
            return 200, SUCCESS
        params = {k: v[-1] for k, v in parse_qs(url.query).items()}
        key = [params[k] for k in ("trans_type", "gid", "branch_id", "op")]
        call = Call(*key, url.query, random.Random("/".join(key)).random())
        self.count(1)
        try:
            return self.take(call, json.loads(body or "null"))
        finally:
            self.count(-1)

    def take(self, call, order):
        with self.lock:
            attempt = self.attempts[call.branch] = self.attempts.get(call.branch, 0) + 1
        fault, details = ("none", None) if self.calm else faults.draw(self.seed, call, self.life, attempt)
        self.trace(call, "arrived", fault)
        if call.op == "msg":
            status, text = self.misbehave("none" if fault == "409 after" else fault, details, lambda: self.do(call))
        else:
            amount = order["amount"] * SIGN[call.op]
            refuse = call.op in ("action", "try") and bool(order.get("refuse")) or fault in ("409", "200 FAILURE")
            status, text = self.misbehave(fault, details, lambda: self.do(call, order["account"], amount, refuse))
        self.trace(call, "answer", status)
        return status, text

    def do(self, call, *order):
        """One delivery; (status, body) as an honest bank answers."""
        try:
            verdict = self.ledger.do(call, order) if order else self.ledger.committed(call)
        except Refused:
            self.trace(call, "verdict", "refused")
            return 409, FAILURE
        except psycopg.Error as error:
            self.trace(call, "error", f"{error.sqlstate} {str(error).splitlines()[0] if str(error) else ''}")
            return 500, b"the database says no"
        self.trace(call, "verdict", verdict)
        return 200, SUCCESS

    def deliver_again(self, do, delay):
        def later():
            try:
                time.sleep(delay)
                do()
            finally:
                self.count(-1)
        self.count(1)
        threading.Thread(target=later, daemon=True).start()

    def misbehave(self, fault, details, do):
        if fault == "late effect":
            time.sleep(LATE + details.random())
        elif fault == "twice":
            self.deliver_again(do, 0)
        elif fault == "again":
            self.deliver_again(do, details.uniform(0.1, 5))
        elif fault == "500 before":
            return details.choice((500, 502, 503, 404, 301)), b"out of order"
        elif fault == "reset before":
            raise Drop(reset=True)
        elif fault == "425":
            return 425, ONGOING
        elif fault == "200 ONGOING":
            return 200, ONGOING
        status, body = do()
        if fault == "200 FAILURE" and status == 409:
            return 200, FAILURE
        if status != 200:
            return status, body
        if fault == "late answer":
            time.sleep(LATE + details.random())
        elif fault == "500 after":
            return 500, b"out of order"
        elif fault == "409 after":
            return 409, FAILURE
        elif fault == "garbage":
            return 200, details.randbytes(details.randrange(1, 200))
        elif fault == "huge":
            return 200, SUCCESS + b" " * 300_000
        elif fault == "truncated":
            raise Drop(data=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + SUCCESS)
        elif fault in ("reset after", "closed after"):
            raise Drop(reset=fault == "reset after")
        elif fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return status, body


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        try:
            while (head := self.read_head()) is not None:
                target, headers = head
                body = self.rfile.read(int(headers.get("content-length", 0)))
                status, text = self.server.bank.answer(target, body)
                self.connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))
        except Drop as drop:
            if drop.data:
                self.connection.sendall(drop.data)
            if drop.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the caller gave up

    def read_head(self):
        line = self.rfile.readline()
        if not line.strip():
            return None
        headers = {}
        while (field := self.rfile.readline().decode("latin-1").strip()):
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        return line.decode("latin-1").split(" ")[1], headers


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 512

    def shutdown_request(self, request):
        self.close_request(request)  # no FIN first: SO_LINGER decides between FIN and RST


def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("port", int), ("kind", str), ("place", str), ("trace", str)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--calm", action="store_true")
    args = parser.parse_args()
    die_with_parent()
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # connections break here
    with Server(("127.0.0.1", args.port), Connection) as server:
        server.bank = Bank(args)
        server.serve_forever()


if __name__ == "__main__":
    main()
