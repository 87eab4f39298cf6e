"""The listener: where it listens, what becomes of it when the settings change, and clients that are slow (design
12). Clusters of their own."""
import base64
import http.client
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api import (SUBMIT, Api, Raw, address_of, both, findings, get_text, metrics, nobody_at, post_text, saga, value,
                 wait_listening)
from cluster import free_port, wait_until
from copies import LONELY, standby_of
from dtm import step


# --- where it listens ------------------------------------------------------------------------------

def test_off_by_default(shared_cluster, db):
    assert [db.one(f"show dtm.{n}") for n in ("http_listen", "api_database", "api_role", "api_token_file")] == [""] * 4
    assert not [f for f in db.q("select * from dtm_check()") if "http_listen" in str(f) and f[0] != "ok"]


def test_reload_moves_it_and_loses_nothing(server, one):
    api = server()
    old, gate = address_of(api.cluster), api.new_gid("gate")
    with Raw(api.cluster) as kept, ThreadPoolExecutor(1) as pool:
        kept.send(get_text("/api/ping"))
        assert kept.answer().status == 200
        waiting = pool.submit(saga, api, both(one, "hold", gate), answer=True, wait_result=True, request_timeout=60)
        one.wait_calls(1, name=gate)
        api.close()
        api.cluster.reload(dtm__http_listen=f"127.0.0.1:{free_port()}")
        wait_listening(api)
        wait_until(lambda: nobody_at(old), "the old address is closed")
        one.release(gate)
        answer, gid = waiting.result(60)
        assert answer.status == 200 and api.status(gid) == "succeed", "the call in progress was answered"
        # A connection that was open stays open.
        kept.send(post_text(SUBMIT, json.dumps({"gid": api.new_gid(), "trans_type": "tcc"})))
        assert kept.answer().status == 200


def test_turned_off_and_on(server):
    api = server()
    address = address_of(api.cluster)
    listen = api.cluster.settings["dtm.http_listen"]
    for _ in range(2):
        api.close()
        api.cluster.reload(dtm__http_listen="")
        wait_until(lambda: nobody_at(address), "nobody listens")
        api.cluster.reload(dtm__http_listen=listen)
        wait_listening(api)
    assert api.get("newGid").status == 200


def test_a_port_that_somebody_has(server):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        api = server(wait=False, dtm__http_listen=f"127.0.0.1:{port}")
        api.cluster.wait_coordinator()
        wait_until(lambda: [f for f in findings(api) if str(port) in f and "in use" in f], "dtm_check says so")
        # Everything else goes on, while it tries again every second.
        begin = time.monotonic()

        def others():
            gid = api.db.submit_request({"trans_type": "saga", "steps": [{"action": ""}], "payloads": ["1"]})
            return api.db.wait(gid, "succeed") and time.monotonic() > begin + 5
        wait_until(others, "it has tried some times", pause=0.5)
    wait_listening(api)
    wait_until(lambda: not [f for f in findings(api) if str(port) in f and "in use" in f], "dtm_check is content")
    assert api.cluster.log_text().count("cannot listen") == 1, "said once, not every second"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:0x10", "127.0.0.1:99999", "300.1.1.1:4000",
                                     "nobody.invalid:4000"])
def test_an_address_that_is_none(server, address):
    api = server(wait=False, dtm__http_listen=address)
    api.cluster.wait_coordinator()
    wait_until(lambda: [f for f in findings(api) if address.split(":")[0] in f], "dtm_check says so")
    gid = api.db.submit_request({"trans_type": "saga", "steps": [{"action": ""}], "payloads": ["1"]})
    api.db.wait(gid, "succeed")


def test_every_interface(server):
    port = free_port()
    api = server(wait=False, dtm__http_listen=f"*:{port}")
    api.cluster.settings["dtm.http_listen"] = f"127.0.0.1:{port}"    # where we look for it
    wait_listening(api)


def test_a_database_that_does_not_exist(server):
    api = server(wait=False, dtm__api_database="nowhere")
    wait_until(lambda: [f for f in findings(api) if "nowhere" in f], "dtm_check says so")
    assert nobody_at(address_of(api.cluster))


def test_a_copied_database_does_not_listen(server):
    """What is missing is dtm_adopt(), and dtm_check() there says so."""
    api = server()
    address = address_of(api.cluster)
    api.close()
    api.db.q("update dtm.identity set system_identifier = 4711")
    api.db.q("select pg_reload_conf()")
    wait_until(lambda: nobody_at(address), "nobody listens")
    said = "select remedy from dtm_check() where subject = 'API server' and level = 'error' and finding ~ 'copied'"
    assert "dtm_adopt()" in wait_until(lambda: api.db.one(said), "dtm_check says so")
    api.cluster.sql("create database other", dbname="postgres")
    api.cluster.sql("create extension dtm_pg", dbname="other")
    [[remedy]] = api.cluster.sql("select remedy from dtm_check() where subject = 'API server'", dbname="other")
    assert "dtm_check() there" in remedy
    api.db.q("select dtm_adopt()")
    wait_listening(api)


def test_a_role_that_does_not_exist(server):
    """Every request says so; the log once per configuration, and dtm_check() what to do."""
    complaint = "refuses all requests of API clients"
    api = server(dtm__api_role="nobody")
    try:
        for _ in range(5):
            answer = api.get("query", gid="x")
            assert answer.status == 500 and '"nobody"' in answer.message
        assert api.cluster.log_text().count(complaint) == 1
        wait_until(lambda: [f for f in findings(api) if f.startswith("error: API server: ") and '"nobody"' in f
                            and "CREATE ROLE" in f], "dtm_check says so")
        before = api.cluster.log_size()
        api.cluster.reload()
        wait_until(lambda: complaint in api.cluster.log_text(before), "it is said again")
        api.db.q("create role nobody")
        wait_until(lambda: "dtm_grant('nobody', 'submit')" in api.get("query", gid="x").message, "it exists")
        api.db.q("select dtm_grant('nobody', 'submit')")
        wait_until(lambda: api.get("query", gid="x").status == 200, "it may ask")
        wait_until(lambda: not [f for f in findings(api) if "API server" in f], "dtm_check is content")
        assert api.cluster.log_text(before).count(complaint) == 1
    finally:
        api.cluster.reload(dtm__api_role="")


def test_only_one_database_is_served(server, session, one):
    api = server()
    api.cluster.sql("create database other", dbname="postgres")
    api.cluster.sql("create extension dtm_pg", dbname="other")
    api.cluster.wait_coordinator("other")
    gid = saga(api, both(one, "ok"))
    api.wait(gid, "succeed")
    other = session(api.cluster, "other")
    assert other.q("select from dtm.trans") == []
    api.close()
    api.cluster.reload(dtm__api_database="other")

    def moved():
        try:
            return api.status(gid) is None
        except (OSError, http.client.HTTPException):
            return False    # between the two
    wait_until(moved, "the other one has the API")
    api.done("prepare", gid="in-other", trans_type="tcc")
    assert other.q("select gid from dtm.trans") == [("in-other",)]
    served = "select level || ': ' || finding from dtm_check() where subject = 'API server'"
    wait_until(lambda: ": listens at " in other.one(served), "dtm_check knows")
    end = time.monotonic() + 2.5   # each coordinator shows once a second how it is doing
    while time.monotonic() < end:
        assert ": listens at " in other.one(served)


def test_without_the_extension_nobody_listens(server):
    api = server()
    address = address_of(api.cluster)
    api.close()
    api.cluster.sql("drop extension dtm_pg")
    wait_until(lambda: nobody_at(address), "the listener is closed")
    api.cluster.sql("create extension dtm_pg")
    wait_listening(api)
    assert api.get("newGid").status == 200


def test_the_database_is_dropped(server):
    api = server()
    address = address_of(api.cluster)
    with Raw(api.cluster) as kept:
        kept.send(get_text("/api/ping"))
        assert kept.answer().status == 200
        api.close()
        api.db.close()
        api.cluster.expect("FATAL: +(terminating|database .* does not exist)")
        api.cluster.sql("drop database bank with (force)", dbname="postgres")
        wait_until(lambda: nobody_at(address), "the listener is closed")
        assert kept.closed()


def test_a_standby_listens_after_its_promotion(server, session, one):
    """Whatever the primary acknowledged, it has, where it is synchronous; here the test waits for it."""
    api = server()
    with standby_of(api.cluster) as standby:
        standby.reload(dtm__http_listen=f"127.0.0.1:{free_port()}")   # both run on one machine
        second = Api(standby)
        gid, gate = api.new_gid(), api.new_gid("gate")
        base = {"gid": gid, "trans_type": "tcc", "timeout_to_fail": 1000}
        api.done("prepare", base)
        api.done("registerBranch", gid=gid, trans_type="tcc", branch_id="01", data="1", confirm=one.url("ok/c"),
                 cancel="")
        held = saga(api, both(one, "hold", gate), request_timeout=60)
        look = session(standby)
        wait_until(lambda: look.one("select count(*) from dtm.trans where gid = any(%s)", [gid, held]) == 2,
                   "the standby has them")
        assert nobody_at(address_of(standby))
        standby.expect(*LONELY)
        api.cluster.expect_crash()
        api.db.close()
        api.close()
        api.cluster.kill_postmaster()
        one.release(gate)
        standby.promote()
        wait_listening(second)
        second.done("submit", base)
        for done in (gid, held):
            second.wait(done, "succeed")
        second.close()


def test_a_copy_takes_no_requests(server):
    """What comes after the database was seen to be somebody else's is not executed, whoever is still connected."""
    api = server()

    def insist(number):
        done = 0
        with Raw(api.cluster) as raw:
            try:
                while True:
                    body = json.dumps({"gid": f"{number}-{done}", "trans_type": "tcc"})
                    answer = raw.send(post_text("/api/dtmsvr/prepare", body)).answer()
                    if answer.status != 200:
                        assert answer.status == 503 and "dtm_adopt()" in answer.message, answer
                        return done
                    done += 1
            except (EOFError, ConnectionError):
                return done
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(insist, number) for number in range(8)]
        wait_until(lambda: api.db.one("select count(*) from dtm.trans") > 100, "they are at work")
        api.db.q("update dtm.identity set system_identifier = 4711")
        done = sum(client.result(60) for client in clients)
    assert api.db.one("select count(*) from dtm.trans") == done
    [seen] = [line for line in api.cluster.log_text().splitlines() if "calls nobody" in line]
    assert api.db.one("select count(*) from dtm.trans where create_time > %s::timestamptz + interval '1 ms'",
                      " ".join(seen.split()[:3])) == 0, "stored after that was seen"
    address = address_of(api.cluster)
    wait_until(lambda: nobody_at(address), "nobody listens")
    api.close()
    api.db.one("select dtm_adopt()")
    wait_listening(api)
    assert api.post("prepare", gid="mine", trans_type="tcc").status == 200


# --- clients that are slow, or half gone -----------------------------------------------------------

def connections(api):
    return value(metrics(api)[0], "dtm_pg_api_connections")


def test_a_client_that_sends_no_more_gets_its_answer(server, one):
    api = server()
    gate, gid = api.new_gid("gate"), api.new_gid("half")
    body = json.dumps({"gid": gid, "trans_type": "msg", "wait_result": True, "request_timeout": 60,
                       "steps": [{"action": one.url(f"hold/{gate}")}], "payloads": ["1"]})
    with Raw(api.cluster) as half, Raw(api.cluster) as other:
        half.send(post_text(SUBMIT, body))
        half.socket.shutdown(socket.SHUT_WR)
        one.wait_calls(1, name=gate)
        # One that stays open when it was refused goes after as long as the other had before.
        other.send("nonsense\r\n\r\n")
        assert other.answer().status == 400
        wait_until(lambda: connections(api) <= 2, "the refused one is gone")
        one.release(gate)
        answer = half.answer()
        assert (answer.status, answer.json) == (200, {"dtm_result": "SUCCESS"}), answer
        assert half.closed()


def test_lists_that_nobody_reads_have_a_limit(server):
    """What waits for its clients takes half of the 256 MiB at most: lists above it are refused, commands are not."""
    api = server()
    data = base64.b64encode(os.urandom(660_000)).decode()
    for number in range(15):
        answer = api.post("prepareWorkflow", gid=f"large-{number}", trans_type="workflow",
                          custom_data=json.dumps({"name": "w", "data": data}))
        assert answer.status == 200, answer
    api.close()
    with ExitStack() as stack:
        raws = []
        for _ in range(60):
            raw = stack.enter_context(Raw(api.cluster, receive_buffer=4096))
            raws.append(raw.send(get_text("/api/dtmsvr/all?limit=16&transType=workflow")))
        lines = []
        for raw in raws:
            while b"\r\n" not in raw.rest:
                raw.more()
            lines.append(int(raw.rest.split()[1]))
        assert set(lines) == {200, 503} and lines.count(200) < 25, lines
        answer = api.get("query", gid="large-0")
        assert answer.status == 503 and "later" in answer.message, answer
        api.done("prepare", gid="small", trans_type="tcc")
    wait_until(lambda: api.get("query", gid="large-0").status == 200, "there is room again")


def test_a_foreign_database_does_not_listen(server, one):
    """Its clients mean the original: what they send must not be taken here (P15)."""
    api = server()
    api.db.q("update dtm.identity set system_identifier = 4711")
    wait_until(lambda: nobody_at(address_of(api.cluster)), "nobody listens any more")
    api.close()
    gid = api.db.saga(step(one.url("ok/a"), None, {}))
    assert "copied" in api.db.one("select dtm_adopt()")
    wait_listening(api)
    api.wait(gid, "succeed")
    api.wait(saga(api, both(one, "ok")), "succeed")
