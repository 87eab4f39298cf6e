#!/usr/bin/python3
"""Makes a branch of a program that only writes tables (legacy.py, legacy.sql): one line before its first.

    legacy_service.py PORT CONNECTION

POST /room  {"room": "12", "guest": "ada"}
"""
import sys
from urllib.parse import parse_qsl

import legacy
from service import serve


def room(conn, query, order):
    conn.execute("SELECT dtm_branch(%s)", [query])
    if dict(parse_qsl(query))["op"] == "action":
        legacy.book(conn, order["room"], order["guest"])
    else:
        legacy.cancel(conn, order["room"], order["guest"])


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], {"/room": room})
