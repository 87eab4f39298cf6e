"""Who may talk to the API: tokens, TLS, the routes of operators, and what becomes of them when the settings change
(design 13). Clusters of their own."""
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from api import (SUBMIT, Raw, address_of, both, findings, get_text, msg, nobody_at, post_text, saga, wait_listening)
from cluster import wait_until


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


@pytest.mark.parametrize("how", ["nobody listens", "another database", "no token file", "empty token file"])
def test_nobody_gets_in_when_the_settings_change(server, readable, how):
    """Whoever is connected meanwhile meets the token that was there, or is closed."""
    file = readable / "token"
    postgres_file(file, "s3cret")
    api = server({"token": "s3cret"}, dtm__api_token_file=str(file))
    address = address_of(api.cluster)
    body = json.dumps({"gid": api.new_gid("thief"), "trans_type": "tcc"}).encode()
    head, _, rest = post_text("/api/dtmsvr/prepare", body).partition(b"\r\n\r\n")
    with Raw(api.cluster) as half, Raw(api.cluster) as pipeline:
        half.send(head)
        pipeline.send(get_text("/api/ping", "Authorization: Bearer s3cret"))
        assert pipeline.answer().status == 200
        api.close()
        if how == "nobody listens":
            api.cluster.reload(dtm__http_listen="")
            wait_until(lambda: nobody_at(address), "nobody listens")
        elif how == "another database":
            api.cluster.reload(dtm__api_database="nowhere")
            wait_until(lambda: nobody_at(address), "nobody listens")
        else:
            file.unlink()
            if how == "empty token file":
                postgres_file(file, "")
            api.cluster.reload()
            wait_until(lambda: "dtm.api_token_file" in " ".join(findings(api)), "dtm_check complains")
            assert "goes on with the token" in api.cluster.log_text()
        try:
            half.send(b"\r\n\r\n" + rest)
            assert half.answer().status in (401, 503)
        except (EOFError, ConnectionError):
            pass
        if "file" in how:
            pipeline.send(post_text("/api/dtmsvr/prepare", body) * 10)
            assert {pipeline.answer().status for _ in range(10)} == {401}
        else:
            assert pipeline.closed()
    assert api.db.one("select count(*) from dtm.trans") == 0
    if "file" in how:
        assert api.get("newGid").status == 200, "with the token it goes on"


def test_a_token_file_that_cannot_be_read(server, readable):
    """Then nobody may in: not everybody."""
    api = server(wait=False, dtm__api_token_file=str(readable / "nothing"))
    wait_until(lambda: [f for f in findings(api) if "token" in f], "dtm_check says so")

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
    wait_until(lambda: not [f for f in findings(api) if "token" in f], "dtm_check is content")
    os.remove(file)
    postgres_file(readable / "nothing", "")
    api.cluster.reload()
    wait_until(lambda: [f for f in findings(api) if "token" in f], "an empty token is no token")
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
    for op in ("subscribe", "unsubscribe"):
        assert api.get(op, topic="t", url=one.url("ok/t")).status in (403, 404)
    assert api.db.q("select * from dtm.topic") == []
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


def test_an_api_without_token_and_role_is_a_warning(server, readable):
    """Whoever reaches the port acts as the tables' owner."""
    api = server()

    def warned():
        return [f for f in findings(api) if f.startswith("warning: API server: listens at ") and '"postgres"' in f]
    wait_until(warned, "it is a warning")
    api.db.q("select dtm_grant('pg_monitor', 'submit')")
    api.cluster.reload(dtm__api_role="pg_monitor")
    wait_until(lambda: not warned(), "with a role it is none")
    api.cluster.reload(dtm__api_role="")
    wait_until(warned, "it is a warning again")
    api.cluster.reload(dtm__api_token_file=postgres_file(readable / "token", "secret\n"))
    wait_until(lambda: not warned(), "with a token it is none")
