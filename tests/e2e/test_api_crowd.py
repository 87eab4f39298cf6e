"""Many calls at once: they share database transactions, and still each gets the answer that it would have got alone
(design 12)."""
import contextlib
import json
import select
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import BASE, Api, Raw, both, get_text, post_text, saga
from cluster import wait_until


def command(op, **fields):
    return post_text(BASE + op, json.dumps(fields))


def crowd(api, job, count, threads=16):
    """job(mine, n) for n < count, with a connection per thread; the results in order."""
    local = threading.local()

    def run(n):
        if not hasattr(local, "api"):
            local.api = Api(api.cluster)
        return job(local.api, n)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(count)))


def test_a_life_in_one_packet(api, one):
    """Everything about one transaction at once, on one connection: carried out and answered in its order."""
    base = {"gid": (gid := api.new_gid()), "trans_type": "tcc"}
    branch = {"data": "1", "confirm": one.url("ok/c"), "cancel": one.url("ok/x")}
    with Raw(api.cluster) as raw:
        raw.send(command("registerBranch", **base, branch_id="00") + command("prepare", **base)
                 + b"".join(command("registerBranch", **base, branch_id=f"{n:02}", **branch) for n in range(1, 6))
                 + get_text(BASE + "query?gid=" + gid).encode() + command("submit", **base, wait_result=True)
                 + command("registerBranch", **base, branch_id="06") + command("abort", **base)
                 + get_text(BASE + "query?gid=" + gid).encode())
        answers = [raw.answer() for _ in range(12)]
    assert [a.status for a in answers] == [409] + [200] * 8 + [409, 409, 200]
    assert [b["status"] for b in answers[7].json["branches"]] == ["prepared"] * 10
    assert answers[11].json["transaction"]["status"] == "succeed"
    assert one.sequence(gid) == [f"{n:02} confirm" for n in range(5, 0, -1)]


def test_many_clients(api, one):
    """Sagas that succeed and that fail, waited for: nobody gets another's answer."""
    gids = [api.new_gid(f"crowd{n}") for n in range(400)]

    def submit(mine, n):
        answer, _ = saga(mine, both(one, "ok"), both(one, "fail" if n % 4 == 0 else "ok"), gid=gids[n], answer=True,
                         wait_result=True)
        return answer.status
    assert crowd(api, submit, 400) == [409 if n % 4 == 0 else 200 for n in range(400)]
    for n, gid in enumerate(gids):
        assert api.status(gid) == ("failed" if n % 4 == 0 else "succeed")


def test_all_commands_mixed(api, one):
    """Each thread leads TCCs of its own from prepare to the end, half of them back."""
    gids = [api.new_gid("mixed") for _ in range(100)]

    def life(mine, n):
        base = {"gid": gids[n], "trans_type": "tcc"}
        mine.done("prepare", base)
        for branch_id in ("01", "02"):
            mine.done("registerBranch", base | {"branch_id": branch_id, "data": str(n), "confirm": one.url("ok/c"),
                                                "cancel": one.url("ok/x")})
        assert len(mine.branches(gids[n])) == 4
        mine.done("abort" if n % 2 else "submit", base)
        assert mine.post("registerBranch", base | {"branch_id": "03"}).status == 409
    crowd(api, life, 100)
    for n, gid in enumerate(gids):
        api.wait(gid, "failed" if n % 2 else "succeed")
        op = "cancel" if n % 2 else "confirm"
        assert [(c.op, c.branch_id, c.body) for c in one.calls(gid=gid)] == [
            (op, "02", str(n).encode()), (op, "01", str(n).encode())]


def test_the_same_gid_from_everybody(api, one):
    """One creates it, the others find it: one row, each action called once."""
    gid, gate = api.new_gid(), api.new_gid("gate")

    def submit(mine, _):
        return mine.post("submit", gid=gid, trans_type="saga", payloads=["1"], request_timeout=60,
                         steps=[{"action": one.url(f"hold/{gate}")}]).status
    assert crowd(api, submit, 100) == [200] * 100
    one.wait_calls(1, gid=gid)
    api.passed_by(one)
    one.release(gate)
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def test_submit_and_abort_race(api, one):
    """One of them wins, the other is told so, and only the winner's calls are made (P4)."""
    won = {"submit": 0, "abort": 0}
    for _ in range(30):
        base = {"gid": (gid := api.new_gid()), "trans_type": "tcc"}
        api.done("prepare", base)
        api.done("registerBranch", base | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"),
                                           "cancel": one.url("ok/x")})
        statuses = crowd(api, lambda mine, n, b=base: mine.post(("submit", "abort")[n], b).status, 2, 2)
        assert sorted(statuses) == [200, 409]
        winner = ("submit", "abort")[statuses.index(200)]
        won[winner] += 1
        api.wait(gid, "succeed" if winner == "submit" else "failed")
        assert one.sequence(gid) == ["01 confirm" if winner == "submit" else "01 cancel"]
    print(won)


def test_two_who_wait_for_the_same(api, one):
    gid, gate = api.new_gid(), api.new_gid("gate")

    def submit(mine, _):
        return mine.post("submit", gid=gid, trans_type="saga", payloads=["1"], wait_result=True, request_timeout=60,
                         steps=[{"action": one.url(f"hold/{gate}")}]).status
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(crowd, api, submit, 5, 5)
        one.wait_calls(1, gid=gid)
        api.passed_by(one)
        assert not waiting.done()
        one.release(gate)
        assert waiting.result(60) == [200] * 5


@pytest.fixture
def poisoned(api):
    """Every write of a row whose gid begins with poison fails."""
    api.db.q("create or replace function refuse_poison() returns trigger language plpgsql as"
             " $$ begin raise exception 'this row cannot be written'; end $$")
    api.db.q("create trigger poison before insert on dtm.trans for each row when (new.gid like 'poison%')"
             " execute function refuse_poison()")
    yield
    api.db.q("drop trigger poison on dtm.trans")


def at_once(api, requests):
    """Each on a socket of its own, all sent before any answer is read; the answers in their order. Requests of one
    connection would be executed one after the other."""
    requests = list(requests)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(Raw(api.cluster)) for _ in requests]
        for raw, text in zip(sockets, requests):
            raw.send(text)
        return [raw.answer() for raw in sockets]


def prepare(gid):
    return command("prepare", gid=gid, trans_type="tcc")


def test_a_crowd_shares_transactions(api):
    """Not where the client comes to send less than the server carries out: then once more."""
    def transactions():
        gids = [api.new_gid("together") for _ in range(150)]
        assert {a.status for a in at_once(api, map(prepare, gids))} == {200}
        return api.db.one("select count(distinct xmin::text) from dtm.trans where gid = any(%s)", gids)
    wait_until(lambda: transactions() <= 50, "150 requests share transactions")


def test_one_that_cannot_be_stored_spoils_nobody_elses(api, one, poisoned):
    """The others of its batch are stored, and it alone is told."""
    gids = [api.new_gid("poison" if n == 75 else "good") for n in range(150)]
    answers = at_once(api, [command("submit", gid=g, trans_type="msg", steps=[{"action": one.url("ok/a")}],
                                    payloads=["1"]) for g in gids])
    assert [a.status for a in answers] == [500 if n == 75 else 200 for n in range(150)]
    assert "this row cannot be written" in answers[75].message
    for n, gid in enumerate(gids):
        if n == 75:
            assert api.status(gid) is None
        else:
            api.wait(gid, "succeed")
    api.passed_by(one)
    assert one.calls(gid=gids[75]) == []


def test_one_gid_many_times_in_a_batch(api, one):
    """Of each gid one command is carried out at a time: as many ask for the end of it as for the opposite, and all
    hear the same story."""
    gids = [api.new_gid("double") for _ in range(20)]
    assert {a.status for a in at_once(api, map(prepare, gids))} == {200}
    requests = [(op, gid) for op in ("submit", "prepare", "abort", "submit") for gid in gids]
    answers = at_once(api, [command(op, gid=gid, trans_type="tcc") for op, gid in requests])
    for gid in gids:
        told = {op: [] for op in ("submit", "prepare", "abort")}
        for (op, g), answer in zip(requests, answers):
            if g == gid:
                told[op].append(answer.status)
        submitted = 200 in told["submit"]
        assert told["abort"] == [409 if submitted else 200], told
        api.wait(gid, "succeed" if submitted else "failed")


def test_one_that_is_locked_delays_nobody_else(api, one):
    """Its caller waits for the lock, or is told to try again; the others of the batch do not notice."""
    gid, others = api.new_gid("locked"), [api.new_gid("free") for _ in range(30)]
    for g in (gid, *others):
        api.done("prepare", gid=g, trans_type="tcc")
    with api.cluster.connect(autocommit=False) as holder, Raw(api.cluster) as raw:
        holder.execute("select from dtm.trans where gid = %s for update", (gid,))
        raw.send(command("submit", gid=gid, trans_type="tcc"))
        submits = [command("submit", gid=other, trans_type="tcc") for other in others]
        assert {a.status for a in at_once(api, submits)} == {200}
        for other in others:
            api.wait(other, "succeed")
        holder.rollback()
        status = raw.answer().status
    assert status in (200, 500)
    if status == 500:
        api.done("submit", gid=gid, trans_type="tcc")
    api.wait(gid, "succeed")


def test_a_lock_that_stays(api):
    """The caller is told after some seconds, and may try again."""
    gid = api.new_gid("locked")
    api.done("prepare", gid=gid, trans_type="tcc")
    with api.cluster.connect(autocommit=False) as holder:
        holder.execute("select from dtm.trans where gid = %s for update", (gid,))
        api.refused(500, "try again", "submit", gid=gid, trans_type="tcc")
        assert api.status(gid) == "prepared"
    api.done("submit", gid=gid, trans_type="tcc")
    api.wait(gid, "succeed")


def test_a_table_that_is_locked(api):
    """By CREATE INDEX, say: each caller is told after some seconds, and whoever needs no table does not wait for them.
    Not where all has come to stand still for so long: then once more."""
    def answered_meanwhile():
        gids = [api.new_gid("locked") for _ in range(40)]
        assert {a.status for a in at_once(api, map(prepare, gids))} == {200}
        with api.cluster.connect(autocommit=False) as holder, contextlib.ExitStack() as stack:
            holder.execute("lock table dtm.trans in share mode")
            waiting = [stack.enter_context(Raw(api.cluster)) for _ in gids]
            for raw, gid in zip(waiting, gids):
                raw.send(command("submit", gid=gid, trans_type="tcc"))
            assert stack.enter_context(Raw(api.cluster)).send(get_text("/api/ping")).answer().status == 200
            told, _, _ = select.select([raw.socket for raw in waiting], [], [], 0)
            for answer in (raw.answer() for raw in waiting):
                assert answer.status == 500 and "somebody has locked transaction" in answer.message, answer
        for gid in gids:
            api.done("submit", gid=gid, trans_type="tcc")
            api.wait(gid, "succeed")
        return not told
    wait_until(answered_meanwhile, "a ping is answered before any of them")


def test_reads_between_writes(api, one):
    """While a crowd submits, every query and every list is a whole answer."""
    stop, seen = [], []

    def look():
        mine = Api(api.cluster)
        while not stop:
            found = mine.get("all", limit=50)
            assert found.status == 200
            for t in (found.json["transactions"] or [])[:3]:
                answer = mine.query(t["gid"])
                assert answer["transaction"]["gid"] == t["gid"]
            seen.append(1)
        mine.close()
    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        gids = [api.new_gid("read") for _ in range(300)]
        try:
            crowd(api, lambda mine, n: saga(mine, both(one, "ok"), gid=gids[n]), 300, 8)
            wait_until(lambda: len(seen) > 5, "some lists were read")
        finally:
            stop.append(True)
        for future in looking:
            future.result(60)
    assert set(api.db.wait_all(gids).values()) == {"succeed"}
