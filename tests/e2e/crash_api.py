"""Crash stories over HTTP, told by clients that behave as dtm's: a request whose answer was lost is sent again.

What every story promises beside the rules of Run: the effect of an answered request is in the table (P1); nobody is
called by the coordinator before the decision of the client is there (P5); the answer to a repeated request is that
of the first, or says that it comes too late.
"""
import base64
import http.client
import json
import urllib.error
import urllib.request
from urllib.parse import urlencode

from api import BASE, Api, wait_listening
from crash_run import BY_CLIENT, LONG

UNDONE = {"failed": None}
TAKEN_BACK = {"failed": ["01 cancel", "01 try"]}  # the second one refused


class Client:
    """A dtm client of one Run; every request comes back with the server alive."""

    def __init__(self, run):
        self.run, self.api = run, Api(run.cluster)

    def send(self, method, op, body=None, gid=None, late=()):
        """What the answer says; None when a repetition was told that it comes too late: a status of `late`."""
        lost = False
        while True:
            try:
                answer = self.api.request(method, BASE + op, body)
            except TimeoutError:
                raise
            except ConnectionRefusedError:
                wait_listening(self.api)
                continue
            except (OSError, http.client.HTTPException):
                self.run.server_was_lost()
                lost = True
                if gid:
                    self.nobody_was_called_too_early(gid)
                continue
            if answer.status == 200:
                assert "FAILURE" not in answer.text, answer
                return answer.json
            assert lost and answer.status in late, f"{op} of {gid}, repeated: {lost}: {answer}"
            return None

    def nobody_was_called_too_early(self, gid):
        status = self.run.one("select status from dtm.trans where gid = %s", gid)
        called = self.run.called_by_coordinator(gid)
        assert status not in (None, "prepared") or not called, f"{gid} is {status}, but {called} were called"


class Trans:
    """A global transaction in the hands of its client."""

    def __init__(self, run, kind, expected, **body):
        self.run, self.kind, self.gid = run, kind, run.new_gid(expected)
        self.client = Client(run)
        self.body = {"gid": self.gid, "trans_type": kind, **body}
        self.next = 1

    def post(self, op, late=(409,), **more):
        return self.client.send("POST", op, {**self.body, **more}, self.gid, late)

    def status(self):
        return self.run.one("select status from dtm.trans where gid = %s", self.gid)

    def must_be(self, *statuses):
        status = self.status()
        assert status in statuses, f"{self.gid} is {status}, not {statuses}"

    def prepare(self):
        fresh = self.post("prepare") is not None
        assert self.status() is not None and (fresh or self.status() != "prepared"), f"{self.gid} is {self.status()}"
        return self

    def submit(self):
        self.post("submit")
        self.must_be(*(("succeed",) if self.body.get("wait_result") else ("submitted", "succeed")))

    def abort(self, reason):
        self.post("abort", rollback_reason=reason)
        self.must_be("aborting", "failed")
        got = self.run.one("select rollback_reason from dtm.trans where gid = %s", self.gid)
        assert got == reason, f"{self.gid}: {got}"

    def is_registered(self, branch_id):
        rows = self.run.one("select count(*) from dtm.trans_branch where gid = %s and branch_id = %s",
                            self.gid, branch_id)
        assert rows in (0, 1), f"{self.gid}: {rows} rows of branch {branch_id}"
        return rows == 1

    def register(self, branch_id, late=(409,), **fields):
        """False: it was too late."""
        body = {"gid": self.gid, "trans_type": self.kind, "branch_id": branch_id, **fields}
        done = self.client.send("POST", "registerBranch", body, self.gid, late) is not None
        assert done <= self.is_registered(branch_id), f"{self.gid}: branch {branch_id} is lost"
        return self.is_registered(branch_id)

    def call(self, op, branch_id, url, payload):
        """The client's own call of a branch; False: refused."""
        query = urlencode({"gid": self.gid, "trans_type": self.kind, "branch_id": branch_id, "op": op})
        try:
            urllib.request.urlopen(f"{url}?{query}&{BY_CLIENT}", json.dumps(payload).encode(), timeout=60).read()
            return True
        except urllib.error.HTTPError as refusal:
            assert refusal.code == 409, refusal
            return False

    def branch(self, step):
        """Registers the next branch of a tcc or xa and does its first phase."""
        url, _, payload, _ = step
        branch_id, self.next = f"{self.next:02}", self.next + 1
        urls = {"confirm": url, "cancel": url} if self.kind == "tcc" else {"url": url}
        return (self.register(branch_id, data=json.dumps(payload), **urls)
                and self.call("try" if self.kind == "tcc" else "action", branch_id, url, payload))


def steps_of(*steps):
    """As in the body of a saga or a message."""
    listed = [{"action": a} | ({"compensate": c} if c else {}) for a, c, _, _ in steps]
    return {"steps": listed, "payloads": [json.dumps(p) for _, _, p, _ in steps]}


def ended(branches, *ops):
    return sorted(f"{n:02} {op}" for n in range(1, branches + 1) for op in ops)


# --- the stories ----------------------------------------------------------------------------------------

def http_saga(run):
    both = {"succeed": ended(2, "action")}
    Trans(run, "saga", both, **steps_of(run.out(), run.give())).submit()
    waiting = Trans(run, "saga", both, wait_result=True, **steps_of(run.out(), run.give()))
    waiting.prepare()
    waiting.submit()


def message_steps(run):
    return steps_of(run.out(undo=False), run.give(undo=False))


def http_message(run):
    told = Trans(run, "msg", {"succeed": ended(2, "action")}, query_prepared=run.service.url("fail/query"),
                 **message_steps(run))
    told.prepare()
    told.submit()
    given_up = Trans(run, "msg", {"failed": []}, query_prepared=run.service.url("ok/query"), **message_steps(run))
    given_up.prepare()
    given_up.post("abort")
    given_up.must_be("failed")


def http_message_forgotten(run):
    """Its client is silent: the query decides."""
    for answer, expected in (("ok", {"succeed": ["00 msg", *ended(2, "action")]}), ("fail", {"failed": []})):
        Trans(run, "msg", expected, query_prepared=run.service.url(f"{answer}/query"), timeout_to_fail=1,
              **message_steps(run)).prepare()


def http_tcc(run):
    tcc = Trans(run, "tcc", {"succeed": ended(2, "confirm", "try")}).prepare()
    assert tcc.branch(run.out()) and tcc.branch(run.give())
    tcc.submit()


def http_tcc_given_up(run):
    """One of which a branch refuses, and one whose client is silent."""
    silent = Trans(run, "tcc", UNDONE, timeout_to_fail=1).prepare()
    silent.branch(run.out())
    aborted = Trans(run, "tcc", TAKEN_BACK).prepare()
    assert aborted.branch(run.out()) and not aborted.branch(run.give(refuse=True))
    aborted.abort("no money")


def http_xa(run):
    good = Trans(run, "xa", {"succeed": ended(2, "action", "commit")}).prepare()
    assert good.branch(run.out()) and good.branch(run.give())
    good.submit()
    bad = Trans(run, "xa", {"failed": ended(1, "action", "rollback")}).prepare()
    assert bad.branch(run.out()) and not bad.branch(run.give(refuse=True))
    bad.abort("no money")


class Workflow(Trans):
    def __init__(self, run):
        data = {"name": "pay", "data": base64.b64encode(b"5").decode()}
        super().__init__(run, "workflow", {"succeed": ended(2, "action")}, custom_data=json.dumps(data),
                         query_prepared=run.service.url("ongoing/callback"))
        self.steps = run.out(), run.give()

    def work(self, steps=2):
        """Does what is not done, up to so many steps; returns the branches that were done before."""
        told = self.post("prepareWorkflow")
        assert told["transaction"]["gid"] == self.gid and told["transaction"]["status"] == "prepared", told
        done = {p["branch_id"] for p in told["progresses"] if (p["op"], p["status"]) == ("action", "succeed")}
        for n, (url, _, payload, _) in enumerate(self.steps[:steps], 1):
            if f"{n:02}" not in done:
                assert self.call("action", f"{n:02}", url, payload)
                # Who asks again is told that somebody has recorded it.
                assert self.register(f"{n:02}", late=(500,), op="action", status="succeed", data=f"done {n}")
        return done

    def finish(self):
        result = base64.b64encode(b"paid").decode()
        self.post("submit", late=(500,), req_extra={"status": "succeed", "result": result})
        self.must_be("succeed")
        assert self.run.one("select result from dtm.trans where gid = %s", self.gid) == result


def http_workflow(run):
    flow = Workflow(run)
    flow.work()
    flow.finish()
    left = Workflow(run)
    left.body["retry_interval"] = 1
    left.work(steps=1)
    run.service.wait_calls(1, gid=left.gid, branch_id="00", op="pay")
    assert left.work() == {"01"}, "it does not know what was done"
    left.finish()


def http_operators(run):
    stopped = run.half_done({"failed": ["01 action"]}, run.give())
    run.money -= 5
    client = Client(run)
    client.send("POST", "forceStop", {"gid": stopped}, stopped, late=(409,))
    status = run.one("select status from dtm.trans where gid = %s", stopped)
    events = run.one("select count(*) from dtm.event where gid = %s and verb = 'force_stop'", stopped)
    assert (status, events) == ("failed", 1), f"{stopped} is {status} with {events} events"
    hurried, reset = (run.half_done({"succeed": ended(3, "action")}, run.give(), mode="error") for _ in range(2))
    run.service.set_mode(run.id, "ok")
    client.send("POST", "resetNextCronTime", {"gid": hurried}, hurried)
    run.wait_end([hurried])  # the other one waits on
    assert client.send("GET", f"resetCronTime?timeout={LONG // 2}")["succeed_count"] <= 1  # 0: once more


def sql_doors(run):
    """The same from SQL; and one that comes in by one door and goes on by the other."""
    prepared = "select exists (select from dtm.trans where gid = %s)"
    registered = "select exists (select from dtm.trans_branch where gid = %s and branch_id = %s)"
    decided = "select status <> 'prepared' from dtm.trans where gid = %s"

    def prepare(t):
        run.change("select dtm_prepare(%s::jsonb)", json.dumps(t.body), t.gid, done=prepared)

    def register(t, branch_id, **fields):
        body = {"gid": t.gid, "trans_type": t.kind, "branch_id": branch_id, **fields}
        run.change("select dtm_register_branch(%s::jsonb)", json.dumps(body), t.gid, branch_id, done=registered)

    def branch(t, branch_id, step):
        url, _, payload, _ = step
        register(t, branch_id, confirm=url, cancel=url, data=json.dumps(payload))
        return t.call("try", branch_id, url, payload)

    def submit(t, **more):
        run.change("select dtm_submit(%s::jsonb)", json.dumps({**t.body, **more}), t.gid, done=decided)

    good, bad = Trans(run, "tcc", {"succeed": ended(2, "confirm", "try")}), Trans(run, "tcc", TAKEN_BACK)
    flow = Trans(run, "workflow", {"succeed": ["01 action"]}, custom_data=json.dumps({"name": "pay"}),
                 query_prepared=run.service.url("ongoing/callback"))
    for t in (good, bad, flow):
        prepare(t)
    assert branch(good, "01", run.out()) and branch(good, "02", run.give())
    submit(good)
    assert branch(bad, "01", run.out()) and not branch(bad, "02", run.give(refuse=True))
    run.change("select dtm_abort(%s, 'no money')", bad.gid, bad.gid, done=decided)
    assert flow.call("action", "01", *run.idle()[:1], {})
    register(flow, "01", op="action", status="succeed", data="done")
    submit(flow, req_extra={"status": "succeed"})
    message = Trans(run, "msg", {"succeed": ended(2, "action")}, query_prepared=run.service.url("fail/query"),
                    **message_steps(run)).prepare()
    submit(message)
