"""A client of the API server that hides nothing: exact bytes out, status, headers and bytes back.

Api keeps one connection open and never repeats a request by itself. Raw is a bare socket, for what no decent
client sends.
"""
import http.client
import json
import re
import socket
import ssl
import threading
from urllib.parse import urlencode

from cluster import DEADLINE, free_port, wait_until

BASE = "/api/dtmsvr/"
SUCCESS = {"dtm_result": "SUCCESS"}
JSON = "application/json; charset=utf-8"
FINAL = ("succeed", "failed")


def listen_settings(**more):
    """Settings of a cluster whose database bank has the API server; more: api_token_file=…"""
    return {"dtm.http_listen": f"127.0.0.1:{free_port()}", "dtm.api_database": "bank",
            **{f"dtm.{name}": value for name, value in more.items()}}


def address_of(cluster):
    host, _, port = cluster.settings["dtm.http_listen"].rpartition(":")
    return host, int(port)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """Value of a header, None when it is not there; there must not be two."""
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        assert len(found) <= 1, f"{name} stands {len(found)} times: {found}"
        return found[0] if found else None

    @property
    def type(self):
        return self.header("Content-Type")

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["message"]

    def __repr__(self):
        return f"{self.status} {self.type} {self.body[:500]!r}"


class Api:
    """One connection; threads take one each. `db`: a session in the same database, for looking and cleaning."""

    def __init__(self, cluster, db=None, token=None, tls=None, address=None):
        self.cluster, self.db, self.token, self.tls, self.address = cluster, db, token, tls, address
        self.mine = threading.local()

    def connect(self, timeout=DEADLINE):
        """A connection of its own for whoever asks."""
        host, port = self.address or address_of(self.cluster)
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls)
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def close(self):
        if connection := getattr(self.mine, "connection", None):
            connection.close()
        self.mine.connection = None

    def request(self, method, target, body=None, headers=None):
        """The answer to one request, whatever it is. A connection that the server has closed is opened again
        before the next request."""
        headers = dict(headers or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        connection = getattr(self.mine, "connection", None)
        if connection is None:
            connection = self.mine.connection = self.connect()
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    # --- the routes of dtm -------------------------------------------------------------------------

    def get(self, op, /, **parameters):
        return self.request("GET", BASE + op + ("?" + urlencode(parameters) if parameters else ""))

    def post(self, op, body=None, /, **fields):
        """body: bytes, text, or an object; or the object's fields as keywords."""
        return self.request("POST", BASE + op, fields if body is None else body)

    def rpc(self, method, params=None, **members):
        """JSON-RPC; members replaces jsonrpc and id, and takes them away when None."""
        call = {"jsonrpc": "2.0", "id": "no-use", "method": method, "params": params} | members
        return self.request("POST", "/api/json-rpc", {k: v for k, v in call.items() if v is not None})

    def new_gid(self, hint="api"):
        return self.db.new_gid(hint)

    def done(self, op, body=None, /, **fields):
        """A POST that must succeed with nothing to say."""
        answer = self.post(op, body, **fields)
        assert (answer.status, answer.json) == (200, SUCCESS), answer
        return answer

    def refused(self, status, text, op, body=None, /, **fields):
        """A POST that must be refused; returns the message. dtm_result is as 1.2 says."""
        answer = self.post(op, body, **fields)
        assert answer.status == status, answer
        assert answer.json.get("dtm_result") == {409: "FAILURE", 425: "ONGOING"}.get(status), answer
        assert text in answer.message, answer
        return answer.message

    # --- looking -----------------------------------------------------------------------------------

    def query(self, gid):
        answer = self.get("query", gid=gid)
        assert (answer.status, answer.type) == (200, JSON), answer
        return answer.json

    def transaction(self, gid):
        return self.query(gid)["transaction"]

    def status(self, gid):
        found = self.transaction(gid)
        return found and found["status"]

    def branches(self, gid):
        return [(b["branch_id"], b["op"], b["status"]) for b in self.query(gid)["branches"]]

    def statuses(self, gid):
        """As dtm's own tests look at them: the statuses of the branch rows in their order."""
        return [b["status"] for b in self.query(gid)["branches"]]

    def wait(self, gid, status=None):
        """Waits for the end, which must be `status`."""
        got = wait_until(lambda: (s := self.status(gid)) in FINAL and s, f"{gid} ends")
        assert status is None or got == status, f"{gid} ended as {got}, not {status}"
        return got

    def wait_status(self, gid, status):
        wait_until(lambda: self.status(gid) == status, f"{gid} is {status}")

    def hurry(self, gid):
        """What waits for its next attempt is attempted now."""
        self.done("resetNextCronTime", gid=gid)

    def tried(self, gid, times, branch_id="01", op="action"):
        """Waits until an operation was tried so often, each time but the last hurried on; for one that is
        retried after a long time."""
        for n in range(1, times + 1):
            self.db.wait_attempts(gid, n, branch_id, op)
            if n < times:
                self.hurry(gid)

    def hurried(self, gid, status):
        """Waits for the end, which must be `status`; attempts that wait for their time are made at once."""
        def ended():
            found = self.status(gid)
            if found in FINAL:
                return found
            if found:  # its client may not have come so far
                self.hurry(gid)
            return None
        got = wait_until(ended, f"{gid} ends", pause=0.2)
        assert got == status, f"{gid} ended as {got}, not {status}"

    def count(self):
        """Rows of transactions in the table."""
        return self.db.one("select count(*) from dtm.trans")

    def passed_by(self, service):
        """Dtm.passed_by() through the API."""
        gid = self.new_gid("marker")
        self.done("submit", gid=gid, trans_type="msg", wait_result=True, steps=[{"action": service.url("ok/marker")}],
                  payloads=["1"], request_timeout=DEADLINE)


def wait_listening(api):
    """Until the API answers."""
    def answers():
        try:
            return api.request("GET", "/api/ping").status == 200
        except (OSError, http.client.HTTPException):
            return False
    wait_until(answers, f"the API of {api.cluster.name} answers")
    return api


# --- what is submitted again and again -------------------------------------------------------------

def saga(api, *steps, gid=None, op="submit", answer=None, **fields):
    """Submits a saga; steps are (action, compensate). Returns its gid, or answer and gid when told to."""
    gid = gid or api.new_gid("saga")
    body = {"gid": gid, "trans_type": "saga", "steps": [{"action": a, "compensate": c} for a, c in steps],
            "payloads": [f'{{"n":{n}}}' for n, _ in enumerate(steps, 1)], **fields}
    if answer:
        return api.post(op, body), gid
    api.done(op, body)
    return gid


def msg(api, *actions, gid=None, op="submit", answer=None, **fields):
    gid = gid or api.new_gid("msg")
    body = {"gid": gid, "trans_type": "msg", "steps": [{"action": a} for a in actions],
            "payloads": [f'{{"n":{n}}}' for n, _ in enumerate(actions, 1)], **fields}
    if answer:
        return api.post(op, body), gid
    api.done(op, body)
    return gid


def both(one, mode, name="s"):
    return one.url(f"{mode}/{name}"), one.url(f"ok/undo-{name}")


# --- metrics ---------------------------------------------------------------------------------------

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


def metrics(api):
    """{(name, labels as a frozenset): value}; every line must be Prometheus text."""
    answer = api.request("GET", "/api/metrics")
    assert answer.status == 200 and answer.type.startswith("text/plain"), answer
    found, types = {}, {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or ""))
            assert (name, pairs) not in found, line
            found[name, pairs] = float(value)
    return found, types


def value(found, name, **labels):
    return sum(v for (n, pairs), v in found.items() if n == name and set(labels.items()) <= pairs)


# --- bytes -----------------------------------------------------------------------------------------

class Raw:
    """A socket to the API, with as much HTTP as the test writes itself."""

    def __init__(self, cluster, timeout=DEADLINE, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address_of(cluster))
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the connection was closed after {self.rest!r}")
        self.rest += data

    def answer(self):
        """The next answer on the connection."""
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        answer = Answer(int(first.split()[1]), headers, b"")
        length = int(answer.header("Content-Length") or 0)
        while len(self.rest) < length:
            self.more()
        answer.body, self.rest = self.rest[:length], self.rest[length:]
        return answer

    def closed(self):
        """True once the server has closed the connection, waiting for it."""
        try:
            while True:
                self.more()
        except (EOFError, ConnectionError):
            return True


def get_text(path, *headers):
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: dtm", *headers)) + "\r\n"


def post_text(path, body, *headers):
    body = body if isinstance(body, bytes) else body.encode()
    lines = (f"POST {path} HTTP/1.1", "Host: dtm", f"Content-Length: {len(body)}", *headers)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def chunked_text(path, *chunks):
    lines = f"POST {path} HTTP/1.1\r\nHost: dtm\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return lines + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (*chunks, b""))


# --- what the tests of the listener share ----------------------------------------------------------

SUBMIT = BASE + "submit"


def nobody_at(address):
    try:
        socket.create_connection(address, 10).close()
        return False
    except ConnectionRefusedError:
        return True


def findings(api):
    """What dtm_check() complains of."""
    return [f"{level}: {subject}: {finding} {remedy}" for level, subject, finding, remedy in api.db.q(
        "select level, subject, finding, remedy from dtm_check() where level in ('warning', 'error')")]
