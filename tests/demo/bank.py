#!/usr/bin/python3
"""A bank with a few accounts in memory, as an HTTP service. Nothing in it is about PostgreSQL.

    bank.py NAME ACCOUNT=BALANCE[:frozen] ...      prints the port that it listens on

POST /out  /out_undo  /in  /in_undo   {"account": "ada", "amount": 30}
GET  /accounts  /calls                for the demo to look at

The coordinator adds gid, branch_id and op to the URL. The answers it understands: 200 done, 409 refused
for good (roll the transaction back), anything else: call me again. A call may come twice, and an undo
may come for an action that never arrived, so the bank remembers what it did.
"""
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = sys.argv[1]
balances = {}
frozen = set()
for argument in sys.argv[2:]:
    account, _, rest = argument.partition("=")
    balance, _, state = rest.partition(":")
    balances[account] = int(balance)
    if state == "frozen":
        frozen.add(account)

lock = threading.Lock()
done = set()    # (gid, branch_id, "action" or "compensate") that took effect or must not any more
calls = []      # [time, text] of what arrived, for the narration


def refusal(operation, account, amount):
    """Why the bank does not do this, or None."""
    if account not in balances:
        return f"FAILURE: {NAME} has no account {account}"
    if account in frozen:
        return f"FAILURE: account {account} is frozen"
    if operation == "out" and balances[account] < amount:
        return f"FAILURE: {account} has only {balances[account]}"
    return None


def perform(operation, gid, branch, account, amount):
    """(HTTP status, text) of one call; the caller holds the lock."""
    kind = "compensate" if operation.endswith("_undo") else "action"
    if (gid, branch, kind) in done:
        return 200, "SUCCESS: was done before"
    if kind == "compensate":
        happened = (gid, branch, "action") in done
        done.update({(gid, branch, "action"), (gid, branch, "compensate")})
        if not happened:
            return 200, "SUCCESS: nothing to undo"
        balances[account] += amount if operation == "out_undo" else -amount
        return 200, "SUCCESS"
    reason = refusal(operation, account, amount)
    if reason:
        return 409, reason
    balances[account] += amount if operation == "in" else -amount
    done.add((gid, branch, "action"))
    return 200, "SUCCESS"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive
    disable_nagle_algorithm = True

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            known = {"/accounts": balances, "/calls": calls}.get(self.path)
            text = json.dumps(known)
        self.answer(200 if known is not None else 404, text)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        operation = url.path.strip("/")
        if operation not in ("out", "out_undo", "in", "in_undo"):
            self.answer(404, f"no operation {operation}")
            return
        with lock:
            status, text = perform(operation, query["gid"], query["branch_id"], body["account"],
                                   body["amount"])
            told = f"{operation:<8} {body['account']} {body['amount']}"
            calls.append([time.time(), f"{NAME}: {told}  ->  {status} {text}"])
        self.answer(status, json.dumps({"result": text}))

    def log_message(self, *_):
        pass


def listen():
    """A server on a free port below the ephemeral ones, which belong to clients."""
    for port in random.sample(range(20000, 32000), 200):
        try:
            return ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError:
            continue
    raise SystemExit("no free port in 20000..31999")


if __name__ == "__main__":
    server = listen()
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
