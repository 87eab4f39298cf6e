"""Old snapshots of others slow nobody down, and our processes hold none (P7, P12)."""
import time

import pytest

from cluster import wait_until
from conftest import running_cluster
from dtm import step

SAGAS, BATCH = 3000, 100


@pytest.fixture(scope="module")
def house():
    with running_cluster("snapshot", {"autovacuum": "off"}) as cluster:
        yield cluster


def index_work(db, done):
    """Blocks of the due index that were touched while so many transactions were submitted and ended."""
    def reported():
        db.q("select pg_stat_force_next_flush()" if db.conn.info.server_version >= 150000 else "select")
        return db.one("select n_tup_ins >= %s and n_tup_upd >= %s from pg_stat_user_tables"
                      " where relid = 'dtm.trans'::regclass", done, done)
    wait_until(reported, "the coordinator has reported its work")
    return db.one("select idx_blks_read + idx_blks_hit from pg_statio_user_indexes"
                  " where indexrelid = 'dtm.trans_due'::regclass")


class Watch:
    """Looks again and again at the transactions of our processes. None of a coordinator may live from one of its
    turns into the one after the next: then it would be held over a wait. The launcher has no such turns."""

    def __init__(self, cluster):
        self.conn = cluster.connect()
        self.seen, self.looks, self.held, self.oldest = {}, 0, [], 0.0

    def settles(self):
        return self.conn.execute("select settles from dtm.stat_coordinator where datname = current_database()"
                                 ).fetchone()[0]

    def look(self):
        before = self.settles()
        found = self.conn.execute(
                "select pid, backend_type, xact_start, backend_xmin::text, extract(epoch from clock_timestamp() -"
                " xact_start)::float8 from pg_stat_activity where backend_type like 'dtm %' and xact_start is not null"
                " and backend_xmin is not null").fetchall()
        after = self.settles()
        for pid, kind, start, xmin, age in found:
            # What was settled for sure while it was open, however long this process was away between its looks.
            first, look = self.seen.setdefault((pid, start), (after, self.looks))
            turns = before - first
            self.oldest = max(self.oldest, age)
            # By many looks, too: a machine that is away makes everything old at once.
            if turns > 2 if kind == "dtm coordinator" else age > 5 and self.looks > look + 10:
                self.held.append((pid, kind, start, xmin, turns, age))
        self.looks += 1


def test_our_processes_hold_no_snapshot_while_sagas_flow(house, session, one):
    """Beside a session that holds one from begin to end."""
    db, reader = session(house), session(house, autocommit=False)
    reader.q("set transaction isolation level repeatable read")
    reader.q("select count(*) from dtm.trans")
    watch, gids, batches, work = Watch(house), [], [], [0]
    while len(gids) < SAGAS:
        begin = time.monotonic()
        with db.conn.transaction():
            for _ in range(BATCH):
                gids.append(db.saga(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {})))
        watch.look()
        wait_until(lambda: watch.look() or db.one("select count(*) from dtm.trans where gid = any(%s) and status <>"
                                                  " 'succeed'", gids[-BATCH:]) == 0, "a batch ends", pause=0.001)
        batches.append(time.monotonic() - begin)
        if len(gids) % (SAGAS // 3) == 0:
            work.append(index_work(db, len(gids)) - sum(work))
    assert set(db.wait_all(gids).values()) == {"succeed"}
    assert reader.one("select count(*) from dtm.trans") == 0, "it is as old as the run"
    assert watch.looks > SAGAS / BATCH and not watch.held, watch.held
    assert work[3] <= 2 * work[1], f"blocks of the due index per third of the run: {work[1:]}"
    third = len(batches) // 3
    print(f"{watch.looks} looks, the oldest transaction of ours was {watch.oldest:.3f} s old; the last third of the "
          f"batches took {sum(batches[-third:]) / sum(batches[:third]):.2f} times as long as the first")
    reader.conn.rollback()


def test_nor_while_calls_hang(house, session, one):
    """Each of them would hold vacuum up for as long as the service is silent."""
    db = session(house)
    gids = [db.saga(step(one.url("never/hang"), None, {}), request_timeout=1000) for _ in range(20)]
    for gid in gids:
        one.wait_calls(1, gid=gid)
    watch = Watch(house)
    for _ in range(30):
        watch.look()
        db.passed_by(one)
    assert not watch.held, watch.held
    # Nobody submits, so the coordinator waits: looked at so often, it is without a transaction most of the time.
    open_at = [watch.conn.execute("select count(*) from pg_stat_activity where backend_type like 'dtm %'"
                                  " and xact_start is not null").fetchone()[0] for _ in range(300)]
    assert sum(n == 0 for n in open_at) > 150, open_at
    # What died since then can be removed: nobody holds it.
    db.q("create table dying (n int); insert into dying values (1); delete from dying")
    wait_until(lambda: db.q("vacuum dying") or db.one("select pg_relation_size('dying')") == 0, "it can be removed")
