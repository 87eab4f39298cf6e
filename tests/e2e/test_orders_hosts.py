"""Which calls an order about a host or a prefix of URLs is about, however they spell it."""
import pytest

from cluster import wait_until
from dtm import step


def spellings(port):
    return [f"{scheme}://{user}{host}:{port}/" for scheme, user, host, port in [
        ("http", "", "127.0.0.1", port), ("HTTP", "user:word@", "127.0.0.1", port),
        ("http", "", "127.0.0.1", f"0{port}"),
        ("http", "", "127.1", port), ("http", "", "0x7f000001", port), ("http", "", "%3127.0.0.1", port),
        ("http", "", "%3127.1", f"00{port}")]]


def test_a_paused_host_is_not_called_however_it_is_spelled(db, orders, one, two):
    host = one.url("").rstrip("/")
    db.q("select dtm_pause(host => %s)", host)
    gids = [db.saga(step(url + "ok/a", None, {})) for url in spellings(one.port)]
    for gid in gids:
        wait_until(lambda: f"host {host} is paused" in (db.row(gid)["last_error"] or ""), "its call is kept back")
    db.passed_by(two)
    assert [c for gid in gids for c in one.calls(gid=gid)] == []
    db.q("select dtm_resume(host => %s)", host + "/")
    for gid in gids:
        db.wait(gid, "succeed")
    assert [len(one.calls(gid=gid)) for gid in gids] == [1] * len(gids)


def test_one_host_has_one_limit_and_one_breaker(own_cluster, session, one):
    db, name = session(own_cluster), "spelled"
    gids = [db.saga(step(url + "ok/" + name, None, {})) for url in spellings(one.port)]
    db.wait_all(gids)
    shown = "select endpoint, calls from dtm.stat_endpoint"
    wait_until(lambda: db.q(shown) == [(one.url("").rstrip("/"), len(gids))], "all of them are one host")


@pytest.mark.parametrize("cut", ["host", "port"])
def test_a_redirect_is_not_of_hosts_that_begin_alike(db, orders, one, two, cut):
    prefix = f"http://127.0.0.1:{one.port}"[:-1] if cut == "port" else "http://n0.local"
    db.q("select dtm_redirect(%s, %s)", prefix, two.url("").rstrip("/"))
    url = one.url("ok/a") if cut == "port" else one.hosts(1)[0] + "ok/a"
    assert url.startswith(prefix)
    gid = db.saga(step(url, None, {}), retry_limit=1)
    db.wait(gid, "succeed")
    assert len(one.calls(gid=gid)) == 1 and two.calls(gid=gid) == []
