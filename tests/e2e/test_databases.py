"""Which databases are served: however the extension came there, however many have none, and on which server
of a pair (style 9.4, P1, P14)."""
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress

import psycopg
import pytest

from cluster import wait_until
from conftest import meets_the_coordinator, running_cluster, with_extension
from copies import LONELY, standby_of
from dtm import step
from service import Service


def looked_at(cluster, names):
    """{database: commits}. With autovacuum off and no session of ours, only a coordinator that looks for the
    extension commits anything there."""
    return dict(cluster.sql("select datname, xact_commit from pg_stat_database where datname = any(%s)",
                            list(names), dbname="postgres"))


def wait_looked_at(cluster, names, before=None):
    """Waits until a coordinator has looked into each of the databases (again, since `before`)."""
    before = before or {name: 0 for name in names}
    wait_until(lambda: not [n for n, count in looked_at(cluster, names).items() if count <= before[n]],
               f"somebody looks for the extension in {list(names)}")


# --- however the extension came there -----------------------------------------------------------------

@pytest.fixture(scope="module")
def house():
    """The cluster of this file; its databases go with it."""
    with running_cluster("databases", {"autovacuum": "off"}, extension=False) as cluster:
        yield cluster


def test_create_extension_in_a_prepared_transaction(house, session, one):
    """COMMIT PREPARED runs no callback of ours, and it comes from another session."""
    house.sql("create database prepared", dbname="postgres")
    wait_looked_at(house, ["prepared"])
    house.wait_no_coordinator("prepared")
    with house.connect("prepared") as conn:
        conn.execute("begin")
        conn.execute("create extension dtm_pg")
        conn.execute("prepare transaction 'installs'")
    house.sql("commit prepared 'installs'", dbname="prepared")
    db = session(house, "prepared")
    # Without the submit the database is looked at again about once in a minute.
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed", timeout=100)
    house.wait_coordinator("prepared")


@contextmanager
def hiccups(cluster, length=0.03):
    """Every coordinator is suspended at odd moments, as on a machine that is too busy; whatever it is doing,
    leaving included, takes long enough for others to come in between."""
    over = threading.Event()

    def hiccup():
        with cluster.connect("postgres") as conn:
            while not over.is_set():
                for pid, in conn.execute("select pid from pg_stat_activity where backend_type = 'dtm coordinator'"):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                        time.sleep(length)
                        os.kill(pid, signal.SIGCONT)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hiccup)
        try:
            yield
        finally:
            over.set()
        running.result()


@pytest.mark.parametrize("disturbed", [nullcontext, hiccups], ids=["smooth", "hiccups"])
def test_drop_and_create_as_fast_as_it_goes(house, session, one, disturbed):
    """A coordinator that leaves because the extension is gone must not hide that it came back."""
    for n in range(3):
        name = f"restless_{disturbed.__name__}_{n}"
        house.sql(f"create database {name}", dbname="postgres")
        with_extension(house, name)
        with house.connect(name) as conn, disturbed(house):
            meets_the_coordinator(conn)
            for _ in range(30):
                # Answers come all the time: the coordinator finds its tables gone at any moment.
                conn.execute("select dtm_submit('saga', array[dtm_step(%s || ms)]) from generate_series(2, 20, 2) ms",
                             (one.url("slow/a") + "?ms=",))
                conn.execute("drop extension dtm_pg")
                conn.execute("create extension dtm_pg")
        house.wait_coordinator(name)  # nobody has to submit anything for it
        db = session(house, name)
        db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")


# --- however many have none ---------------------------------------------------------------------------

@pytest.fixture
def crowded():
    """The server's default of worker slots, and 18 databases without the extension, older than the one that
    gets it."""
    with running_cluster("crowded", {"autovacuum": "off", "max_worker_processes": 8}, extension=False) as cluster:
        for n in range(18):
            cluster.sql(f"create database empty{n}", dbname="postgres")
        cluster.sql("create database served", dbname="postgres")
        yield cluster


def test_databases_without_the_extension_take_no_places(crowded, session, one):
    empty = [f"empty{n}" for n in range(18)]
    with_extension(crowded, "served")
    before = looked_at(crowded, empty)
    began = crowded.log_size()
    crowded.restart()
    db = session(crowded, "served")
    db.wait(db.saga(step(one.url("ok/a"), None, {})), "succeed")
    wait_looked_at(crowded, empty, before)
    warnings = [line for line in crowded.log_text(began).splitlines() if "WARNING:" in line]
    assert not warnings, "nothing is wrong with databases that have no extension"


# --- on which server of a pair ------------------------------------------------------------------------

@pytest.fixture
def late():
    """A participant that is not up yet."""
    service = Service("late")
    yield service
    service.destroy()


@pytest.mark.settings({"dtm.sweep_interval": 3600000})
def test_a_standby_calls_nobody_and_serves_after_promotion(own_cluster, session, late, record_property):
    """At once: the next sweep that is made because it is time would come too late for this test."""
    with standby_of(own_cluster) as standby:
        db = session(own_cluster)
        gids = [db.saga(step(late.url("ok/a"), late.url("ok/u"), {}), step(late.url("ok/b"), None, {}))
                for _ in range(20)]
        # Ten errors open the breaker of this host: the others have been kept back, which is written, too.
        wait_until(lambda: db.one("select count(*) from dtm.trans where gid = any(%s) and version > 1",
                                  gids) == len(gids), "the coordinator has written all")
        look = session(standby)
        # All have been tried on the primary, and are due again: nothing but a coordinator is missing here.
        wait_until(lambda: look.one("select count(*) from dtm.trans where gid = any(%s) and version > 1"
                                    " and status = 'submitted'", gids) == len(gids), "the standby has them")
        assert look.one("select pg_is_in_recovery()")
        assert look.q("select pid, backend_type from pg_stat_activity where backend_type like 'dtm%%'") == []
        with pytest.raises(psycopg.Error) as refused:
            look.saga(step(late.url("ok/a"), None, {}), gid="on-the-standby")
        assert refused.value.sqlstate == "25006"
        assert "standby" in f"{refused.value.diag.message_detail} {refused.value.diag.message_hint}"

        own_cluster.expect_crash()
        standby.expect(*LONELY)
        own_cluster.kill_postmaster()
        late.start()
        wait_until(lambda: not look.one("select count(*) from dtm.trans where gid = any(%s)"
                                        " and next_cron_time > clock_timestamp()", gids), "all are due")
        assert late.calls() == [] and standby.coordinators() == []
        promoted = time.time()
        standby.promote()
        first = late.wait_calls(1)[0]
        print(f"from pg_ctl promote to the first call: {first.at - promoted:.2f} s")
        record_property("promotion_to_first_call_seconds", round(first.at - promoted, 2))
        standby.wait_coordinator()
        assert set(look.wait_all(gids).values()) == {"succeed"}
        assert all(late.effects(gid) == ["01 action", "02 action"] for gid in gids)
