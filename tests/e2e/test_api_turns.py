"""A turn of the API server that goes wrong in the middle: errors that are none of PostgreSQL's, thrown by a build with
crash points (crash_run.py), and turns that have no room for all of their answers."""

import pytest

import conftest
from api import BASE, Api, Raw, get_text, listen_settings, wait_listening
from cluster import wait_until
from crash_run import CrashCluster
from test_api_crowd import at_once, command, prepare
from test_crash_points import build  # noqa: F401

MIB = 1 << 20


@pytest.fixture(scope="module")
def failing(build):  # noqa: F811
    """The cluster; a point is armed with throw_at()."""
    cluster = CrashCluster(build, "turns", {**conftest.FAST, **listen_settings()})
    conftest.clusters.append(cluster)
    try:
        cluster.init().start()
        cluster.sql(f"create database {cluster.dbname}", dbname="postgres")
        conftest.with_extension(cluster)
        wait_listening(Api(cluster)).close()
        yield cluster
    finally:
        conftest.clusters.remove(cluster)
        cluster.destroy()


@pytest.fixture
def api(failing, session):
    api = Api(failing, session(failing))
    yield api
    api.close()


def throw_at(cluster, point):
    cluster.arm(point, "1 throw")


def thrown(cluster):
    wait_until(lambda: not cluster.crash_file.read_text(), "it was thrown")


@pytest.mark.parametrize("point", ["server.executing", "store.transactions_created", "store.topic_written",
                                   "server.executed"])
def test_a_batch_that_fails_is_repeated_one_by_one(failing, api, one, point):
    """Everybody is answered as if nothing had been, and everything is done once."""
    [coordinator] = failing.coordinators()
    topic, gids = api.new_gid("topic"), [api.new_gid("batch") for _ in range(30)]
    requests = [prepare(gid) for gid in gids[:20]]
    requests += [command("submit", gid=gid, trans_type="msg", steps=[{"action": one.url("ok/a")}], payloads=["1"])
                 for gid in gids[20:]]
    requests.insert(10, get_text(f"{BASE}subscribe?topic={topic}&url={one.url('ok/t')}").encode())
    requests.append(get_text(BASE + "all?limit=1").encode())
    throw_at(failing, point)
    assert {a.status for a in at_once(api, requests)} == {200}
    thrown(failing)
    for gid in gids[20:]:
        api.wait(gid, "succeed")
        assert one.sequence(gid) == ["01 action"]
    assert [api.status(gid) for gid in gids[:20]] == ["prepared"] * 20
    assert api.db.one("select count(*) from dtm.topic where topic = %s", topic) == 1
    assert failing.coordinators() == [coordinator]


def test_what_is_committed_and_not_answered_is_not_done_again(failing, api, one):
    """The coordinator begins anew; the client is told by its connection, and asks again."""
    failing.expect("dtm coordinator begins anew", "thrown at server.committed", "exited with exit code 1")
    topic, gid = api.new_gid("topic"), api.new_gid("unanswered")

    def fails(request):
        before = failing.coordinators()
        throw_at(failing, "server.committed")
        with Raw(failing) as raw:
            raw.send(request)
            assert raw.closed() and not raw.rest, "a second execution would say that it was done before"
        thrown(failing)
        failing.wait_coordinator(other_than=before)
        api.close()
        wait_listening(api)
    fails(get_text(f"{BASE}subscribe?topic={topic}&url={one.url('ok/t')}"))
    assert api.db.one("select count(*) from dtm.topic where topic = %s", topic) == 1
    fails(command("submit", gid=gid, trans_type="msg", steps=[{"action": one.url("ok/a")}], payloads=["1"]))
    api.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def test_large_answers_of_workflows_take_many_turns(failing, api, one):
    """32 MiB of answers fill a turn. What had no room is read later; its command is not repeated."""
    begin = {"trans_type": "workflow", "custom_data": '{"name":"w"}', "query_prepared": one.url("ok/w"),
             "retry_interval": 1000}
    model = api.new_gid("large")
    assert api.post("prepareWorkflow", begin | {"gid": model}).status == 200
    for n in range(1, 8):
        api.done("registerBranch", gid=model, trans_type="workflow", branch_id=f"{n:02}", op="action",
                 status="succeed", data="x" * (MIB - 1000))
    gids = [api.new_gid("large") for _ in range(24)]
    api.db.q("insert into dtm.trans (gid, trans_type, status, owner, request, progress, next_cron_time,"
             " next_cron_interval) select g, trans_type, status, owner, request, progress, next_cron_time,"
             " next_cron_interval from dtm.trans, unnest(%s::text[]) g where gid = %s", gids[1:], model)
    api.db.q("insert into dtm.trans_branch (gid, branch_id, op, url, cancel, status, data)"
             " select g, branch_id, op, url, cancel, status, data from dtm.trans_branch, unnest(%s::text[]) g"
             " where gid = %s", gids[1:], model)
    seen = failing.seen_size()
    sockets = [Raw(failing) for _ in gids]
    for raw, gid in zip(sockets[1:] + sockets[:1], gids[1:] + gids[:1]):  # the one without a row comes last
        raw.send(command("prepareWorkflow", **begin, gid=gid))
    answer = sockets[0].answer()
    assert (answer.status, answer.json["progresses"]) == (200, [])
    assert answer.json["transaction"]["status"] == "prepared"
    for raw in sockets[1:]:
        raw.more()
        assert raw.rest.startswith(b"HTTP/1.1 200"), raw.rest[:200]
        raw.socket.close()
    assert failing.seen(seen)["server.committed"] >= 6, "each may have 32 MiB and the answer that reaches it"
    assert len(api.query(gids[1])["branches"]) == 7
    for gid in gids:
        api.done("forceStop", gid=gid)
