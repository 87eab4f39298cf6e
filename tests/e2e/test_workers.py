"""Several coordinators: two databases, hash slices of one database, an old snapshot beside them."""
import pytest

from cluster import wait_until
from conftest import with_extension
from dtm import step


def test_two_databases_are_served_apart(shared_cluster, session, db, one):
    shared_cluster.sql("create database second", dbname="postgres")
    try:
        with_extension(shared_cluster, "second")
        [here], [there] = shared_cluster.coordinators(), shared_cluster.coordinators("second")
        assert here != there
        other = session(shared_cluster, "second")
        same_gid = db.new_gid("same")
        db.saga(step(one.url("ok/first"), None, {}), gid=same_gid)
        other.saga(step(one.url("ok/second"), None, {}), gid=same_gid)
        db.wait(same_gid, "succeed")
        other.wait(same_gid, "succeed")
        assert sorted(c.name for c in one.calls(gid=same_gid)) == ["first", "second"]
        other.close()
    finally:
        shared_cluster.expect("due to administrator command")
        shared_cluster.sql("drop database second with (force)", dbname="postgres")


@pytest.mark.settings({"dtm.workers": 3})
def test_three_workers_share_the_work(own_cluster, session, one):
    own_cluster.wait_coordinator(count=3)
    db = session(own_cluster)
    gids = [db.new_gid("slice") for _ in range(90)]
    with db.conn.transaction():
        for gid in gids:
            db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}), gid=gid)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert all(one.sequence(g) == ["01 action", "02 action"] for g in gids), "nobody called twice"
    stats = db.q("select * from dtm.stat_coordinator where datname = current_database()")
    assert len(stats) == 3
    own_cluster.wait_coordinator(count=3)


@pytest.mark.settings({"dtm.workers": 3})
def test_a_killed_worker_of_three_leaves_no_slice_alone(own_cluster, session, one):
    before = own_cluster.wait_coordinator(count=3)
    db = session(own_cluster)
    gate = db.new_gid("gate")
    gids = [db.saga(step(one.url(f"hold/{gate}"), None, {}), request_timeout=60, retry_interval=1)
            for _ in range(30)]
    one.wait_calls(len(gids), name=gate)
    own_cluster.expect("due to administrator command")
    db.q("select pg_terminate_backend(%s)", before[0])
    wait_until(lambda: len(p := own_cluster.coordinators()) == 3 and before[0] not in p, "it is replaced")
    one.release(gate)
    assert set(db.wait_all(gids).values()) == {"succeed"}


def test_an_old_snapshot_slows_nobody(db, session, shared_cluster, one):
    reader = session(shared_cluster, autocommit=False)
    reader.q("set transaction isolation level repeatable read")
    reader.q("select count(*) from dtm.trans")
    gids = [db.new_gid("old") for _ in range(500)]
    held = 0
    for n in range(0, 500, 50):
        with db.conn.transaction():
            for gid in gids[n:n + 50]:
                db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}), gid=gid)
        held += db.one("select count(*) from pg_stat_activity where backend_type = 'dtm coordinator'"
                       " and datname = current_database() and backend_xmin is not null"
                       " and age(backend_xmin) > 5000")
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert held == 0
    wait_until(lambda: db.one("select backend_xmin from pg_stat_activity where datname = current_database()"
                              " and backend_type = 'dtm coordinator'") is None,
               "the coordinator holds no snapshot between its transactions")
    reader.conn.rollback()
