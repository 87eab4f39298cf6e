"""Which round a client with wait_result hears of (dtm-compat 1.5.4), and what is counted of rounds: the second one
after a first that was not the last, rounds of another coordinator, clients that do not wait for the end."""
import json
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import Api, Raw, both, metrics, msg, post_text, saga, value
from cluster import free_port, wait_until
from conftest import with_extension
from dtm import step
from test_orders import slice_of

LONG = 1000
TWO_PHASE = ("tcc", "xa")


def own(api, call):
    """call(api) for a thread, with a connection of its own."""
    mine = Api(api.cluster)
    try:
        return call(mine)
    finally:
        mine.close()


def two_phase(api, trans_type, url):
    """Prepared with wait_result, with one branch."""
    base = {"gid": api.new_gid(trans_type), "trans_type": trans_type, "wait_result": True, "retry_interval": LONG}
    api.done("prepare", base)
    api.done("registerBranch", gid=base["gid"], trans_type=trans_type, branch_id="01", data="1", url=url, confirm=url,
             cancel=url)
    return base


# --- the second round -------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_round_is_waited_for(server, one, workers):
    """What the row said of the first one is no answer: the round that the second submit asks for decides."""
    api = server(dtm__workers=workers)
    name = api.new_gid("turn")
    body = {"trans_type": "saga", "wait_result": True, "request_timeout": 60, "retry_interval": LONG,
            "steps": [{"action": one.url(f"ongoing/{name}")}], "payloads": ["1"]}
    gids = [api.new_gid() for _ in range(12)]  # of both slices
    for gid in gids:
        api.refused(409, "wait result not return success", "submit", body | {"gid": gid})
    one.set_mode(name, "hold")
    with ThreadPoolExecutor(len(gids)) as pool:
        answers = [pool.submit(own, api, lambda mine, g=g: mine.post("submit", body | {"gid": g})) for g in gids]
        for gid in gids:
            one.wait_calls(2, gid=gid)
        for _ in range(5):  # the rows are looked at meanwhile
            api.passed_by(one)
        early = [a.result() for a in answers if a.done()]
        one.release(name)
        assert not early
        assert [a.result(60).status for a in answers] == [200] * len(gids)


@pytest.mark.parametrize("trans_type", TWO_PHASE)
def test_a_second_abort_is_no_success_before_the_end(api, one, trans_type):
    name = api.new_gid("down")
    base = two_phase(api, trans_type, one.url(f"error/{name}"))
    for _ in range(3):
        answer = api.post("abort", base)
        assert answer.status == 500 and api.status(base["gid"]) == "aborting", answer
    one.set_mode(name, "ok")
    api.done("abort", base)
    assert api.status(base["gid"]) == "failed"


@pytest.mark.parametrize("trans_type", TWO_PHASE)
def test_an_abort_of_what_is_paused(api, one, trans_type):
    """It is taken back later: who waits for that is told so."""
    base = two_phase(api, trans_type, one.url("ok/b"))
    api.db.one("select dtm_pause(%s)", base["gid"])
    for _ in range(2):
        assert "paused" in api.refused(500, "it will be tried again", "abort", base)
        assert api.status(base["gid"]) == "aborting"
    assert one.calls(gid=base["gid"]) == []
    api.db.one("select dtm_resume(%s)", base["gid"])
    api.wait(base["gid"], "failed")


def test_a_submit_of_what_has_its_time_to_wait(api, one):
    """Nothing happens before the delay is over: each submit is told so at once."""
    gid = api.new_gid("delay")
    for _ in range(2):
        answer, _ = msg(api, one.url("ok/a"), gid=gid, answer=True, wait_result=True, custom_data='{"delay":1000}')
        assert answer.status == 409 and answer.message == "wait result not return success: FAILURE"
    assert one.calls(gid=gid) == [] and api.status(gid) == "submitted"


# --- rounds of another coordinator ------------------------------------------------------------------

def test_rounds_that_are_not_the_last_with_two_workers(server, one):
    api = server(dtm__workers=2)
    for mode, status in (("ongoing", 425), ("error", 500)):
        for how in ("submit", "abort"):
            for trans_type in TWO_PHASE:
                for _ in range(4):
                    base = two_phase(api, trans_type, one.url(f"{mode}/b"))
                    for n in (1, 2):
                        assert (n, api.post(how, base).status) == (n, status), (mode, how, trans_type)
                        assert len(one.calls(gid=base["gid"])) == n
    for mode, status in (("ongoing", 409), ("error", 500)):  # D10, D11
        for _ in range(6):
            answer, gid = msg(api, one.url(f"{mode}/m"), answer=True, wait_result=True, retry_interval=LONG)
            assert answer.status == status and api.status(gid) == "submitted", answer
    for mode, end in (("ongoing", "submitted"), ("error", "submitted"), ("fail", "failed")):
        for _ in range(6):
            answer, gid = saga(api, both(one, mode), answer=True, wait_result=True, retry_interval=LONG)
            assert answer.status == 409 and api.status(gid) == end, answer


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_paused_ends_its_round(server, one, workers):
    """Nobody calls it: whoever waits for it need not."""
    api = server(dtm__workers=workers)
    gate = api.new_gid("gate")
    bases = [two_phase(api, "tcc", one.url(f"hold/{gate}")) for _ in range(6)]
    with ThreadPoolExecutor(len(bases)) as pool:
        answers = [pool.submit(own, api, lambda mine, b=b: mine.post("submit", b)) for b in bases]
        for base in bases:
            one.wait_calls(1, gid=base["gid"])
            api.db.one("select dtm_pause(%s)", base["gid"])
        assert [a.result(60).status for a in answers] == [500] * len(bases)
    one.release(gate)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_host_that_is_paused(server, one, workers):
    """Its calls are kept back: that is the end of the round, and no failure."""
    api = server(dtm__workers=workers)
    api.db.one("select dtm_pause(host => %s)", one.url("")[:-1])
    for _ in range(6):
        base = two_phase(api, "tcc", one.url("ok/b"))
        assert "paused" in api.refused(500, "it will be tried again", "submit", base)
        answer, gid = msg(api, one.url("ok/m"), answer=True, wait_result=True)
        assert answer.status == 500 and "paused" in answer.message, answer
        assert one.calls(gid=gid) == one.calls(gid=base["gid"]) == []


def test_a_row_of_the_other_that_cannot_be_read(server, one):
    """Its client hears of it, and the coordinator that is the API server goes on with its own."""
    api = server(dtm__workers=2)
    gate, gid = api.new_gid("gate"), api.new_gid()
    while slice_of(api.cluster, gid) == 0:
        gid = api.new_gid()
    long = {"steps": [{"action": one.url(f"hold/{gate}")}], "payloads": [random.randbytes(50000).hex()]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own, api, lambda mine: mine.post("submit", long | {
            "gid": gid, "trans_type": "msg", "wait_result": True, "request_timeout": LONG}))
        one.wait_calls(1, gid=gid)
        lose_long_texts(api.db, "dtm.trans")
        with api.db.conn.transaction():  # one of each slice at least
            others = [api.db.saga(step(one.url("ok/a"), None, {})) for _ in range(20)]
        assert set(api.db.wait_all(others).values()) == {"succeed"}
        assert answer.result(60).status == 500 and "missing chunk" in answer.result().message
    one.release(gate)
    api.db.wait(gid, "succeed")  # what is in memory is enough


def lose_long_texts(db, table):
    """What PostgreSQL keeps apart of long values is gone, as after a damage of the disk."""
    db.q("create table empty (t text)")
    toast = "(select oid from pg_class where oid = (select reltoastrelid from pg_class where oid = '{}'::regclass))"
    for of in "{}", "(select indexrelid from pg_index where indrelid = {})":
        lost, empty = (of.format(toast.format(t)) for t in (table, "empty"))
        db.q(f"update pg_class set relfilenode = (select relfilenode from pg_class where oid = {empty})"
             f" where oid = {lost}")


# --- who waits --------------------------------------------------------------------------------------

def test_clients_that_are_gone_wait_for_nothing(api, one):
    gate, gids = api.new_gid("gate"), [api.new_gid() for _ in range(10)]

    def waiting():
        return value(metrics(api)[0], "dtm_pg_api_waiting")
    sockets = []
    try:
        for gid in gids:
            sockets.append(Raw(api.cluster))
            sockets[-1].send(post_text("/api/dtmsvr/submit", json.dumps({
                "gid": gid, "trans_type": "saga", "steps": [{"action": one.url(f"hold/{gate}")}], "payloads": ["1"],
                "wait_result": True, "request_timeout": 60})))
        for gid in gids:
            one.wait_calls(1, gid=gid)
        wait_until(lambda: waiting() == len(gids), "they wait")
    finally:
        for raw in sockets:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.socket.close()
    wait_until(lambda: waiting() == 0, "nobody waits any more")
    one.release(gate)
    for gid in gids:
        api.wait(gid, "succeed")


# --- what is counted --------------------------------------------------------------------------------

def test_calls_that_nobody_answers_are_counted(api, one):
    def failed():
        return value(metrics(api)[0], "dtm_branch_process_total", model="tcc", branchtype="confirm", status="fail")
    before = failed()
    base = two_phase(api, "tcc", f"http://127.0.0.1:{free_port()}/x")
    assert api.post("submit", base).status == 500
    assert failed() == before + 1


def test_totals_grow_when_another_coordinator_begins_anew(server, session, one):
    api = server()
    cluster = api.cluster
    cluster.sql("create database second", dbname="postgres")
    with_extension(cluster, "second")
    other = session(cluster, "second")

    def run(number):
        gids = [other.new_gid() for _ in range(number)]
        for gid in gids:
            other.saga(step(one.url("ok/a"), None, {}), gid=gid)
        assert set(other.wait_all(gids).values()) == {"succeed"}

    def succeeded():
        return value(metrics(api)[0], "dtm_pg_succeeded_total")
    before = succeeded()
    run(20)
    wait_until(lambda: succeeded() == before + 20, "they are counted")
    was = cluster.coordinators("second")
    cluster.expect("due to administrator command")
    api.db.q("select pg_terminate_backend(%s)", was[0])
    cluster.wait_coordinator("second", other_than=was)
    run(3)
    wait_until(lambda: succeeded() == before + 23, "these, too")
    other.close()
