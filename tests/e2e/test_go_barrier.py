"""The barrier of dtm's Go client and ours, in one table: what one has noted, the other heeds, whichever
comes first. The Go side is the published module, github.com/dtm-labs/client (tests/interop/go)."""
import itertools
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from cluster import wait_until
from conftest import with_extension
from go_service import GoService, build

SCRIPT = Path(__file__).parents[2] / "src" / "script" / "dtm_pg_barrier.sql"

# As a Go service's own installation makes it (dtm-compat 6.6).
DTMS_TABLE = """
create schema dtm_barrier;
create sequence dtm_barrier.barrier_seq;
create table dtm_barrier.barrier (
  id bigint not null default nextval('dtm_barrier.barrier_seq') primary key,
  trans_type varchar(45) default '', gid varchar(128) default '', branch_id varchar(128) default '',
  op varchar(45) default '', barrier_id varchar(45) default '', reason varchar(45) default '',
  create_time timestamp(0) with time zone default null,
  update_time timestamp(0) with time zone default null,
  constraint uniq_barrier unique (gid, branch_id, op, barrier_id))"""

OPS = {"saga": ("action", "compensate"), "tcc": ("try", "confirm", "cancel"), "msg": ("action",),
       "workflow": ("action", "commit", "rollback"), "xa": ("action", "commit", "rollback")}


class Both:
    """One database, a Go service in it, and our functions. Each effect is a row that names its side."""

    def __init__(self, cluster, dbname):
        self.cluster, self.dbname = cluster, dbname
        self.go = GoService(cluster, dbname)
        self.conn = self.connect()
        self.conn.execute("create table effect (gid text, branch text, op text, side text)")

    def connect(self):
        return self.cluster.connect(self.dbname)

    def destroy(self):
        self.conn.close()
        self.go.destroy()

    def q(self, sql, *params):
        return self.conn.execute(sql, params).fetchall()

    def effect(self, side, gid, op, branch):
        return f"insert into effect values ('{gid}', '{branch}', '{op}', '{side}')"

    def start_go(self, trans_type, gid, op, branch="01", times=1, hold=False):
        return self.go.start("call", trans_type=trans_type, gid=gid, branch_id=branch, op=op, hold=hold,
                             sql=[self.effect("go", gid, op, branch)] * times)

    def go_call(self, trans_type, gid, op, branch="01"):
        answer = self.go.answer(self.start_go(trans_type, gid, op, branch))
        assert not answer["error"], answer
        return answer["ran"] == [True]

    def our_call(self, trans_type, gid, op, branch="01", conn=None):
        return (conn or self.conn).execute(
            "select dtm_barrier_call(%s, %s, %s, %s, %s)",
            (trans_type, gid, branch, op, self.effect("ours", gid, op, branch))).fetchone()[0]

    def call(self, side, *what):
        return (self.go_call if side == "go" else self.our_call)(*what)

    def effects(self, gid):
        return [tuple(row) for row in self.q("select op, side from effect where gid = %s order by op, side", gid)]

    def rows(self, gid):
        return self.q("select trans_type, branch_id, op, barrier_id, reason from dtm_barrier.barrier"
                      " where gid = %s order by branch_id, op, barrier_id", gid)

    def wait_blocked(self, count=1):
        """Until so many sessions of this database wait for another's transaction."""
        wait_until(lambda: self.q("select count(*) from pg_stat_activity where datname = current_database()"
                                  " and wait_event_type = 'Lock'") == [(count,)], f"{count} session(s) wait")


def new_gid():
    return "go" + uuid.uuid4().hex[:16]


@pytest.fixture(scope="module")
def cluster(module_cluster):
    build()
    return module_cluster


@pytest.fixture(scope="module", params=["extension", "extension adopts", "script", "script adopts"])
def both(request, cluster):
    """Our functions from either source, on a table that they made and on dtm's own, which they found."""
    dbname = request.param.replace(" ", "_")
    cluster.sql(f"create database {dbname}", dbname="postgres")
    if "adopts" in request.param:
        cluster.sql(DTMS_TABLE, dbname=dbname)
    if "script" in request.param:
        cluster.sql(SCRIPT.read_text(), dbname=dbname)
    else:
        with_extension(cluster, dbname)
    both = Both(cluster, dbname)
    try:
        yield both
    finally:
        both.destroy()


other_side = {"go": "ours", "ours": "go"}
each_side = pytest.mark.parametrize("first", ["go", "ours"])


# --- the rules ------------------------------------------------------------------------------------

@each_side
def test_what_one_did_is_a_duplicate_for_the_other(both, first):
    gid, second = new_gid(), other_side[first]
    assert both.call(first, "saga", gid, "action")
    assert not both.call(second, "saga", gid, "action")
    assert both.call(second, "saga", gid, "compensate")
    assert not both.call(first, "saga", gid, "compensate")
    assert both.effects(gid) == [("action", first), ("compensate", second)]


@each_side
def test_an_empty_compensation_of_one_stops_the_action_of_the_other(both, first):
    gid, second = new_gid(), other_side[first]
    assert not both.call(first, "saga", gid, "compensate")
    assert not both.call(second, "saga", gid, "action")
    assert both.effects(gid) == []
    assert both.rows(gid) == [("saga", "01", "action", "01", "compensate"),
                              ("saga", "01", "compensate", "01", "compensate")]


def test_our_verdict_tells_what_go_did(both):
    done, undone, fresh = new_gid(), new_gid(), new_gid()
    both.go_call("tcc", done, "try")
    both.go_call("tcc", undone, "cancel")
    with both.connect() as conn:
        def verdict(gid, op):
            with conn.transaction(force_rollback=True):
                return conn.execute("select dtm_barrier_verdict('tcc', %s, '01', %s)", (gid, op)).fetchone()[0]
        assert [verdict(done, op) for op in OPS["tcc"]] == ["duplicate", "run", "run"]
        assert [verdict(undone, op) for op in OPS["tcc"]] == ["hanging", "run", "duplicate"]
        assert [verdict(fresh, op) for op in OPS["tcc"]] == ["run", "run", "empty"]


@pytest.mark.parametrize("trans_type", OPS)
def test_any_mix_of_sides_ends_as_go_alone(both, trans_type):
    """All sequences of up to three calls, each by either side: same decisions, same rows."""
    checked = 0
    for length in (1, 2, 3):
        for ops in itertools.product(OPS[trans_type], repeat=length):
            alone = new_gid()
            decided = [both.go_call(trans_type, alone, op) for op in ops]
            for sides in itertools.product(("go", "ours"), repeat=length):
                gid = new_gid()
                assert [both.call(side, trans_type, gid, op) for side, op in zip(sides, ops)] == decided, (ops, sides)
                assert both.rows(gid) == both.rows(alone), (ops, sides)
                checked += 1
    assert checked == sum((2 * len(OPS[trans_type])) ** length for length in (1, 2, 3))


@each_side
def test_barriers_of_one_branch_are_counted_alike(both, first):
    """Go counts in one BranchBarrier, we count in one transaction: 01, 02, ..."""
    gid = new_gid()

    def ours(times):
        with both.connect() as conn, conn.transaction():
            return [both.our_call("tcc", gid, "confirm", conn=conn) for _ in range(times)]

    def go(times):
        return both.go.answer(both.start_go("tcc", gid, "confirm", times=times))["ran"]
    one, other = (go, ours) if first == "go" else (ours, go)
    assert one(2) == [True, True]
    assert other(3) == [False, False, True]
    assert one(4) == [False, False, False, True]
    assert [row[3] for row in both.rows(gid)] == ["01", "02", "03", "04"]


def test_rows_of_go_get_a_time(both):
    """By which dtm_barrier_purge() finds them, also in dtm's own table."""
    gid = new_gid()
    both.go_call("saga", gid, "action")
    assert both.q("select create_time between now() - interval '1 minute' and now() + interval '1 minute'"
                  " from dtm_barrier.barrier where gid = %s", gid) == [(True,)]


# --- messages --------------------------------------------------------------------------------------

def our_query(both, gid):
    return both.q("select dtm_barrier_query_prepared('msg', %s)", gid) == [(True,)]


def go_query(both, gid):
    error = both.go.do("query_prepared", trans_type="msg", gid=gid)["error"]
    assert error in ("", "FAILURE")
    return not error


def test_a_message_of_go_asked_by_us(both):
    gid = new_gid()
    assert both.go_call("msg", gid, "msg", "00")
    assert our_query(both, gid) and our_query(both, gid) and go_query(both, gid)


def test_a_message_of_ours_asked_by_go(both):
    gid = new_gid()
    assert both.our_call("msg", gid, "msg", "00")
    assert go_query(both, gid) and go_query(both, gid) and our_query(both, gid)


def test_a_message_that_we_gave_up_cannot_commit_in_go(both):
    gid = new_gid()
    assert not our_query(both, gid)
    answer = both.go.answer(both.start_go("msg", gid, "msg", "00"))
    assert (answer["error"], answer["ran"]) == ("DUPLICATED", [False])
    assert not go_query(both, gid) and both.effects(gid) == []


def test_a_message_that_go_gave_up_cannot_commit_with_us(both):
    gid = new_gid()
    assert not go_query(both, gid)
    with pytest.raises(psycopg.Error) as error:
        both.our_call("msg", gid, "msg", "00")
    assert error.value.diag.sqlstate == "TDF00"
    assert not our_query(both, gid) and both.effects(gid) == []


def test_the_local_transaction_of_a_message_happens_once(both):
    gid, other = new_gid(), new_gid()
    assert both.go_call("msg", gid, "msg", "00")
    with pytest.raises(psycopg.Error) as error:
        both.our_call("msg", gid, "msg", "00")
    assert error.value.diag.sqlstate == "TD002"
    assert both.our_call("msg", other, "msg", "00")
    assert both.go.answer(both.start_go("msg", other, "msg", "00"))["error"] == "DUPLICATED"
    assert (both.effects(gid), both.effects(other)) == ([("msg", "go")], [("msg", "ours")])


# --- one waits for the other -------------------------------------------------------------------------

def test_we_wait_for_go(both):
    gid = new_gid()
    number = both.start_go("saga", gid, "action", hold=True)
    assert both.go.answer(number)["held"]
    with ThreadPoolExecutor(1) as pool, both.connect() as conn:
        ours = pool.submit(both.our_call, "saga", gid, "action", conn=conn)
        both.wait_blocked()
        both.go.release(number)
        assert both.go.answer(number)["ran"] == [True]
        assert ours.result(60) is False
    assert both.effects(gid) == [("action", "go")]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_go_waits_for_us(both, end):
    gid = new_gid()
    with both.connect() as conn:
        conn.autocommit = False
        assert both.our_call("saga", gid, "action", conn=conn)
        number = both.start_go("saga", gid, "action")
        both.wait_blocked()
        getattr(conn, end)()
        answer = both.go.answer(number)
    assert (answer["ran"], answer["error"]) == ([end == "rollback"], "")
    assert both.effects(gid) == [("action", "ours" if end == "commit" else "go")]


def test_the_question_for_a_message_waits_for_its_local_transaction(both):
    gid = new_gid()
    number = both.start_go("msg", gid, "msg", "00", hold=True)
    assert both.go.answer(number)["held"]
    with ThreadPoolExecutor(1) as pool, both.connect() as conn:
        asked = pool.submit(lambda: conn.execute("select dtm_barrier_query_prepared('msg', %s)", (gid,)).fetchone())
        both.wait_blocked()
        both.go.release(number)
        assert asked.result(60) == (True,)
    assert both.go.answer(number)["error"] == ""


def test_a_crowd_of_both_sides(both):
    """Actions and compensations of 20 branches, four of each from either side, all at once."""
    gid, branches = new_gid(), [f"{n:02}" for n in range(1, 21)]
    work = [(side, op, branch) for branch in branches for side in ("go", "ours") for op in OPS["saga"]] * 4

    def one(item):
        side, op, branch = item
        if side == "go":
            return both.go_call("saga", gid, op, branch)
        with both.connect() as conn:
            return both.our_call("saga", gid, op, branch, conn=conn)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, work))
    found = both.q("select branch, count(*) filter (where op = 'action'), count(*) filter (where op = 'compensate')"
                   " from effect where gid = %s group by 1", gid)
    # Both happened once, or neither did: the compensation came first and was empty.
    assert {row[1:] for row in found} == {(1, 1)}
    assert len(both.rows(gid)) == 2 * len(branches)


# --- XA and triggers ---------------------------------------------------------------------------------

def test_after_gos_xa_rollback_our_action_hangs(both):
    gid = new_gid()
    assert both.go.do("xa_rollback", gid=gid, branch_id="01")["error"] == ""
    assert both.rows(gid) == [("xa", "01", "action", "01", "rollback")]
    assert not both.our_call("xa", gid, "action")
    with both.connect() as conn:
        conn.execute("set dtm.strict_barrier = on")
        with pytest.raises(psycopg.Error) as error:
            both.our_call("xa", gid, "action", conn=conn)
    assert error.value.diag.sqlstate == "TDF00"


def test_gos_xa_rollback_undoes_what_we_prepared(both):
    gid = new_gid()
    with both.connect() as conn:
        conn.execute("begin")
        assert both.our_call("xa", gid, "action", conn=conn)
        conn.execute(f"prepare transaction '{gid}-01'")
    assert both.go.do("xa_rollback", gid=gid, branch_id="01")["error"] == ""
    assert both.q("select from pg_prepared_xacts where gid = %s", gid + "-01") == []
    assert both.effects(gid) == [] and not both.our_call("xa", gid, "action")


def test_gos_xa_rollback_waits_for_our_open_action(both):
    gid = new_gid()
    with both.connect() as conn:
        conn.execute("begin")
        assert both.our_call("xa", gid, "action", conn=conn)
        number = both.go.start("xa_rollback", gid=gid, branch_id="01")
        both.wait_blocked()
        conn.execute("rollback")
    assert both.go.answer(number)["error"] == ""
    assert both.rows(gid) == [("xa", "01", "action", "01", "rollback")]


@each_side
def test_triggers_and_go_exclude_each_other(both, first):
    gid = new_gid()
    both.conn.execute("create table if not exists guarded (gid text)")
    both.conn.execute("select dtm_protect('guarded', true)")

    def triggers():
        with both.connect() as conn, conn.transaction():
            conn.execute("select dtm_branch('saga', %s, '01', 'action')", (gid,))
            return conn.execute("insert into guarded values (%s)", (gid,)).rowcount == 1

    def go():
        return both.go_call("saga", gid, "action")
    one, other = (go, triggers) if first == "go" else (triggers, go)
    assert one() and not other()
    assert len(both.q("select from guarded where gid = %s", gid)) == (first == "ours")
