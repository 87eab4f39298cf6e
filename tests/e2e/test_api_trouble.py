"""Very many clients, very slow and very large ones, and those that speak no HTTP; kills and shutdowns (design 12).
Clusters of their own, but for what harms nobody."""
import contextlib
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import Api, Raw, both, get_text, msg, post_text, saga, wait_listening
from cluster import wait_until
from dtm import step
from test_survival import kill_coordinator, kill_postmaster, shut_down, terminate_coordinator
from test_trouble import wait_blocked

SUBMIT = "/api/dtmsvr/submit"


def again(api, session):
    """The same server after a blow: its port is the same, sessions and connections are new."""
    api.close()
    new = Api(api.cluster, session(api.cluster), token=api.token, tls=api.tls)
    new.db.gids = api.db.gids
    return wait_listening(new)


def test_while_the_coordinator_cannot_work(server, one):
    """What needs no table is answered, the others are told; and then all goes on."""
    api = server()
    begin = api.cluster.log_size()
    with api.cluster.connect(autocommit=False) as holder:
        holder.execute("lock table dtm.control in access exclusive mode")
        wait_until(lambda: "cannot work and tries again" in api.cluster.log_text(begin), "it cannot work")
        assert api.request("GET", "/api/ping").status == 200 and api.get("newGid").status == 200
        gid = api.new_gid("later")
        api.refused(503, "dtm_pg cannot work at the moment: ", "submit", gid=gid, trans_type="msg",
                    steps=[{"action": one.url("ok/a")}], payloads=["1"])
        holder.rollback()
    wait_until(lambda: "works again" in api.cluster.log_text(begin), "it works")
    assert api.status(gid) is None
    api.done("submit", gid=gid, trans_type="msg", steps=[{"action": one.url("ok/a")}], payloads=["1"])
    api.wait(gid, "succeed")


@pytest.mark.parametrize("mode", ["access exclusive", "share"])
def test_while_the_table_is_locked(server, one, mode):
    """By VACUUM FULL or CREATE INDEX, say: whoever is told that it could not be done finds that it was not."""
    api = server()
    late = api.new_gid("late")
    api.done("prepare", gid=late, trans_type="tcc")
    api.db.q("update dtm.trans set next_cron_time = now() - interval '1 hour' where gid = %s", late)
    gid, fields = api.new_gid("told"), {"trans_type": "msg", "steps": [{"action": one.url("ok/a")}], "payloads": ["1"]}
    with api.cluster.connect(autocommit=False) as holder:
        holder.execute(f"lock table dtm.trans in {mode} mode")
        answer = api.post("submit", gid=gid, **fields)
        assert answer.status in (500, 503), answer
        assert api.request("GET", "/api/ping").status == 200
        holder.rollback()
    assert api.status(gid) is None
    api.done("submit", gid=gid, **fields)
    api.wait(gid, "succeed")
    api.done("abort", gid=late, trans_type="tcc")
    api.wait(late, "failed")


def test_while_topics_and_keys_are_locked(server, one):
    """Clients that need them keep nobody waiting who does not."""
    api = server()
    with api.cluster.connect(autocommit=False) as holder, contextlib.ExitStack() as stack:
        holder.execute("lock table dtm.kv in access exclusive mode")
        waiting = [stack.enter_context(Raw(api.cluster)) for _ in range(40)]
        for number, raw in enumerate(waiting):
            raw.send(get_text("/api/dtmsvr/scanKV?cat=topics") if number % 2 else
                     get_text(f"/api/dtmsvr/subscribe?topic=t{number}&url=http%3A%2F%2Fa"))
        for _ in range(3):
            api.wait(saga(api, both(one, "ok")), "succeed")
        for raw in waiting:
            assert raw.answer().status == 500
    assert api.get("scanKV", cat="topics").status == 200


# --- very many, very slow, very large ---------------------------------------------------------------

def test_two_thousand_idle_connections(server, many_descriptors, one):
    api = server()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Raw(api.cluster)) for _ in range(2000)]
        for raw in idle[::100]:
            raw.send(get_text("/api/ping"))
            assert raw.answer().status == 200
        gid = saga(api, both(one, "ok"), wait_result=True)
        assert api.status(gid) == "succeed"
        for raw in idle:
            raw.send(get_text("/api/dtmsvr/newGid"))
        assert len({raw.answer().json["gid"] for raw in idle}) == 2000
    gid = saga(api, both(one, "ok"), wait_result=True)
    assert api.status(gid) == "succeed"


def test_too_many_connections(server):
    api = server(dtm__http_max_connections=10)
    api.close()
    open_ones = []
    try:
        def full():
            open_ones.append(Raw(api.cluster))
            try:
                open_ones[-1].send(get_text("/api/ping")).answer()
                return False
            except (EOFError, ConnectionError):
                return True
        wait_until(full, "the eleventh is sent away", pause=0)
        assert 8 <= len(open_ones) <= 12
        open_ones[0].send(get_text("/api/ping"))
        assert open_ones[0].answer().status == 200, "those that are in are served"
    finally:
        for raw in open_ones:
            raw.socket.close()
    wait_listening(api)


@pytest.fixture(scope="module", autouse=True)
def slow(api_cluster):
    """Half a request line, half a header, half a body, and one that never reads its answers: there while the other
    tests of this file run."""
    whole = post_text("/api/dtmsvr/prepare", json.dumps({"gid": "slow", "trans_type": "tcc"}))
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Raw(api_cluster)).send(whole[:n]) for n in (3, 40, len(whole) - 1) * 10]
        deaf = stack.enter_context(Raw(api_cluster))
        deaf.socket.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            deaf.send(get_text("/api/metrics").encode() * 20000)
        yield slow


def test_slow_clients_disturb_nobody(api, one):
    for _ in range(20):
        assert api.status(saga(api, both(one, "ok"), wait_result=True)) == "succeed"


def test_a_slow_client_that_arrives_is_served(api):
    gid = api.new_gid()
    with Raw(api.cluster) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post_text("/api/dtmsvr/prepare", json.dumps({"gid": gid, "trans_type": "tcc"})):
            raw.send(bytes([byte]))
        assert raw.answer().status == 200
    assert api.status(gid) == "prepared"


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_an_oversized_body(api, declared):
    before = api.count()
    with Raw(api.cluster) as raw:
        try:
            if declared:
                raw.send(f"POST {SUBMIT} HTTP/1.1\r\nHost: dtm\r\nContent-Length: 100000000\r\n\r\n")
            else:
                raw.send(f"POST {SUBMIT} HTTP/1.1\r\nHost: dtm\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(100):
                    raw.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except ConnectionError:
            pass    # it need not read what it will not take
        else:
            assert raw.answer().status == 413
        assert raw.closed()
    assert api.count() == before and api.get("newGid").status == 200


def test_an_oversized_header(api):
    for text in (get_text("/api/ping", "X-Big: " + "x" * 100_000), get_text("/" + "x" * 100_000),
                 get_text("/api/ping", *[f"X-{n}: {n}" for n in range(20_000)])):
        with Raw(api.cluster) as raw:
            try:
                assert raw.send(text).answer().status in (400, 414, 431)
            except ConnectionError:
                pass
            assert raw.closed()
    assert api.get("newGid").status == 200


def test_the_largest_body_is_taken(api, one):
    gid = msg(api, one.url("ok/a"), payloads=["x" * 1_000_000])
    api.wait(gid, "succeed")
    assert len(one.calls(gid=gid)[0].body) == 1_000_000
    answer = api.post("submit", gid=api.new_gid(), trans_type="msg", steps=[{"action": one.url("ok/a")}],
                      payloads=["x" * (1 << 20)])
    assert answer.status in (413, 500), "longer than a row may be"


@pytest.mark.parametrize("data", [
    b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n", b"GET /api/ping HTTP/9.9\r\n\r\n", b"GET /api/ping FTP/1.1\r\n\r\n",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nzz\r\n\r\n",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /api/dtmsvr/submit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /api/ping HTTP/1.1\r\nNo colon here\r\n\r\n", b"GET /api/ping HTTP/1.1\r\n: no name\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\n\r\n", b"\r\n" * 100_000], ids=range(16))
def test_what_is_no_http(api, data):
    """Answered with an error or not at all; and closed."""
    with Raw(api.cluster) as raw:
        with contextlib.suppress(ConnectionError):
            raw.send(data)
            raw.socket.shutdown(socket.SHUT_WR)
        assert raw.closed()
        assert not raw.rest or raw.rest.split(b" ")[1][:1] in b"45", raw.rest[:200]
    assert api.get("newGid").status == 200


def test_clients_that_leave_while_they_wait(api, one):
    gate, gids = api.new_gid("gate"), [api.new_gid() for _ in range(20)]
    for gid in gids:
        with Raw(api.cluster) as raw:
            raw.send(post_text(SUBMIT, json.dumps({
                "gid": gid, "trans_type": "saga", "steps": [{"action": one.url(f"hold/{gate}")}], "payloads": ["1"],
                "wait_result": True, "request_timeout": 60})))
            one.wait_calls(1, gid=gid)
    one.release(gate)
    for gid in gids:
        api.wait(gid, "succeed")


# --- kills -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("blow", [kill_coordinator, kill_postmaster, terminate_coordinator, shut_down])
def test_every_acknowledged_submit_survives(server, session, one, blow):
    """Clients submit without pause while the server goes down; whatever was answered with 200 is driven."""
    api = server()
    accepted, stop = [], []

    def client(n):
        mine = Api(api.cluster)
        while not stop:
            gid = f"{blow.__name__}-{n}-{time.monotonic_ns()}"
            body = {"gid": gid, "trans_type": "saga", "steps": [{"action": one.url("ok/a")}, {"action": ""}],
                    "payloads": ["1", "2"]}
            try:
                if mine.request("POST", SUBMIT, body).status == 200:
                    accepted.append(gid)
            except (OSError, http.client.HTTPException):
                mine.close()
                time.sleep(0.01)  # leaves the machine to the server that starts
        mine.close()
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, n) for n in range(4)]
        try:
            wait_until(lambda: len(accepted) > 200, "submits are accepted")
            api.db.close()
            blow(api.cluster)
            before = len(accepted)
            api = again(api, session)
            wait_until(lambda: len(accepted) > before + 50, "and again")
        finally:
            stop.append(True)
        for c in clients:
            c.result(60)
    assert set(api.db.wait_all(accepted).values()) == {"succeed"}
    assert {g for g, in one.query("select distinct gid from call where op = 'action'")} >= set(accepted)


@pytest.mark.parametrize("blow", [kill_postmaster, terminate_coordinator])
def test_what_was_prepared_and_registered_survives(server, session, one, blow):
    api = server()
    gids = {t: api.new_gid(t) for t in ("msg", "tcc", "xa", "workflow")}
    query = {"query_prepared": one.url("ok/q"), "steps": [{"action": one.url("ok/a")}], "payloads": ["1"]}
    api.done("prepare", gid=gids["msg"], trans_type="msg", timeout_to_fail=1000, **query)
    for t in ("tcc", "xa"):
        api.done("prepare", gid=gids[t], trans_type=t, timeout_to_fail=1000)
        for n in ("01", "02"):
            api.done("registerBranch", gid=gids[t], trans_type=t, branch_id=n, data="1", confirm=one.url("ok/c"),
                     cancel=one.url("ok/x"), url=one.url("ok/p"))
    begin = {"gid": gids["workflow"], "trans_type": "workflow", "custom_data": '{"name":"w"}',
             "query_prepared": one.url("ok/w")}
    api.post("prepareWorkflow", begin)
    api.done("registerBranch", gid=gids["workflow"], trans_type="workflow", branch_id="01", op="action",
             status="succeed", data="the result")
    before = {t: api.query(gid)["branches"] for t, gid in gids.items()}
    api.db.close()
    blow(api.cluster)
    api = again(api, session)
    assert {t: api.query(gid)["branches"] for t, gid in gids.items()} == before
    assert api.post("prepareWorkflow", begin).json["progresses"] == before["workflow"]
    api.done("submit", gid=gids["workflow"], trans_type="workflow", req_extra={"status": "succeed"})
    api.done("submit", gid=gids["msg"], trans_type="msg", **query)
    api.done("submit", gid=gids["tcc"], trans_type="tcc")
    api.done("abort", gid=gids["xa"], trans_type="xa")
    for t, gid in gids.items():
        api.wait(gid, "failed" if t == "xa" else "succeed")
    assert one.sequence(gids["tcc"]) == ["02 confirm", "01 confirm"]
    assert one.sequence(gids["xa"]) == ["01 rollback", "02 rollback"]


@pytest.mark.parametrize("blow", [kill_coordinator, terminate_coordinator])
def test_whoever_waits_for_a_killed_coordinator_is_told(server, session, one, blow):
    api = server()
    gate = api.new_gid("gate")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(saga, api, both(one, "hold", gate), answer=True, wait_result=True, request_timeout=60)
        gid = one.wait_calls(1, name=gate)[0].gid
        api.db.close()
        blow(api.cluster)
        with pytest.raises((OSError, http.client.HTTPException)) as told:
            waiting.result(60)
        assert not isinstance(told.value, TimeoutError), "nobody was told"
    one.release(gate)
    again(api, session).wait(gid, "succeed")


def test_fast_shutdown_with_open_connections(server, one):
    api = server()
    idle = [Raw(api.cluster) for _ in range(50)]
    waiting = []
    for _ in range(20):
        gid = api.new_gid()
        waiting.append(Raw(api.cluster).send(post_text(SUBMIT, json.dumps({
            "gid": gid, "trans_type": "saga", "steps": [{"action": one.url("never/a")}], "payloads": ["1"],
            "wait_result": True, "request_timeout": 1000}))))
        one.wait_calls(1, gid=gid)
    api.db.close()
    print(f"shutdown took {api.cluster.stop():.2f} s")
    for raw in idle + waiting:
        assert raw.closed() and not raw.rest.startswith(b"HTTP/1.1 200")
        raw.socket.close()
    api.cluster.start()
    wait_listening(api)


def test_what_a_turn_brings_that_finds_the_database_foreign(server, session, one):
    """A dump is restored while clients submit: nothing of the same turn is taken for the database (P15)."""
    api = server()
    waits = api.db.saga(step(one.url("ongoing/w"), None, {}), retry_interval=1)
    api.db.wait_attempts(waits, 1)
    restore, watcher = session(api.cluster, autocommit=False), session(api.cluster)
    restore.q("lock table dtm.trans in access exclusive mode")
    wait_blocked(watcher, 2)  # it wants to read what is due, and tries it again in every turn
    gid = api.new_gid("saga")
    body = {"gid": gid, "trans_type": "saga", "steps": [{"action": one.url("ok/a")}], "payloads": ["1"]}
    with Raw(api.cluster) as raw:
        raw.send(post_text(SUBMIT, json.dumps(body)))
        wait_blocked(watcher, 5)
        restore.q("update dtm.trans set create_time = '2000-01-01' where gid = %s", waits)
        restore.q("insert into dtm.identity (system_identifier, database, timeline, installed)"
                  " select system_identifier + 1, database, timeline, installed from dtm.identity")
        calls = len(one.calls(gid=waits))
        restore.conn.commit()
        answer = raw.answer()
    assert answer.status == 503 and "before dtm_adopt() is run" in answer.message, answer
    assert api.db.row(gid) is None and one.calls(gid=gid) == []
    assert len(one.calls(gid=waits)) == calls


def test_two_workers(server, one):
    """One of them has the listener; both drive what comes, and those who wait are told."""
    api = server(dtm__workers=2)
    gids = [saga(api, both(one, "ok"), (one.url("slow/s", ms=20), ""), wait_result=True) for _ in range(20)]
    assert [api.status(gid) for gid in gids] == ["succeed"] * 20
    tcc = [api.new_gid("tcc") for _ in range(20)]
    for gid in tcc:
        base = {"gid": gid, "trans_type": "tcc"}
        api.done("prepare", base)
        api.done("registerBranch", base | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"),
                                           "cancel": one.url("ok/x")})
        api.done("submit" if gid < sorted(tcc)[10] else "abort", base)
    assert sorted(api.wait(gid) for gid in tcc) == ["failed"] * 10 + ["succeed"] * 10
    answer, gid = saga(api, both(one, "fail"), answer=True, wait_result=True)
    assert answer.status == 409 and api.status(gid) == "failed"


def test_slow_clients_are_sent_away(api, slow):
    """The last test of this file: their time is half a minute."""
    for raw in slow:
        assert raw.closed()
        assert not raw.rest or raw.rest.startswith(b"HTTP/1.1 408"), raw.rest[:100]
    assert api.status("slow") is None
