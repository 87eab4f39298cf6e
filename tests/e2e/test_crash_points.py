"""Crash points: the server is killed at every named point of its code, in every story that passes it.

A build of its own (make CRASH_POINTS=1) in a private copy of the PostgreSQL tree; nothing of it is installed.
The stories that are told over HTTP are in crash_api.py.
Alone: pytest tests/e2e/test_crash_points.py -s shows the numbers; -k skip is one story.
"""
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

import conftest  # noqa: E402
import crash_api  # noqa: E402
from api import listen_settings  # noqa: E402
from cluster import wait_until  # noqa: E402
from crash_run import CrashCluster, Walk, points_in_source  # noqa: E402
from dtm_tables import Branch, Old  # noqa: E402
from private import NotRelocatable, PrivateBuild, pg_config  # noqa: E402

SIDE_BY_SIDE = 6        # clusters; most of a crash is waiting
ONLY_VERBS = r"^(api|hub|store)\.|^worker\.(rows_loaded|settle)"  # what the plain stories do not show
API_POINTS = r"^(server|store)\.|^worker\.(settle_|rows|calls_d)|^net\.answered"

ALL_THREE = {"succeed": ["01 action", "02 action", "03 action"]}
BOTH = {"succeed": ["01 action", "02 action"]}
UNDONE = {"failed": None}   # whatever was done


@pytest.fixture(scope="module")
def build():
    try:
        with PrivateBuild("crash", "CRASH_POINTS=1") as made:
            yield made
    except NotRelocatable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def walk(build, one):
    """Clusters are started here, in the main thread: they die with the thread that started them."""
    made = []
    try:
        for n in range(SIDE_BY_SIDE):
            cluster = CrashCluster(build, f"crash{n}", {**conftest.FAST, **listen_settings()})
            made.append(cluster)
            conftest.clusters.append(cluster)
            cluster.init().start()
            cluster.sql(f"create database {cluster.dbname}", dbname="postgres")
            conftest.with_extension(cluster)
            cluster.sql("create table paid (gid text)")
        yield Walk(made, one)
    finally:
        for cluster in made:
            if cluster in conftest.clusters:
                conftest.clusters.remove(cluster)
            cluster.destroy()


@pytest.fixture(autouse=True)
def crashes_are_wanted(walk):
    for cluster in walk.clusters:
        cluster.expect_crash()


# --- the stories of transactions ------------------------------------------------------------------------

def saga_forward(run):
    run.begin(("saga", (run.out(), run.give(), run.idle()), {}, ALL_THREE))
    run.begin(*[("saga", (run.out(), run.give(), run.idle()), {}, ALL_THREE)] * 2)


def saga_rollback(run):
    effects = {"failed": ["01 action", "01 compensate", "02 action", "02 compensate"]}
    run.begin(*[("saga", (run.out(), run.give(), run.give(refuse=True)), {}, effects)] * 2)


def saga_concurrent(run):
    good, bad = (run.out(), run.give(), run.idle()), (run.out(), run.give(refuse=True), run.idle())
    run.begin(("saga", good, {"concurrent": True}, ALL_THREE),
              ("saga", bad, {"concurrent": True}, UNDONE))


def saga_that_is_repeated(run):
    steps = run.out(), run.idle("error", n=1), run.idle("ongoing", n=1), run.give()
    run.begin(("saga", steps, {"retry_interval": 1},
               {"succeed": ["01 action", "02 action", "03 action", "04 action"]}))


def saga_timeout(run):
    steps = run.out(), run.give(), run.idle("error")
    run.begin(("saga", steps, {"timeout_to_fail": 1, "retry_interval": 1}, UNDONE))


def message(run):
    steps = run.out(undo=False), run.give(undo=False)
    run.begin(("msg", steps, {}, BOTH), ("msg", steps, {"concurrent": True}, BOTH))
    run.begin(("msg", steps, {"delay": 1}, BOTH))


# --- the stories of operators ---------------------------------------------------------------------------

def force_stop(run):
    gid = run.half_done({"failed": ["01 action"]}, run.give())  # nothing is undone: an operator said so
    run.money -= 5
    run.verb("force_stop", gid)


def retry_now(run):
    gid = run.half_done(ALL_THREE, run.give(), mode="error")
    run.service.set_mode(run.id, "ok")
    run.verb("retry_now", gid)


def retry_all(run):
    """Those of other stories that wait there are hurried, too, which does no harm."""
    gid = run.half_done(ALL_THREE, run.give(), mode="error")
    run.service.set_mode(run.id, "ok")
    hurried = "select next_cron_time <= clock_timestamp() or status = 'succeed' from dtm.trans where gid = %s"
    run.change("select dtm_retry_all()", gid, done=hurried)


def skip(run):
    gid = run.half_done({"succeed": ["01 action", "03 action"]}, run.give())
    run.verb("skip", gid, "02")


def pause_one(run):
    gid = run.half_done(ALL_THREE, run.give())
    run.verb("pause", gid)
    run.service.set_mode(run.id, "ok")
    calls = run.service.sequence(gid)
    run.begin(("saga", (run.idle(),), {}, {"succeed": ["01 action"]}))
    run.wait_end(list(run.expected)[1:])
    assert run.service.sequence(gid) == calls, "it is paused"
    run.verb("resume", gid)


EVERYTHING = "select {} from dtm.control where kind = 'pause' and name = ''"


def pause(run):
    run.order("pause", "everything => true", done=EVERYTHING.format("count(*) = 1"))


def resume(run):
    run.order("resume", "everything => true", done=EVERYTHING.format("count(*) = 0"))


def pause_everything(run):
    pause(run)
    [gid] = run.begin(("saga", (run.out(), run.give()), {}, BOTH))
    run.q("select pg_sleep(0.1)")
    assert run.service.calls(gid=gid) == [], "everything is paused"
    resume(run)


def redirect(run):
    old = run.service.url(f"moved-{run.id}")
    there = f"select count(*) = 1 from dtm.control where kind = 'redirect' and name = '{old}'"
    run.order("redirect", f"'{old}', '{run.service.url('bank')}'", done=there)
    # What the coordinator has not heard of yet it calls at the old place, and repeats.
    run.begin(("saga", (run.out(path=f"moved-{run.id}"), run.give()), {"retry_interval": 1},
               BOTH))
    run.finish()
    run.order("redirect", f"'{old}', null", done=there.replace("= 1", "= 0"))


def topics(run):
    topic = f"{run.id}-topic"
    for n in (1, 2):
        run.change("select dtm_subscribe(%s, %s)", topic, run.service.url(f"ok/{n}"), topic, n,
                   done="select (select count(*) from dtm.topic where topic = %s) >= %s")
    run.begin(("msg", ((f"topic://{topic}", None, {}, None), run.out(undo=False), run.give(undo=False)), {},
               {"succeed": ["01-01 action", "01-02 action", "02 action", "03 action"]}))
    run.change("select dtm_drop_topic(%s)", topic, topic,
               done="select not exists (select from dtm.topic where topic = %s)")


def import_from_dtm(run):
    """A transaction is in dtm's tables or in ours, whatever happens, and ends."""
    taken = f"select count(*) = 0 from {schema_of(run)}.trans_global"
    run.change(f"select dtm_import('{schema_of(run)}')", done=taken)
    assert run.one(taken)
    run.expected = {f"{run.id}-0": BOTH}


def schema_of(run):
    return run.id.replace("-", "_")


def filled_tables(run):
    steps = [Branch((undo, do), "pp", body=json.dumps(payload).encode())
             for do, undo, payload, _ in (run.out(), run.give())]
    Old(run, schema_of(run)).create().put("saga", "submitted", *steps, gid=f"{run.id}-0")


import_from_dtm.before = filled_tables


# --- the stories of housekeeping and trouble ------------------------------------------------------------

def retention(run):
    """Old finished ones go, all of them; unfinished ones stay."""
    old = run.begin(*[("saga", (run.out(), run.give()), {}, BOTH)] * 3)
    kept = run.half_done(ALL_THREE, run.give())
    run.wait_end(old)
    run.q("update dtm.trans set finish_time = '2001-01-01' where gid = any(%s)", old)
    run.q("update dtm.trans set create_time = '2001-01-02', update_time = '2001-01-02' where gid = %s", kept)
    run.q("select pg_reload_conf()")
    run.until("old ones are removed", "select count(*) = 0 from dtm.trans where gid = any(%s)", old)
    for gid in old:
        assert run.service.effects(gid) == run.expected.pop(gid)["succeed"]
    run.q("update dtm.trans set create_time = clock_timestamp() where gid = %s", kept)
    run.service.set_mode(run.id, "ok")
    run.verb("retry_now", kept)


def barrier(run):
    """One effect, however often it is called; the row goes when it is old."""
    for n, purge in enumerate(("select pg_reload_conf()", "select dtm_barrier_purge()")):
        gid = f"{run.id}-barrier-{n}"
        for _ in range(2):
            run.q("select dtm_barrier_call('saga', %s, '01', 'action', 'insert into paid values ($1)', %s::text)",
                  gid, gid)
        assert run.one("select count(*) from paid where gid = %s", gid) == 1
        run.q("update dtm_barrier.barrier set create_time = '2001-01-01' where gid = %s", gid)
        run.q(purge)
        run.until("the row is removed", "select count(*) = 0 from dtm_barrier.barrier where gid = %s", gid)


def unreadable_row(run):
    gid = run.half_done({"failed": ["01 action"]})
    run.money -= 5
    run.q("update dtm.trans set progress = 'no progress', version = version + 1,"
          " next_cron_time = clock_timestamp() where gid = %s", gid)
    run.until("it is put aside", "select attention is not null from dtm.trans where gid = %s", gid)
    run.verb("force_stop", gid)


def answered_at_once(run, db, gids):
    """A lock keeps the coordinator from settling until it has the answers of all."""
    with db.conn.transaction():
        db.q("lock table dtm.trans in share mode")
        run.service.release(run.id)
        wait_until(lambda: all(run.service.effects(g) for g in gids), "all have answered")
        tries = set()

        def tried_again():
            tries.update(db.q("select l.waitstart from pg_locks l join pg_stat_activity a using (pid)"
                              " where not l.granted and l.waitstart is not null"
                              " and a.backend_type = 'dtm coordinator'"))
            return len(tries) > 1
        wait_until(tried_again, "the coordinator has tried in vain, and again", pause=0.02)


def unwritable_row(run):
    """One of a batch cannot be written: it is put aside, alone."""
    name = run.id.replace("-", "_")
    run.q(f"create or replace function {name}() returns trigger language plpgsql as"
          " $$ begin raise exception 'this row cannot be written'; end $$")
    bad = f"{run.id}-0"
    run.q(f"create or replace trigger {name} before update on dtm.trans for each row"
          f" when (old.gid = '{bad}' and new.attention is null) execute function {name}()")
    gids = run.begin(*[("saga", (run.idle("hold", run.id),), {"request_timeout": 60}, {"succeed": ["01 action"]})] * 8)
    assert gids[0] == bad
    wait_until(lambda: all(run.service.calls(gid=g) for g in gids), "all are called")
    run.attempt(lambda db: answered_at_once(run, db, gids))
    run.service.release(run.id)
    run.wait_end(gids[1:])
    run.until("it is put aside", "select attention is not null from dtm.trans where gid = %s", bad)
    run.q(f"drop function if exists {name} cascade")
    run.verb("retry_now", bad)


# --- the stories of whose database it is ----------------------------------------------------------------

def must_be_adopted(run, gid, done, calls=0):
    """Nobody is called before it."""
    run.until("it is known", "select count(*) > 0 from dtm_check() where finding ~ 'calls nobody'")
    assert len(run.service.calls(gid=gid)) == calls
    run.change("select dtm_adopt()", done=done)


def adopt(run):
    """The row of another server: this is a copy."""
    pause(run)
    run.q("update dtm.identity set system_identifier = 4711")
    [gid] = run.begin(("saga", (run.out(), run.give()), {}, BOTH))
    resume(run)
    must_be_adopted(run, gid, "select not exists (select from dtm.identity where system_identifier = 4711)")


def restored_dump(run):
    """Transactions from before the extension was installed."""
    pause(run)
    run.q("update dtm.identity set installed = adopted")
    [gid] = run.begin(("saga", (run.out(), run.give()), {}, BOTH))
    run.q("update dtm.trans set create_time = '2001-01-01' where gid = %s", gid)
    resume(run)
    run.until("it is marked", "select exists (select from dtm.identity where system_identifier = 0)")
    must_be_adopted(run, gid, "select not exists (select from dtm.identity where system_identifier = 0)")


def lost_identity(run):
    pause(run)
    run.q("delete from dtm.identity")
    resume(run)
    run.until("there is one again", "select count(*) = 1 from dtm.identity")
    run.begin(("saga", (run.out(), run.give()), {}, BOTH))


def clock_set_back(run):
    run.q("update dtm.identity set installed = clock_timestamp() + interval '1 hour'")
    run.until("it is ours what this clock writes", "select bool_and(installed < clock_timestamp()) from dtm.identity")
    run.begin(("saga", (run.out(), run.give()), {}, BOTH))


def install(run):
    """CREATE EXTENSION in another database; its coordinator comes by itself."""
    name = run.id.replace("-", "_")
    run.q(f"drop database if exists {name}")
    run.q(f"create database {name}")
    run.close()
    home, run.cluster.dbname = run.cluster.dbname, name
    try:
        run.change("create extension dtm_pg", done="select exists (select from pg_extension where extname = 'dtm_pg')")
        run.begin(("saga", (run.out(), run.give()), {}, BOTH))
        run.finish()
        run.expected.clear()
    finally:
        run.close()
        run.cluster.dbname = home
    run.q(f"drop database {name} with (force)")


def start(run):
    """The coordinator ends and comes back."""
    gid = run.half_done(ALL_THREE, run.give())
    run.service.set_mode(run.id, "ok")
    run.q("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'dtm coordinator'"
          " and datname = current_database()")
    run.verb("retry_now", gid)


def stopped_half_done(run):
    run.gid = run.half_done(ALL_THREE, run.give())
    run.service.set_mode(run.id, "ok")
    run.close()
    run.cluster.expect_crash()
    run.cluster.stop()
    run.cluster.expect_crash()


def put_file(cluster, name, text=""):
    path = cluster.data / name
    path.write_text(text)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def failover(run):
    """A promotion: what the standby has goes on by itself."""
    run.change("select pg_promote()", done="select not pg_is_in_recovery()")
    run.until("it is promoted", "select not pg_is_in_recovery()")
    run.verb("retry_now", run.gid)


def standby(run):
    stopped_half_done(run)
    put_file(run.cluster, "standby.signal")
    run.cluster.start()


failover.before = standby


def recovered_backup(run):
    """A base backup that was started without a word about recovery."""
    run.cluster.start()
    run.until("it is marked", "select exists (select from dtm.identity where system_identifier = 0)")
    must_be_adopted(run, run.gid, "select not exists (select from dtm.identity where system_identifier = 0)", calls=2)
    run.verb("retry_now", run.gid)


def backup(run):
    run.q("select pg_backup_start('crash', true)")
    label = run.one("select labelfile from pg_backup_stop(false)")
    stopped_half_done(run)
    put_file(run.cluster, "backup_label", label)


recovered_backup.before = backup


# --- the tests ------------------------------------------------------------------------------------------

PLAIN = {saga_forward: 5, saga_rollback: 5, saga_concurrent: 5, saga_that_is_repeated: 3, saga_timeout: 3, message: 5}
OTHERS = {force_stop: ".", retry_now: ".", retry_all: ONLY_VERBS, skip: ".", pause_one: ONLY_VERBS,
          pause_everything: r"^(api|hub)\.|looked|loaded", redirect: r"^(api|hub)\.|looked", topics: r"^(api|store)\.",
          import_from_dtm: ONLY_VERBS,
          retention: r"^worker\.(finished|removal)", barrier: r"barrier|removal",
          unreadable_row: r"aside|^api\.force", unwritable_row: r"aside|alone|settl|ended",
          adopt: r"adopt|orders|looked|loaded", restored_dump: r"adopt|marked|orders|looked|loaded",
          lost_identity: r"identity|orders|looked", install: r"extension|identity|worker\.(sl|co|se|loo)",
          clock_set_back: "clock|looked", start: r"worker\.(sl|coo|se|loo|rows)"}
API = {crash_api.http_saga: (".", 2), crash_api.http_message: (API_POINTS, 3),
       crash_api.http_message_forgotten: (API_POINTS, 2), crash_api.http_tcc: (API_POINTS, 5),
       crash_api.http_tcc_given_up: (API_POINTS, 4), crash_api.http_xa: (API_POINTS, 4),
       crash_api.http_workflow: (API_POINTS, 4), crash_api.http_operators: (r"^(server|store)\.", 3),
       crash_api.sql_doors: (r"^(api|store)\.", 5)}
RESTARTS = {failover: r"failover|^worker\.(sl|coo|serv|loo|rows)", recovered_backup: r"marked|adopt|orders|looked|rows"}


@pytest.mark.parametrize("story", PLAIN, ids=lambda s: s.__name__)
def test_transactions(walk, story):
    walk.walk(story, passages=PLAIN[story])


@pytest.mark.parametrize("story", OTHERS, ids=lambda s: s.__name__)
def test_verbs_and_trouble(walk, story):
    walk.walk(story, OTHERS[story])


@pytest.mark.parametrize("story", API, ids=lambda s: s.__name__)
def test_the_api(walk, story):
    walk.walk(story, *API[story])


@pytest.mark.parametrize("story", RESTARTS, ids=lambda s: s.__name__)
def test_whose_server_it_is(walk, story):
    alone = Walk(walk.clusters[:1], walk.service)
    alone.walk(story, RESTARTS[story], passages=1)
    walk.add(alone)


def test_every_point_was_walked(walk, capsys):
    """The last test: no point that no story passes."""
    stories = {story for story, _ in walk.kills}
    if stories < {s.__name__ for s in (*PLAIN, *OTHERS, *API, *RESTARTS)}:
        pytest.skip("only some of the stories were run")
    with capsys.disabled():
        print(f"\n{sum(walk.kills.values())} kills, {len(walk.kills)} pairs of {len(points_in_source())} crash points"
              f" and {len(stories)} stories, {walk.seconds:.0f} s; {sum(walk.missed.values())} passages did not come")
    assert {point for _, point in walk.kills} == points_in_source()


def test_an_ordinary_build_has_none(build):
    ordinary = Path(pg_config("--pkglibdir"), "dtm_pg.so").read_bytes()
    ours = Path(build.library).read_bytes()
    for word in (*points_in_source(), "DTM_CRASH_FILE"):
        assert word.encode() in ours, word
        assert word.encode() not in ordinary, word
