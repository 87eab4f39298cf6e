"""SQL and HTTP are two doors of one house: the same request leaves the same rows, and what one has begun the other
may go on with, in the transaction of the business."""
import json
import re

import psycopg
import pytest

from api import both, msg, saga
from cluster import wait_until

# What differs between two transactions; two answers are settled in one write or in two.
NAMES = ("gid", "create_time", "update_time", "finish_time", "rollback_time", "next_cron_time", "version")


class Doors:
    """Each command through either door, with dtm's body."""

    def __init__(self, api):
        self.api, self.db = api, api.db

    def submit(self, door, body):
        self.sql("dtm_submit", body) if door == "sql" else self.api.done("submit", body)

    def prepare(self, door, body):
        self.sql("dtm_prepare", body) if door == "sql" else self.api.done("prepare", body)

    def register(self, door, body):
        self.sql("dtm_register_branch", body) if door == "sql" else self.api.done("registerBranch", body)

    def abort(self, door, body):
        if door == "sql":
            self.db.q("select dtm_abort(%s, %s)", body["gid"], body.get("rollback_reason"))
        else:
            self.api.done("abort", body)

    def sql(self, function, body):
        self.db.q(f"select {function}(%s::jsonb)", json.dumps(body))

    def row(self, gid):
        """The row, comparable: also without the microseconds of its progress."""
        row = self.db.one("select to_jsonb(t) - %s::text[] from dtm.trans t where gid = %s", list(NAMES), gid)
        return row | {"progress": row["progress"] and re.sub(r"\d{16}", "TIME", row["progress"])}

    def branch_rows(self, gid):
        return self.db.q("select branch_id, op, status, url, attempts, last_error, may_have_run from dtm.branch"
                         " where gid = %s order by branch_id, op", gid)


@pytest.fixture
def doors(api):
    return Doors(api)


other = {"sql": "http", "http": "sql"}
each_door = pytest.mark.parametrize("door", other)

OPTIONS = {"wait_result": False, "timeout_to_fail": 600, "request_timeout": 60, "retry_interval": 20,
           "branch_headers": {"X-B": "2", "X-A": "1"}, "concurrent": False, "retry_limit": 3}


def requests(one):
    ok, fail, wait = one.url("ok/a"), one.url("fail/a"), one.url("ongoing/a")
    return {
        "saga": {"trans_type": "saga", "steps": [{"action": ok, "compensate": ok}, {"action": ok}],
                 "payloads": ['{"a" : 1}', "null"]},
        "failing saga": {"trans_type": "saga", "steps": [{"action": ok, "compensate": ok}, {"action": fail}],
                         "payloads": ["1", "2"], **OPTIONS},
        "concurrent saga": {"trans_type": "saga", "steps": [{"action": ok}] * 3, "payloads": ["1", "2", "3"],
                            "custom_data": '{"concurrent":true,"orders":{"2":[0,1]}}', "protocol": "http"},
        "old saga": {"trans_type": "saga", "steps": [{"action": ok, "data": "1"}, {"action": ok, "data": "2"}]},
        "waiting saga": {"trans_type": "saga", "steps": [{"action": wait}], "payloads": ["1"], "retry_interval": 1000},
        "msg": {"trans_type": "msg", "steps": [{"action": ok}] * 2, "payloads": ["1", ""], "concurrent": True},
        "delayed msg": {"trans_type": "msg", "steps": [{"action": ok}], "payloads": ["Zoë 漢字"],
                        "custom_data": '{"delay":1000}', "query_prepared": one.url("ok/q")},
        "nulls": {"trans_type": "saga", "steps": [{"action": ok, "compensate": None}], "payloads": ["1"],
                  "custom_data": None, "protocol": None, "branch_headers": None, "subType": "x", "concurrent": None},
        "json-rpc": {"trans_type": "msg", "steps": [{"action": one.url("ok/r", method="m")}], "payloads": ["{}"],
                     "protocol": "json-rpc"},
    }


@pytest.mark.parametrize("kind", requests(type("", (), {"url": staticmethod(lambda *_, **__: "")})))
def test_a_submit_leaves_the_same_rows(doors, one, kind):
    found = []
    for door in other:
        body = requests(one)[kind] | {"gid": (gid := doors.api.new_gid())}
        doors.submit(door, body)
        if kind == "waiting saga":
            doors.db.wait_attempts(gid, 1)
        elif kind != "delayed msg":
            doors.api.wait(gid)
        found.append((doors.row(gid), doors.branch_rows(gid), doors.api.branches(gid)))
    assert found[0] == found[1] and all(found[0])


@pytest.mark.parametrize("kind", ["saga", "failing saga", "delayed msg", "msg"])
def test_a_prepare_leaves_the_same_rows(doors, one, kind):
    found = []
    for door in other:
        body = requests(one)[kind] | {"gid": (gid := doors.api.new_gid())}
        doors.prepare(door, body)
        found.append((doors.row(gid), doors.branch_rows(gid), doors.api.branches(gid)))
    assert found[0] == found[1] and found[0][0]["status"] == "prepared"


@pytest.mark.parametrize("trans_type", ["tcc", "xa"])
@pytest.mark.parametrize("end", ["submit", "abort"])
def test_registered_branches_leave_the_same_rows(doors, one, trans_type, end):
    found = []
    for door in other:
        base = {"gid": (gid := doors.api.new_gid()), "trans_type": trans_type}
        doors.prepare(door, base | OPTIONS)
        for n in ("01", "02"):
            doors.register(door, base | {"branch_id": n, "data": '{"a":1}', "confirm": one.url("ok/c"),
                                         "cancel": one.url("ok/x"), "url": one.url("ok/p")})
        before = doors.row(gid), doors.branch_rows(gid)
        getattr(doors, end)(door, base | {"rollback_reason": "no money"})
        doors.api.wait(gid)
        found.append((before, doors.row(gid), doors.branch_rows(gid), doors.api.branches(gid)))
    for sql, http in zip(*found, strict=True):
        assert sql == http
    assert len(found[0][2]) == 4, "two of each branch"


# --- begun by one, gone on with by the other -------------------------------------------------------

@each_door
def test_prepared_by_one_and_submitted_by_the_other(doors, one, door):
    api = doors.api
    body = requests(one)["msg"] | {"gid": (gid := api.new_gid())}
    doors.prepare(door, body)
    assert api.status(gid) == "prepared"
    doors.prepare(other[door], body)
    doors.submit(other[door], body)
    api.wait(gid, "succeed")
    assert sorted(one.sequence(gid)) == ["01 action", "02 action"]


@each_door
@pytest.mark.parametrize("trans_type", ["tcc", "xa"])
@pytest.mark.parametrize("end", ["submit", "abort"])
def test_both_register_and_either_ends_it(doors, one, door, trans_type, end):
    api = doors.api
    base = {"gid": (gid := api.new_gid()), "trans_type": trans_type}
    doors.prepare(door, base)
    for n, through in (("01", door), ("02", other[door])):
        doors.register(through, base | {"branch_id": n, "data": "1", "confirm": one.url("ok/c"),
                                        "cancel": one.url("ok/x"), "url": one.url("ok/p")})
    getattr(doors, end)(other[door], base | {"rollback_reason": "no money"})
    api.wait(gid, "succeed" if end == "submit" else "failed")
    order = ["02", "01"] if trans_type == "tcc" else ["01", "02"]
    assert [c.branch_id for c in one.calls(gid=gid)] == order
    if end == "abort":
        assert api.transaction(gid)["rollback_reason"] == "no money"


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("trans_type", ["msg", "saga", "tcc", "xa"])
def test_submitted_in_the_transaction_of_the_business(doors, one, trans_type, end):
    """Prepared over HTTP: COMMIT drives it, ROLLBACK leaves it prepared, and then it can be submitted again."""
    api, db = doors.api, doors.db
    base = {"gid": (gid := api.new_gid()), "trans_type": trans_type}
    db.q("create table if not exists paid (gid text)")
    if trans_type in ("msg", "saga"):
        base |= {"steps": [{"action": one.url("ok/a")}], "payloads": ["1"], "timeout_to_fail": 1000}
    doors.prepare("http", base)
    if trans_type in ("tcc", "xa"):
        doors.register("http", base | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"),
                                       "cancel": one.url("ok/x"), "url": one.url("ok/p")})
    with api.cluster.connect(autocommit=False) as business:
        business.execute("insert into paid values (%s)", (gid,))
        business.execute("select dtm_submit(%s::jsonb)", (json.dumps(base),))
        api.passed_by(one)
        assert (api.status(gid), one.sequence(gid)) == ("prepared", []), "nothing before the commit"
        getattr(business, end)()
    if end == "rollback":
        api.passed_by(one)
        assert (api.status(gid), one.sequence(gid)) == ("prepared", [])
        assert db.q("select from paid where gid = %s", gid) == []
        doors.submit("http", base)
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_prepared_in_a_transaction_of_sql(doors, one, end):
    """Over HTTP it exists when the transaction has committed, not before."""
    api = doors.api
    base = {"gid": (gid := api.new_gid()), "trans_type": "tcc"}
    branch = base | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"), "cancel": one.url("ok/x")}
    with api.cluster.connect(autocommit=False) as business:
        business.execute("select dtm_prepare(%s::jsonb)", (json.dumps(base),))
        business.execute("select dtm_register_branch(%s::jsonb)", (json.dumps(branch),))
        assert api.status(gid) is None
        api.refused(409, "no trans with gid", "registerBranch", branch | {"branch_id": "02"})
        getattr(business, end)()
    if end == "commit":
        api.done("submit", base)
        api.wait(gid, "succeed")
        assert one.sequence(gid) == ["01 confirm"]
    else:
        assert api.status(gid) is None


def test_an_open_transaction_of_sql_delays_no_other_call(doors, one):
    """Somebody holds the row: calls for it wait or are told so, calls for others are answered."""
    api = doors.api
    gid = api.new_gid()
    api.done("prepare", gid=gid, trans_type="tcc")
    with api.cluster.connect(autocommit=False) as business:
        business.execute("select dtm_submit(%s::jsonb)", (json.dumps({"gid": gid, "trans_type": "tcc"}),))
        for _ in range(20):
            api.done("prepare", gid=api.new_gid(), trans_type="tcc")
        api.passed_by(one)
        business.rollback()
    api.done("submit", gid=gid, trans_type="tcc")
    api.wait(gid, "succeed")


def test_dtm_wait_sees_what_came_over_http(doors, one):
    gid = saga(doors.api, both(one, "slow"))
    assert doors.db.wait(gid, "succeed")
    gid = msg(doors.api, one.url("ok/a"), op="prepare")
    doors.db.q("select dtm_abort(%s, 'not needed')", gid)
    assert doors.db.wait(gid, "failed")


@pytest.mark.parametrize("function, body, state", [
    ("dtm_prepare", {"trans_type": "at"}, "TD001"), ("dtm_prepare", {"trans_type": "tcc", "gid": "it's"}, "TD001"),
    ("dtm_prepare", {"trans_type": "tcc", "gid": "DONE"}, "TD003"), ("dtm_submit", {"trans_type": "tcc", "gid": "DONE"},
                                                                     "TD002"),
    ("dtm_register_branch", {"trans_type": "tcc", "gid": "DONE", "branch_id": "01"}, "TD003"),
    ("dtm_register_branch", {"trans_type": "tcc", "gid": "nobody", "branch_id": "01"}, "TD00[34]"),
    ("dtm_register_branch", {"trans_type": "tcc", "gid": "nobody", "branch_id": 1}, "TD001")])
def test_refusals_in_sql_are_errors(doors, function, body, state):
    gid = doors.api.new_gid()
    doors.api.done("submit", gid=gid, trans_type="tcc", wait_result=True)
    body = {k: v.replace("DONE", gid) if isinstance(v, str) else v for k, v in body.items()}
    with pytest.raises(psycopg.Error) as error:
        doors.sql(function, body)
    assert re.fullmatch(state, error.value.diag.sqlstate), error.value


# --- whose they are --------------------------------------------------------------------------------

def test_the_role_of_the_api(doors, one):
    """dtm.api_role owns what comes over HTTP; a member of it may go on with it, a stranger may not."""
    api, db, cluster = doors.api, doors.db, doors.api.cluster
    db.q("create role web login")
    db.q("create role stranger login")
    db.q("create role clerk login in role web")
    for role in ("web", "stranger", "clerk"):
        db.q(f"select dtm_grant('{role}', 'submit')")
    cluster.reload(dtm__api_role="web")
    try:
        wait_until(lambda: owner_of(doors, submitted(doors, one)) == "web", "the role is in effect")
        gid = api.new_gid()
        base = {"gid": gid, "trans_type": "tcc"}
        doors.prepare("http", base)
        assert owner_of(doors, gid) == "web"
        for role, allowed in (("stranger", False), ("clerk", True)):
            with cluster.connect() as conn:
                conn.execute(f"set role {role}")
                if allowed:
                    conn.execute("select dtm_submit(%s::jsonb)", (json.dumps(base),))
                else:
                    with pytest.raises(psycopg.Error) as refused:
                        conn.execute("select dtm_submit(%s::jsonb)", (json.dumps(base),))
                    assert refused.value.sqlstate == "TD002"
        api.wait(gid, "succeed")
        # The other way round: the API's role is nobody special.
        theirs = api.new_gid()
        with cluster.connect() as conn:
            conn.execute("set role stranger")
            conn.execute("select dtm_prepare(%s::jsonb)", (json.dumps({"gid": theirs, "trans_type": "tcc"}),))
        answer = api.post("submit", gid=theirs, trans_type="tcc")
        assert answer.status == 409 and "another role" in answer.message, answer
        assert db.status(theirs) == "prepared"
    finally:
        cluster.settings.pop("dtm.api_role")
        cluster.reload()
    wait_until(lambda: owner_of(doors, submitted(doors, one)) == "postgres", "the role is out of effect")


def test_the_role_of_the_api_sees_what_it_may(doors, one):
    """A stranger's transaction does not exist for it, until it may observe all."""
    api, db, cluster = doors.api, doors.db, doors.api.cluster
    db.q("create role looker")
    db.q("select dtm_grant('looker', 'submit')")
    hidden = saga(api, both(one, "ok"))
    api.wait(hidden, "succeed")

    def seen():
        listed = [t["gid"] for t in api.get("all", limit=1000).json["transactions"] or []]
        only = [t["gid"] for t in api.get("all", gid=hidden).json["transactions"] or []]
        return api.transaction(hidden) is not None, hidden in listed, hidden in only
    assert seen() == (True, True, True)
    cluster.reload(dtm__api_role="looker")
    try:
        wait_until(lambda: owner_of(doors, submitted(doors, one)) == "looker", "the role is in effect")
        assert seen() == (False, False, False)
        assert api.query(hidden) == {"branches": [], "transaction": None}
        own = submitted(doors, one)
        assert api.status(own) == "succeed"
        assert own in [t["gid"] for t in api.get("all", limit=1000).json["transactions"]]
        db.q("select dtm_grant('looker', 'observe')")
        assert seen() == (True, True, True)
    finally:
        cluster.settings.pop("dtm.api_role")
        cluster.reload()
        db.q("select dtm_revoke('looker')")
    wait_until(lambda: owner_of(doors, submitted(doors, one)) == "postgres", "the role is out of effect")


def submitted(doors, one):
    """Looks at the table: a role that comes into effect meanwhile hides what the other one submitted from the API."""
    gid = saga(doors.api, both(one, "ok"))
    doors.db.wait(gid, "succeed")
    return gid


def owner_of(doors, gid):
    return doors.db.one("select owner::text from dtm.trans where gid = %s", gid)
