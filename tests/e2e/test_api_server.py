"""The listener: where it listens, who may talk to it, and what becomes of it when the settings change (design 12,
13). Clusters of their own."""
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api import Api, Raw, address_of, both, get_text, msg, post_text, saga, wait_listening
from cluster import free_port, wait_until
from copies import LONELY, standby_of
from dtm import step

SUBMIT = "/api/dtmsvr/submit"


def refused(address):
    try:
        socket.create_connection(address, 10).close()
        return False
    except ConnectionRefusedError:
        return True


def findings(api):
    """What dtm_check() says about the API server, but for `ok`."""
    return [f"{level}: {subject}: {finding} {remedy}" for level, subject, finding, remedy in api.db.q(
        "select level, subject, finding, remedy from dtm_check() where level in ('warning', 'error')")]


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
        wait_until(lambda: refused(old), "the old address is closed")
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
        wait_until(lambda: refused(address), "nobody listens")
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
        assert str(port) in api.cluster.log_text() and "WARNING" in api.cluster.log_text()
        # Everything else goes on.
        gid = api.db.submit_request({"trans_type": "saga", "steps": [{"action": ""}], "payloads": ["1"]})
        api.db.wait(gid, "succeed")
        said = api.cluster.log_text().count(str(port))
    wait_listening(api)
    wait_until(lambda: not [f for f in findings(api) if str(port) in f], "dtm_check is content")
    assert said < 10, "said once, not every second"


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
    assert refused(address_of(api.cluster))


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


def test_without_the_extension_nobody_listens(server):
    api = server()
    address = address_of(api.cluster)
    api.close()
    api.cluster.sql("drop extension dtm_pg")
    wait_until(lambda: refused(address), "the listener is closed")
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
        wait_until(lambda: refused(address), "the listener is closed")
        assert kept.closed()


def test_a_standby_listens_after_its_promotion(server, session, one):
    """Whatever the primary acknowledged, it has, where it is synchronous; here the test waits for it."""
    api = server()
    with standby_of(api.cluster) as standby:
        standby.reload(dtm__http_listen=f"127.0.0.1:{free_port()}")   # both run on one machine
        second = Api(standby)
        gid, gate = api.new_gid(), api.new_gid("gate")
        base = {"gid": gid, "trans_type": "tcc"}
        api.done("prepare", base)
        api.done("registerBranch", base | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"), "cancel": ""})
        held = saga(api, both(one, "hold", gate), request_timeout=60)
        look = session(standby)
        wait_until(lambda: look.one("select count(*) from dtm.trans where gid = any(%s)", [gid, held]) == 2,
                   "the standby has them")
        assert refused(address_of(standby))
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


# --- who may talk to it ----------------------------------------------------------------------------

def postgres_file(path, text):
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def readable():
    """A directory that the server's user can read."""
    directory = Path(tempfile.mkdtemp(prefix="dtm_api_"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_token(server, readable):
    file = readable / "token"
    postgres_file(file, "s3cret-token\n")
    api = server({"token": "s3cret-token"}, dtm__api_token_file=str(file))
    gid = api.new_gid()
    body = {"gid": gid, "trans_type": "tcc"}
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret-token2"},
                   {"Authorization": "Bearer s3cret-toke"}, {"Authorization": "s3cret-token"},
                   {"Authorization": "Basic s3cret-token"}, {"Authorization": "Bearer "}, {"Authorization": ""}):
        api.token = None
        for method, path in (("POST", "/api/dtmsvr/prepare"), ("GET", "/api/dtmsvr/newGid"), ("GET", "/api/metrics"),
                             ("POST", "/api/json-rpc")):
            answer = api.request(method, path, body if method == "POST" else None, header)
            assert answer.status == 401, (header, answer)
            assert "s3cret" not in answer.text and answer.header("WWW-Authenticate"), answer.headers
    assert api.db.one("select count(*) from dtm.trans") == 0
    assert api.request("POST", "/api/dtmsvr/prepare", body, {"authorization": "bearer s3cret-token"}).status == 200
    # Another one, by reload.
    postgres_file(file, "another")
    api.cluster.reload()
    api.token = "another"
    wait_until(lambda: api.get("newGid").status == 200, "the new token counts")
    api.token = "s3cret-token"
    assert api.get("newGid").status == 401


def test_a_token_file_that_cannot_be_read(server, readable):
    """Then nobody may in: not everybody."""
    api = server(wait=False, dtm__api_token_file=str(readable / "nothing"))
    wait_until(lambda: [f for f in findings(api) if "nothing" in f or "token" in f], "dtm_check says so")

    def served():
        try:
            return api.get("newGid").status == 200
        except OSError:
            return False
    assert not served()
    file = postgres_file(readable / "nothing", "now it is there")
    api.cluster.reload()
    api.token = "now it is there"
    wait_until(served, "the token counts")
    os.remove(file)
    postgres_file(readable / "nothing", "")
    api.cluster.reload()
    wait_until(lambda: findings(api), "an empty token is no token")
    api.token = ""
    assert not served()


def certificate(directory, name):
    key, cert = directory / f"{name}.key", directory / f"{name}.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for file in (key, cert):
        postgres_file(file, file.read_text())
    return {"dtm__api_tls_cert_file": str(cert), "dtm__api_tls_key_file": str(key)}


def test_tls(server, one, readable):
    files = certificate(readable, "first")
    api = server({"tls": files["dtm__api_tls_cert_file"]}, **files)
    gid = saga(api, both(one, "ok"), wait_result=True)
    assert api.status(gid) == "succeed"
    payload = "x" * 500_000
    gid = msg(api, one.url("ok/a"), payloads=[payload])
    api.wait(gid, "succeed")
    assert one.calls(gid=gid)[0].body == payload.encode()
    # Plain HTTP gets nothing, and hurts nobody.
    with Raw(api.cluster) as raw:
        raw.send(post_text(SUBMIT, json.dumps({"gid": "plain", "trans_type": "tcc"})))
        assert raw.closed() and b"200" not in raw.rest.partition(b"\r\n")[0]
    assert api.status("plain") is None
    # A new certificate, by reload.
    new = certificate(readable, "second")
    api.close()
    api.cluster.reload(**new)
    api.tls = new["dtm__api_tls_cert_file"]
    wait_listening(api)
    assert api.get("newGid").status == 200


@pytest.mark.parametrize("kind", ["no key", "no certificate", "missing", "garbage", "another's key"])
def test_tls_that_cannot_be(server, readable, kind):
    """It never falls back to plain HTTP."""
    files = certificate(readable, "cert")
    if kind == "no key":
        files["dtm__api_tls_key_file"] = ""
    elif kind == "no certificate":
        files["dtm__api_tls_cert_file"] = ""
    elif kind == "missing":
        files["dtm__api_tls_cert_file"] = str(readable / "missing")
    elif kind == "garbage":
        postgres_file(readable / "cert.crt", "garbage")
    else:
        files["dtm__api_tls_key_file"] = certificate(readable, "other")["dtm__api_tls_key_file"]
    api = server(wait=False, **files)
    wait_until(lambda: [f for f in findings(api) if "tls" in f.lower() or "certificate" in f.lower()
                        or "key" in f.lower()], "dtm_check says so")
    with pytest.raises((OSError, http.client.HTTPException)):
        api.get("newGid")


def test_admin_routes_can_be_switched_off(server, one):
    api = server(dtm__api_admin="off")
    gid = saga(api, both(one, "ongoing"), retry_interval=1000)
    assert api.post("forceStop", gid=gid).status in (403, 404)
    assert api.get("all").status in (403, 404)
    assert api.request("DELETE", "/api/dtmsvr/topic/t").status in (403, 404)
    assert api.status(gid) == "submitted"
    # What clients need stays.
    tcc = {"gid": api.get("newGid").json["gid"], "trans_type": "tcc"}
    api.done("prepare", tcc)
    api.done("registerBranch", tcc | {"branch_id": "01", "data": "1", "confirm": one.url("ok/c"), "cancel": ""})
    api.done("abort", tcc)
    api.wait(tcc["gid"], "failed")
    api.cluster.reload(dtm__api_admin="on")
    wait_until(lambda: api.post("forceStop", gid=gid).status == 200, "the routes are there")
    assert api.status(gid) == "failed"


def test_a_foreign_database_does_not_listen(server, one):
    """Its clients mean the original: what they send must not be taken here (P15)."""
    api = server()
    api.db.q("update dtm.identity set system_identifier = 4711")
    wait_until(lambda: refused(address_of(api.cluster)), "nobody listens any more")
    api.close()
    gid = api.db.saga(step(one.url("ok/a"), None, {}))
    assert "copied" in api.db.one("select dtm_adopt()")
    wait_listening(api)
    api.wait(gid, "succeed")
    api.wait(saga(api, both(one, "ok")), "succeed")
