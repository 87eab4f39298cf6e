"""The clients of the chaos run that order over HTTP, as dtm's clients do: sagas, messages whose local transaction is in
a database of a bank, and TCCs.

An answer is taken for what it says. What was not answered, or with 5xx, may have happened or not: the client sends
the same again until somebody answers, or forgets it. It writes down, per gid:

    unknown        nothing that it sent was answered: it may be there
    prepared       the prepare was answered: it must end, and the query or the timeout may decide how
    acknowledged   the submit was answered: it must end as it was decided
"""
import http.client
import json
import urllib.error
import urllib.request
from collections import Counter
from urllib.parse import urlencode

import psycopg

from api import BASE, SUCCESS, Api
from ledger import ACCOUNTS, Call, Postgres, Refused
from traffic import Client, Transfer

CALLERS = 5
ORIGINS = ("call", "barrier", "branch", "script")  # the banks with a barrier that can be asked
PATIENCE = 15  # seconds
SUBMITTED = {"answered": 60, "hung up": 18, "forgotten": 10}
UNDECIDED = {"never submitted": 14, "given up": 12}  # what the client leaves, or takes back, in two phases


class Order(Transfer):
    kinds = {"saga": 5, "msg": 4, "tcc": 2}
    endings = {"saga": SUBMITTED, "msg": SUBMITTED | UNDECIDED, "tcc": SUBMITTED | UNDECIDED}

    def __init__(self, seed, client, number, banks):
        super().__init__(seed, client, number, banks)
        self.body = {"gid": self.gid, "trans_type": self.kind}
        self.body |= {name: value for name, value in self.options.items() if name != "concurrent"}
        if self.kind == "tcc":
            return
        undo = self.kind == "saga"
        self.body["steps"] = [{"action": b.url} | ({"compensate": b.url} if undo else {}) for b in self.banks]
        self.body["payloads"] = [json.dumps(p) for p in self.payloads]
        if self.custom:
            self.body["custom_data"] = json.dumps(self.custom)
        if self.kind == "msg":
            self.origin = self.random.choice([b for b in banks if b.kind in ORIGINS])
            self.body["query_prepared"] = self.origin.url

    def choose_saga(self, r, steps):
        super().choose_saga(r, steps)
        self.custom = {}
        if "concurrent" in self.options:
            self.custom = {"concurrent": True, "orders": {str(n): a for n, a in enumerate(self.after) if a}}
        if r.random() < 0.15:
            self.options["wait_result"] = True

    def choose_msg(self, r, steps):
        super().choose_msg(r, steps)
        self.custom = {"delay": d} if (d := self.options.pop("delay", None)) else {}
        self.options["timeout_to_fail"] = r.randint(1, 6)

    def choose_tcc(self, r, steps):
        if r.random() < 0.1:
            self.payloads[r.randrange(steps)]["refuse"] = True
        self.options["timeout_to_fail"] = r.randint(1, 8)

    def local(self):
        """The local transaction of a message, as its bank's ledger takes it: what the steps give leaves here."""
        key = {"trans_type": "msg", "gid": self.gid, "branch_id": "00", "op": "msg"}
        return (Call(*key.values(), urlencode(key), self.random.random()),
                (f"a{self.random.randrange(ACCOUNTS)}", -self.amount, self.ending == "given up"))


class Stopped(Exception):
    """The run is over; what is not answered remains unknown."""


class Door(Api):
    def connect(self, timeout=PATIENCE):
        return super().connect(timeout)


class Caller(Client):
    transfer = Order

    def __init__(self, number, seed, town):
        super().__init__(number, seed, town)
        self.api = Door(town.main)
        self.origins = {b: Postgres(b.kind, b.place) for b in town.banks if b.kind in ORIGINS}
        self.plans = {}       # gid: what the oracle must know of everything that was sent
        self.answers = Counter()

    def run(self):
        try:
            while not self.stopping.is_set():
                order = self.next_transfer()
                self.plans[order.gid] = order.plan
                self.book[order.gid] = "unknown"
                getattr(self, order.kind)(order)
                self.rest()
        except Stopped:
            pass
        except Exception as error:  # shown by the run; a thread cannot fail it
            self.failure = error
        finally:
            self.api.close()

    # --- the three kinds ----------------------------------------------------------------------------

    def saga(self, order):
        self.submit(order, late="wait_result" in order.body)

    def msg(self, order):
        if not self.prepare(order):
            return
        try:
            said = self.origins[order.origin].do(*order.local())
        except Refused:
            self.post("abort", order.body, late=True)
            return
        except psycopg.Error:
            return  # perhaps committed: the query finds out
        if said == "run" and order.ending != "never submitted":  # else the query came first
            self.submit(order, late=True)

    def tcc(self, order):
        if not self.prepare(order):
            return
        for number, (bank, payload) in enumerate(zip(order.banks, order.payloads), 1):
            branch = {"gid": order.gid, "trans_type": "tcc", "branch_id": f"{number:02}"}
            urls = {"confirm": bank.url, "cancel": bank.url, "data": json.dumps(payload)}
            if self.post("registerBranch", branch | urls, late=True) != 200:
                return
            if not self.tried(f"{bank.url}?{urlencode(branch | {'op': 'try'})}", payload):
                order.ending = "given up"
                break
        if order.ending == "given up":
            self.post("abort", order.body | {"rollback_reason": "chaos"}, late=True)
        elif order.ending != "never submitted":
            self.submit(order, late=True)

    @staticmethod
    def tried(url, payload):
        try:
            with urllib.request.urlopen(url, json.dumps(payload).encode(), timeout=PATIENCE) as answer:
                text = answer.read()
                return answer.status == 200 and not any(word in text for word in (b"FAILURE", b"ONGOING"))
        except (OSError, http.client.HTTPException):
            return False

    # --- requests -----------------------------------------------------------------------------------

    def prepare(self, order):
        """Whether the client may go on: the query may have decided before a repeated prepare."""
        status = self.post("prepare", order.body)
        self.book[order.gid] = "prepared"
        return status == 200

    def submit(self, order, late):
        if order.ending in ("hung up", "forgotten"):
            self.hang_up("submit", order.body)
        if order.ending == "forgotten":
            return
        status = self.post("submit", order.body, late=late or order.ending == "hung up")
        if order.kind == "saga" or status == 200:
            self.book[order.gid] = "acknowledged"

    def hang_up(self, verb, body):
        """Sends it, and is gone before the answer."""
        connection = self.api.connect()
        try:
            connection.request("POST", BASE + verb, json.dumps(body))
            self.answers["hung up"] += 1
        except OSError:
            self.answers["none"] += 1
        connection.close()

    def post(self, verb, body, late=False):
        """The status of the answer, at last. That it comes too late may only be said where that can be: of what was
        sent before (late=False), or where others decide, too."""
        while not self.stopping.is_set():
            try:
                answer = self.api.request("POST", BASE + verb, body)
            except (OSError, http.client.HTTPException):
                self.answers["none"] += 1
            else:
                self.answers[answer.status] += 1
                if answer.status < 500:
                    expected = (200, 409, 425) if late else (200,)
                    right = answer.status in expected and (answer.status != 200 or answer.json == SUCCESS)
                    assert right, f"{verb} of {body['gid']}: {answer}"
                    return answer.status
            late = True
            self.stopping.wait(self.pace.uniform(0, 0.3))
        raise Stopped
