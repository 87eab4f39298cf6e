"""Fixtures: one cluster for harmless tests, own clusters for those that kill; two participants.

A failing test shows dtm_explain() and the rows of its transactions, the calls that arrived and the end of
the server log. After every test the log of every cluster is read: a line that nobody expected fails it.
"""
import resource
import signal
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from api import Api, listen_settings, wait_listening  # noqa: E402
from cluster import Cluster  # noqa: E402
from dtm import Dtm  # noqa: E402
from service import Service  # noqa: E402

# Retries after one second instead of ten. A call takes milliseconds, and its timeout only comes where it must: a
# machine that is busy with others may be away for seconds.
FAST = {"dtm.retry_interval": 1, "dtm.request_timeout": 6}

clusters, services, sessions = [], [], []


def pytest_configure(config):
    def interrupted(signum, frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)  # fixtures clean up as after ^C


@contextmanager
def running_cluster(name, settings=None, extension=True):
    """A cluster with database bank, gone afterwards, also when it could not be made."""
    cluster = Cluster(name, {**FAST, **(settings or {})})
    clusters.append(cluster)
    try:
        cluster.init().start()
        cluster.sql(f"create database {cluster.dbname}", dbname="postgres")
        if extension:
            with_extension(cluster)
        yield cluster
        # A cluster that ends with its test is gone before clean_log looks.
        assert not (bad := cluster.bad_log_lines()), "unexpected in the server log:\n" + "\n".join(bad[:20])
    finally:
        clusters.remove(cluster)
        cluster.destroy()


def with_extension(cluster, dbname=None):
    cluster.sql("create extension dtm_pg", dbname=dbname)
    cluster.wait_coordinator(dbname, count=int(cluster.settings.get("dtm.workers", 1)))
    return cluster


def meets_the_coordinator(conn):
    """This session locks all that is dtm's. Where they wait for each other the coordinator gives way after half
    a second; on a machine that was away the session's second for finding a deadlock may be over as well."""
    conn.execute("set lock_timeout = '30 s'")
    conn.execute("set deadlock_timeout = '30 s'")


@pytest.fixture(scope="session")
def one():
    """A participant."""
    service = Service("one").start()
    services.append(service)
    yield service
    services.remove(service)
    service.destroy()


@pytest.fixture(scope="session")
def two():
    """A second participant, another host for the coordinator."""
    service = Service("two").start()
    services.append(service)
    yield service
    services.remove(service)
    service.destroy()


@pytest.fixture(scope="session")
def shared_cluster(one):
    """The cluster of all tests that kill nothing."""
    with running_cluster("shared", {"autovacuum": "off", "dtm.alert_webhook": one.url("ok/alert"),
                                    "dtm.alert_retry_limit": 3}) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def api_cluster(one):
    """The cluster of all tests that talk to the API server and kill nothing."""
    with running_cluster("api", {"autovacuum": "off", **listen_settings()}) as cluster:
        wait_listening(Api(cluster)).close()
        yield cluster


@pytest.fixture
def api(api_cluster, session):
    """The API server of that cluster."""
    api = Api(api_cluster, session(api_cluster))
    yield api
    api.close()


@pytest.fixture
def server(session):
    """Starts a cluster with an API server, server(setting=value); returns the Api."""
    with ExitStack() as stack:
        def start(client=None, wait=True, **settings):
            settings = {**listen_settings(), **{k.replace("__", "."): v for k, v in settings.items()}}
            cluster = stack.enter_context(running_cluster("server", settings))
            api = Api(cluster, session(cluster), **(client or {}))
            stack.callback(api.close)
            return wait_listening(api) if wait else api
        yield start


@pytest.fixture
def many_descriptors():
    """As many as this machine allows, for the test and for the servers that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def own_cluster(request):
    """A cluster for this test alone, with the extension in database bank. Settings by
    @pytest.mark.settings({...})."""
    mark = request.node.get_closest_marker("settings")
    with running_cluster("own", mark.args[0] if mark else {}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def module_cluster():
    """A cluster for the tests of one file, without the extension."""
    with running_cluster("module", extension=False) as cluster:
        yield cluster


def end_transaction(dtm):
    dtm.conn.rollback()
    dtm.conn.autocommit = True


@pytest.fixture
def session():
    """Opens sessions, session(cluster, dbname=None); they are closed after the test, and what they left
    unfinished is stopped."""
    def open_session(cluster, dbname=None, autocommit=True):
        dtm = Dtm(cluster, dbname, autocommit)
        sessions.append(dtm)
        return dtm
    yield open_session
    for action in (end_transaction, Dtm.stop_leftovers):  # no session waits for a lock of another
        for dtm in sessions:
            with suppress(psycopg.Error):  # the test took the server or the database away
                action(dtm)
    for dtm in sessions:
        dtm.close()
    sessions.clear()


@pytest.fixture
def db(shared_cluster, session):
    """A session of the shared cluster."""
    return session(shared_cluster)


@pytest.fixture
def orders(db):
    """Takes back what the test ordered of hosts and prefixes."""
    yield
    for kind, name in db.q("select kind, name from dtm.control"):
        if kind == "redirect":
            db.q("select dtm_redirect(%s, null)", name)
        else:
            db.q("select dtm_resume(host => %s, everything => %s)", name or None, not name)


@pytest.fixture(autouse=True)
def clean_log():
    """Whatever the server had to complain about during the test, the test must have wanted."""
    yield
    bad = [f"{c.name}: {line}" for c in clusters for line in c.bad_log_lines()]
    assert not bad, "unexpected in the server log:\n" + "\n".join(bad[:20])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and call.when in ("call", "setup"):
        report.sections.append(("what dtm_pg says", "\n".join(evidence())))


def evidence():
    """All that helps to understand a failure; never fails itself."""
    for dtm in sessions:
        yield from evidence_of(dtm)
    gids = {g for dtm in sessions for g in dtm.gids}
    for service in services:
        calls = service.calls()
        yield f"--- last calls at {service.name} ({len(calls)} in all)"
        yield from (repr(c) for c in ([c for c in calls if c.gid in gids] or calls)[-25:])
    for cluster in clusters:
        yield f"--- log of {cluster.name}"
        yield cluster.log_tail(40)


def evidence_of(dtm, most=3):
    try:
        with dtm.cluster.connect(dtm.dbname, connect_timeout=5) as conn:
            conn.execute("set statement_timeout = '10 s'")
            gids = [g for g, in conn.execute(
                "select gid from dtm.trans where gid = any(%s) order by status in ('succeed', 'failed'), "
                "gid limit %s", (dtm.gids[-2000:], most))]
            for gid in gids:
                yield f"--- dtm_explain('{gid}')"
                yield "\n".join(str(r[0]) for r in conn.execute("select dtm_explain(%s)", (gid,)))
                yield str(conn.execute("select to_jsonb(t) from dtm.transaction t where gid = %s",
                                       (gid,)).fetchone())
            yield "--- processes: " + str(conn.execute(
                "select pid, backend_type, datname, wait_event, state from pg_stat_activity"
                " where backend_type like 'dtm%'").fetchall())
    except psycopg.Error as error:
        yield f"--- nothing to be had from {dtm.dbname}: {error}"
