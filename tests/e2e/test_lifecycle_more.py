"""The rarer ways in which servers, databases and roles come and go (style 9.4, P13, P14)."""
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from barrier_table import databases
from cluster import BINDIR, Cluster, as_postgres, children, free_port, wait_until
from conftest import running_cluster, with_extension
from copies import kept
from dtm import step

LONG = {"request_timeout": 1000, "retry_interval": 1000}


@pytest.fixture(scope="module")
def house(module_cluster):
    return module_cluster


@pytest.fixture
def new_database(house):
    with databases(house) as make:
        yield make


def serves(house, session, dbname, service):
    db = session(house, dbname)
    db.wait(db.saga(step(service.url("ok/serves"), None, {})), "succeed")
    db.close()


# --- processes ----------------------------------------------------------------------------------------

class Ambush:
    """Sends a signal to coordinators as soon as they are seen, at whatever point of their start that is."""

    def __init__(self, cluster, number, times):
        self.cluster, self.number, self.left = cluster, number, times
        self.hit, self.over = set(), threading.Event()
        self.thread = threading.Thread(target=self.lie_in_wait)

    def lie_in_wait(self):
        while self.left and not self.over.is_set():
            for pid in children(self.cluster.postmaster.pid):
                if pid in self.hit or "dtm coordinator" not in Cluster.name_of(pid):
                    continue
                with suppress(ProcessLookupError):
                    os.kill(pid, self.number)
                    self.hit.add(pid)
                    self.left -= 1
                    break

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def test_a_coordinator_terminated_while_it_starts_hurts_nobody(own_cluster, session, one):
    """Sessions go on; the coordinator comes when it is let."""
    own_cluster.expect("due to administrator command")
    db = session(own_cluster)
    with Ambush(own_cluster, signal.SIGTERM, 5) as ambush:
        db.q("select pg_terminate_backend(%s)", own_cluster.wait_coordinator()[0])
        gid = db.saga(step(one.url("ok/a"), None, {}))
        wait_until(lambda: not ambush.left, "five of them were hit")
    db.wait(gid, "succeed")
    assert "all server processes terminated" not in own_cluster.log_text()


def test_a_coordinator_killed_while_it_starts(own_cluster, session, one):
    """SIGKILL restarts all of the server's processes, as it does for every process; then it works."""
    own_cluster.expect_crash()
    own_cluster.expect("due to administrator command")
    db = session(own_cluster)
    gid = db.saga(step(one.url("ok/a"), None, {}))
    with Ambush(own_cluster, signal.SIGKILL, 2) as ambush:
        with suppress(Exception):  # the session may be gone by now
            db.q("select pg_terminate_backend(%s)", own_cluster.wait_coordinator()[0])
        wait_until(lambda: not ambush.left, "two of them were hit")
    db.close()
    # Until the postmaster has found a dead one it lets people in, and sends them away afterwards.
    wait_until(lambda: not ambush.hit & set(children(own_cluster.postmaster.pid)), "they are found dead")
    own_cluster.wait_ready()
    session(own_cluster).wait(gid, "succeed")
    assert not [li for li in own_cluster.log_text().splitlines() if "signal 11" in li or "signal 6" in li]


def test_fifty_hanging_calls_hold_up_nobody(house, new_database, session, one):
    """DROP DATABASE of another database waits until every process has answered its barrier; so does DROP
    TABLESPACE. CREATE DATABASE makes a checkpoint."""
    name, other = new_database(extension=True), new_database()
    db = session(house, name)
    gids = [db.saga(step(one.url("never/hang"), None, {}), **LONG) for _ in range(50)]
    for gid in gids:
        one.wait_calls(1, gid=gid)
    with house.connect("postgres") as conn:
        conn.execute("set statement_timeout = '30 s'")
        conn.execute(f"drop database {other}")
        conn.execute("select pg_log_backend_memory_contexts(pid) from pg_stat_activity where backend_type = 'dtm"
                     " coordinator' and datname = %s", (name,))
    wait_until(lambda: "TopMemoryContext" in house.log_text(), "the coordinator answers")
    assert [len(one.calls(gid=gid)) for gid in gids] == [1] * 50


# --- what is no installation --------------------------------------------------------------------------

def test_a_schema_without_extension(house, new_database, session, one):
    """Tables of the same names, as a schema that was copied by hand has them: nobody works on them."""
    name = new_database()
    with house.connect(name) as conn:
        conn.execute("create schema dtm")
        conn.execute("create table dtm.trans (gid text primary key, status text, next_cron_time timestamptz)")
        conn.execute("insert into dtm.trans values ('g', 'submitted', now())")
    begin = house.log_size()
    with_extension(house, new_database())  # the launcher has looked at all databases
    house.wait_no_coordinator(name)
    assert "coordinator cannot work" not in house.log_text(begin)
    assert house.sql("select status from dtm.trans", dbname=name) == [("submitted",)]


# --- roles --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["drop owned by app_gone", "reassign owned by app_gone to postgres; "
                                 "drop owned by app_gone"], ids=["drop", "reassign"])
def test_the_role_of_a_transaction_is_gone(house, new_database, session, one, how):
    """What it has submitted is driven to its end, and can be seen by who sees all."""
    name = new_database(extension=True)
    db = session(house, name)
    db.q("create role app_gone")
    db.q("select dtm_grant('app_gone', 'submit')")
    db.q("set role app_gone")
    mode = db.new_gid("mode")
    waiting = db.saga(step(one.url(f"ongoing/{mode}"), None, {}), step(one.url("ok/b"), None, {}),
                      request_timeout=60, retry_interval=1)
    failing = db.saga(step(one.url("ok/a"), one.url(f"ongoing/{mode}"), {}), step(one.url("fail/b"), None, {}),
                      request_timeout=60, retry_interval=1)
    done = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(done, "succeed")
    db.q("reset role")
    for statement in how.split("; "):
        db.q(statement)
    db.q("drop role app_gone")
    other = db.saga(step(one.url("ok/a"), None, {}))
    db.wait(other, "succeed")
    for gid in (waiting, failing, done):
        assert db.row(gid)["gid"] == gid and db.explain(gid)
        assert db.one("select dtm_query(%s)", gid)
    assert db.one("select count(*) from dtm.branch where gid = %s", waiting) == 4
    assert db.one("select count(*) from dtm.attention") == 0
    one.set_mode(mode, "ok")
    assert db.wait_all([waiting, failing]) == {waiting: "succeed", failing: "failed"}


def test_the_role_that_created_the_extension_is_gone(house, new_database, session, one):
    name = new_database()
    db = session(house, name)
    db.q("create role installer superuser")
    db.q("set role installer")
    db.q("create extension dtm_pg")
    db.q("reset role")
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    db.q("reassign owned by installer to postgres")
    # REASSIGN OWNED leaves extensions to their owner, as ALTER EXTENSION has no OWNER TO.
    db.q("update pg_extension set extowner = 10 where extname = 'dtm_pg'")
    db.q("delete from pg_shdepend where refobjid = 'installer'::regrole")
    db.q("drop role installer")
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")


# --- servers without workers --------------------------------------------------------------------------

def test_single_user_mode(own_cluster, session, one):
    """SQL works, nobody is called; the next start finds what was submitted."""
    own_cluster.stop()
    command = as_postgres(BINDIR / "postgres", "--single", "-j", "-D", own_cluster.data, own_cluster.dbname)
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, input=f"""
select dtm_submit('saga', array[dtm_step('{one.url("ok/single")}')], 'single');

select status from dtm.transaction where gid = 'single';

select subject, finding from dtm_check() where level = 'error';

select * from dtm_explain('single');

select dtm_wait('single', '1 s') is null as waited;

""")
    assert ran.returncode == 0, ran.stderr
    assert 'status = "submitted"' in ran.stdout and 'waited = "t"' in ran.stdout, ran.stdout
    assert "ERROR" not in ran.stderr and "FATAL" not in ran.stderr, ran.stderr
    assert one.calls(gid="single") == []
    own_cluster.start()
    session(own_cluster).wait("single", "succeed")
    assert one.sequence("single") == ["01 action"]


def test_pg_upgrade(session, one):
    """No worker runs during it, all that was unfinished is there afterwards, and it is a copy (P15): the old server
    may still be started."""
    with running_cluster("old") as old, kept(Cluster("new", dict(old.settings))) as new:
        db = session(old)
        name = db.new_gid("wait")
        waiting = db.saga(step(one.url(f"ongoing/{name}"), None, {}), step(one.url("ok/b"), None, {}),
                          request_timeout=60, retry_interval=1)
        done = db.saga(step(one.url("ok/a"), None, {}))
        db.wait(done, "succeed")
        db.q("select dtm_subscribe('topic', %s, '')", one.url("ok/topic"))
        db.q("insert into dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason) values"
             " ('saga', 'b', '01', 'action', '01', 'action')")
        one.wait_calls(1, gid=waiting)
        db.close()
        old.stop()
        one.ping()  # what it was sent before, it has written down
        called = len(one.calls(gid=waiting))
        new.settings.update({"port": new.port, "unix_socket_directories": str(new.root)})
        new.init()
        work = new.root / "upgrade"
        work.mkdir()
        work.chmod(0o777)
        ran = subprocess.run(as_postgres(BINDIR / "pg_upgrade", "-b", BINDIR, "-B", BINDIR, "-d", old.data, "-D",
                                         new.data, "-U", "postgres", "-p", free_port(), "-P", free_port(),
                                         "--retain", "-s", work), cwd=work, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
        logs = [f.read_text(errors="replace") for f in Path(new.data).glob("pg_upgrade_output.d/**/*.log")]
        assert logs and not [t for t in logs if "dtm coordinator" in t or "dtm launcher" in t]
        assert len(one.calls(gid=waiting)) == called and len(one.calls(gid=done)) == 1
        new.start()
        db = session(new)
        wait_until(lambda: "calls nobody" in new.log_text(), "it is silent")
        db.q("update dtm.trans set next_cron_time = now() where gid = %s", waiting)
        assert db.status(done) == "succeed" and db.status(waiting) == "submitted"
        one.set_mode(name, "ok")
        before = len(one.calls(gid=waiting))
        assert "copied" in db.one("select dtm_adopt()")
        db.wait(waiting, "succeed")
        assert len(one.calls(gid=waiting)) == before + 2
        message = db.msg(step("topic://topic", None, {}))
        db.wait(message, "succeed")
        assert db.one("select count(*) from dtm_barrier.barrier where gid = 'b'") == 1
        assert db.one("select count(*) from dtm_check() where level = 'error'") == 0
