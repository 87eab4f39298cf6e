"""What cannot be read in dtm.trans stops nothing that stands elsewhere: neither the sweep nor the API (P8, P14, I5)."""
import shutil
import struct
import subprocess

import psycopg
import pytest

from api import Api, saga, wait_listening
from cluster import as_postgres, wait_until
from dtm import step
from test_bounds import multiply
from test_sweep import commit_prepared

LONG = 1000   # seconds: nothing happens because of it during a test
PAGE = 8192   # bytes of the first page of a table, and what stands where in it
PD_LOWER, LINE_POINTERS = 12, 24
T_INFOMASK, COMMITTED_OR_NOT = 20, 0x0300


def file_of(cluster, table="'dtm.trans'"):
    return cluster.data / cluster.sql(f"select pg_relation_filepath({table})")[0][0]


class FirstPage:
    """The first page of a file, to be damaged and to be mended."""

    def __init__(self, path):
        self.path, self.before = path, []

    def write(self, offset, value):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            self.before.insert(0, (offset, file.read(len(value))))
            file.seek(offset)
            file.write(value)

    def damage_all(self):
        self.write(PD_LOWER, struct.pack("<H", 0xffff))

    def damage_first_row(self):
        """A row of a transaction that nobody knows."""
        page = self.path.read_bytes()[:PAGE]
        row = struct.unpack_from("<I", page, LINE_POINTERS)[0] & 0x7fff
        mask = struct.unpack_from("<H", page, row + T_INFOMASK)[0]
        self.write(row, struct.pack("<I", 3000000000))
        self.write(row + T_INFOMASK, struct.pack("<H", mask & ~COMMITTED_OR_NOT))

    def mend(self):
        for offset, value in self.before:
            with open(self.path, "r+b") as file:
                file.seek(offset)
                file.write(value)
        self.before = []


def stop(cluster):
    """Where pages have checksums, they would not fit afterwards."""
    checksums = cluster.sql("show data_checksums")[0][0] == "on"
    cluster.stop()
    if checksums:
        subprocess.run(as_postgres(cluster.bindir / "pg_checksums", "--disable", "-D", cluster.data), check=True,
                       stdout=subprocess.DEVNULL, cwd="/")


def connected(cluster, session):
    """A session that looks at rows by their gids alone, and the API."""
    db = session(cluster)
    db.q("set enable_seqscan = off")
    return db, wait_listening(Api(cluster, db))


def looks(db):
    return db.one("select idx_scan from pg_stat_user_indexes where indexrelid = 'dtm.trans_due'::regclass")


def others_work(db, api, service):
    """Whether somebody tells the coordinator of them, or nobody."""
    gids = [db.saga(step(service.url("ok/a"), None, {})), saga(api, (service.url("ok/a"), None)), db.new_gid("untold")]
    commit_prepared(db, lambda: db.saga(step(service.url("ok/a"), None, {}), gid=gids[-1]))
    for gid in gids:
        db.wait(gid, "succeed")


@pytest.mark.parametrize(("damage", "copies", "lost", "workers"), [
    (FirstPage.damage_all, 300, "ctid < '(1,0)'", 1),
    (FirstPage.damage_all, 300, "ctid < '(1,0)'", 2),
    (FirstPage.damage_first_row, 5, "ctid = '(0,1)'", 1)], ids=["page", "slices", "row"])
def test_damage_hides_nothing_else(server, session, one, damage, copies, lost, workers):
    """All are due at the same time, and nobody tells of them."""
    cluster = server(autovacuum="off", dtm__workers=workers).cluster
    db = session(cluster)
    db.q("select dtm_pause(everything => true)")
    multiply(db, db.saga(step(one.url("ok/a"), None, {})), copies, "-1 minute")
    bad = [gid for gid, in db.q(f"select gid from dtm.trans where {lost}")]
    good = [gid for gid, in db.q(f"select gid from dtm.trans where not {lost}")]
    assert bad and good
    page = FirstPage(file_of(cluster))
    stop(cluster)
    damage(page)
    cluster.start()

    begin = cluster.log_size()
    db, api = connected(cluster, session)
    with pytest.raises(psycopg.Error):
        db.q("select gid from dtm.trans where gid = any(%s)", bad)
    db.q("select dtm_resume(everything => true)")
    assert set(db.wait_all(good).values()) == {"succeed"}
    others_work(db, api, one)
    told = "cannot read all rows of dtm.trans"
    wait_until(lambda: cluster.log_text(begin).count(told) == workers, "it says so")
    others_work(db, api, one)
    assert cluster.log_text(begin).count(told) == workers
    assert "cannot work" not in cluster.log_text(begin)
    before = looks(db)
    db.q("select pg_sleep(5)")
    assert looks(db) - before < 500, "it looks again and again"
    api.close()

    stop(cluster)
    page.mend()
    cluster.start()
    db = session(cluster)
    assert set(db.wait_all(bad).values()) == {"succeed"}
    assert all(one.effects(gid) == ["01 action"] for gid in bad + good)


def forget_page(db, page):
    """Until the first page, with damage, is read from the disk: until nobody can read it."""
    def unreadable():
        if not page.before:
            page.damage_all()
        else:  # it may have been written in between
            page.mend()
            page.damage_all()
        db.q("select sum(length(t)) from crowd where n > 0")
        try:
            db.q("select version from dtm.trans where ctid = '(0,1)'")
        except psycopg.errors.DataCorrupted:
            return True
        return False
    wait_until(unreadable, "the page cannot be read")


def test_damage_of_what_is_in_memory_stops_nothing_else(server, session, one):
    cluster = server(autovacuum="off", shared_buffers="1MB").cluster
    db, api = connected(cluster, session)
    name = db.new_gid("gate")
    held = db.saga(step(one.url(f"hold/{name}"), None, {}), request_timeout=LONG)
    one.wait_calls(1, gid=held)
    multiply(db, held, 300, "1 hour")
    db.q("create table crowd as select n, repeat('x', 500) t from generate_series(1, 20000) n")
    db.q("alter table crowd add primary key (n)")
    db.q("checkpoint")
    page, begin = FirstPage(file_of(cluster)), cluster.log_size()
    forget_page(db, page)
    wait_until(lambda: "rows of all transactions that it works on" in cluster.log_text(begin), "it says so")
    others_work(db, api, one)
    one.release(name)
    told = f"can neither write nor mark transaction {held}"
    wait_until(lambda: told in cluster.log_text(begin), "its end cannot be written")
    others_work(db, api, one)
    assert "cannot work" not in cluster.log_text(begin)
    api.close()
    page.mend()
    db.q("select dtm_retry_now(%s)", held)
    db.wait(held, "succeed", timeout=120)  # it rests for a minute
    assert one.effects(held) == ["01 action"]
    db.q("delete from dtm.trans where status = 'submitted'")


def test_a_request_that_cannot_be_read_is_put_aside_alone(server, session, one):
    """The file of what is long in rows is gone."""
    cluster = server(autovacuum="off").cluster
    db = session(cluster)
    db.q("select dtm_pause(everything => true)")
    noise = db.one("select string_agg(md5(n::text), '') from generate_series(1, 2000) n")
    bad = db.saga(step(one.url("ok/a"), None, {"noise": noise}))
    good = db.saga(step(one.url("ok/a"), None, {}))
    path = file_of(cluster, "(select reltoastrelid from pg_class where oid = 'dtm.trans'::regclass)")
    cluster.stop()
    aside = shutil.move(path, cluster.root / "aside")
    cluster.start()

    begin = cluster.log_size()
    db, api = connected(cluster, session)
    db.q("select dtm_resume(everything => true)")
    db.wait(good, "succeed")
    others_work(db, api, one)
    wait_until(lambda: db.one("select attention like 'could not open file%%' from dtm.trans where gid = %s", bad),
               "it is put aside")
    assert "cannot work" not in cluster.log_text(begin)
    api.close()

    cluster.stop()
    shutil.move(aside, path)
    cluster.start()
    db = session(cluster)
    db.q("select dtm_retry_now(%s)", bad)
    db.wait(bad, "succeed")
    assert [one.effects(gid) for gid in (bad, good)] == [["01 action"]] * 2
