#!/usr/bin/python3
"""Branches in Python: every call of the coordinator takes effect once, actions and compensations alike.

    service.py PORT CONNECTION      e.g. service.py 8000 postgresql://app@localhost/bank

POST /account  {"account": "ada", "amount": -30}     the compensation has the same URL
POST /stock    {"item": "tea", "pieces": 3}          calls the procedure in branch.sql
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import psycopg


class Refused(Exception):
    """For good: the coordinator rolls the saga back."""


BARRIER = "SELECT dtm_barrier(%(trans_type)s, %(gid)s, %(branch_id)s, %(op)s)"


def account(conn, query, order):
    call = dict(parse_qsl(query))
    if conn.execute(BARRIER, call).fetchone()[0]:
        amount = order["amount"] if call["op"] == "action" else -order["amount"]
        found = conn.execute("UPDATE account SET balance = balance + %s WHERE name = %s", [amount, order["account"]])
        if found.rowcount == 0:
            raise Refused("there is no account " + order["account"])


def stock(conn, query, order):
    conn.execute("CALL reserve(%(trans_type)s, %(gid)s, %(branch_id)s, %(op)s, %(order)s)",
                 {**dict(parse_qsl(query)), "order": json.dumps(order)})


def serve(port, connection, branches):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"   # keep-alive

        def do_POST(self):
            url = urlsplit(self.path)
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                # One transaction: the end of the block commits, an exception rolls back.
                with psycopg.connect(connection, prepare_threshold=None) as conn:
                    branches[url.path](conn, url.query, order)
                self.answer(200, "SUCCESS")
            except (Refused, psycopg.IntegrityError) as error:
                self.answer(409, str(error))
            except psycopg.Error as error:
                self.answer(409 if error.diag.sqlstate == "TDF00" else 500, str(error))

        def answer(self, status, text):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], {"/account": account, "/stock": stock})
