"""The recipes of the README (tests/recipes): run as they are, called by the coordinator and by hand,
connected directly and through pgbouncer in transaction mode, where all of them share two connections."""
import random
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from conftest import with_extension
from pooler import Pooler
from recipe import ALL, FULL, RECIPES, Services

README = Path(__file__).parents[2] / "README.md"

each_recipe = pytest.mark.parametrize("recipe", ALL, ids=lambda r: r.name)
each_route = pytest.mark.parametrize("route", Services.ROUTES)


@pytest.fixture(scope="module")
def bank(module_cluster):
    """The cluster with the tables of the recipes, and the roles that the services are."""
    with_extension(module_cluster)
    for name in ("account.sql", "branch.sql", "legacy.sql"):
        module_cluster.sql((RECIPES / name).read_text())
    for role in ("app", "strict"):
        module_cluster.sql(f"create role {role} login")
        module_cluster.sql(f"grant select, insert, update, delete on all tables in schema public to {role}")
        module_cluster.sql(f"select dtm_grant('{role}', 'barrier')")
    module_cluster.sql("alter role strict set dtm.strict_barrier = on")
    return module_cluster


@pytest.fixture(scope="module")
def pooler(bank):
    pooler = Pooler(bank, ["app", "strict"])
    try:
        yield pooler.start()
    finally:
        pooler.destroy()


@pytest.fixture(scope="module")
def services(bank, pooler):
    services = Services(bank, pooler)
    try:
        yield services.started()
    finally:
        services.destroy()


@pytest.fixture
def db(bank, session):
    """A session that writes what it likes: the protection is for programs."""
    dtm = session(bank)
    dtm.q("set session_replication_role = replica")
    return dtm


def new_gid():
    return "by-hand-" + uuid.uuid4().hex[:12]


# --- sagas, called by the coordinator -------------------------------------------------------------

@each_route
def test_a_saga_over_all_recipes_succeeds(db, services, route):
    things = {r: r.new_thing(db) for r in ALL}
    gid = db.saga(*[services.step(r, route, thing) for r, thing in things.items()])
    db.wait(gid, "succeed")
    assert {r.name: r.left(db, thing) for r, thing in things.items()} == {r.name: FULL - 1 for r in ALL}
    assert db.q("select guest from booking where room = %s", things[ALL[-1]]) == [("ada",)]


@each_route
@each_recipe
@pytest.mark.parametrize("why", ["nothing left", "no such thing"])
def test_a_refused_saga_is_rolled_back(db, services, recipe, route, why):
    others = {r: r.new_thing(db) for r in ALL if r is not recipe}
    refused = recipe.new_thing(db, 0) if why == "nothing left" else "nobody-" + new_gid()
    gid = db.saga(*[services.step(r, route, thing) for r, thing in others.items()],
                  services.step(recipe, route, refused))
    db.wait(gid, "failed")
    assert db.branch(gid, "04")["status"] == "failed"
    assert db.branch(gid, "04", "compensate")["status"] == "succeed"
    assert {r.name: r.left(db, thing) for r, thing in others.items()} == {r.name: FULL for r in others}
    assert recipe.left(db, refused) == (0 if why == "nothing left" else None)
    assert not db.q("select from booking where room = any(%s)", [refused, *others.values()])


@each_route
def test_money_is_neither_made_nor_lost(db, services, route):
    """Transfers between accounts of both languages at once, some of them refused."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    python, node, procedure, _ = ALL
    accounts = [python.new_thing(db) for _ in range(5)]
    sold_out = procedure.new_thing(db, 0)
    gids = []
    for _ in range(60):
        giver, taker = chance.sample(accounts, 2)
        amount = chance.randrange(1, FULL)
        # Taken first and given last: what was given may be spent before it could be taken back.
        steps = [services.step(chance.choice([python, node]), route, giver, amount=-amount),
                 services.step(chance.choice([python, node]), route, taker, amount=amount)]
        if chance.random() < 0.3:
            steps.insert(1, services.step(procedure, route, sold_out))
        gids.append(db.saga(*steps))
    ends = db.wait_all(gids)
    assert db.one("select sum(balance) from account where name = any(%s)", accounts) == FULL * len(accounts)
    assert set(ends.values()) == {"succeed", "failed"}


# --- calls that a coordinator may make, by hand ----------------------------------------------------

@each_route
@each_recipe
def test_a_call_that_comes_twice_takes_effect_once(db, services, recipe, route):
    thing, gid = recipe.new_thing(db), new_gid()
    for op, left in (("action", FULL - 1), ("compensate", FULL)):
        for _ in range(2):
            assert services.call(recipe, route, thing, gid, op) == 200
            assert recipe.left(db, thing) == left


@each_route
@each_recipe
def test_calls_that_come_at_once_take_effect_once(db, services, recipe, route):
    thing, gid, crowd = recipe.new_thing(db), new_gid(), 6
    start = threading.Barrier(crowd)

    def call(_):
        start.wait()
        return services.call(recipe, route, thing, gid, "action")
    with ThreadPoolExecutor(crowd) as pool:
        assert list(pool.map(call, range(crowd))) == [200] * crowd
    assert recipe.left(db, thing) == FULL - 1


@each_route
@each_recipe
def test_an_action_after_its_compensation_does_nothing(db, services, recipe, route):
    thing, gid = recipe.new_thing(db), new_gid()
    for op in ("compensate", "action", "compensate", "action"):
        assert services.call(recipe, route, thing, gid, op) == 200
        assert recipe.left(db, thing) == FULL


@each_route
@each_recipe
def test_strict_services_refuse_an_action_after_its_compensation(db, services, recipe, route):
    thing, gid = recipe.new_thing(db), new_gid()
    for op, status in (("compensate", 200), ("action", 409), ("compensate", 200), ("action", 409)):
        assert services.call(recipe, route, thing, gid, op, role="strict") == status
        assert recipe.left(db, thing) == FULL
    other = recipe.new_thing(db)    # a duplicate is no reason to refuse
    for _ in range(2):
        assert services.call(recipe, route, other, gid + "-2", "action", role="strict") == 200
    assert recipe.left(db, other) == FULL - 1


@each_route
@each_recipe
def test_a_refused_call_leaves_no_barrier_row(db, services, recipe, route):
    """So the same call takes effect when it is repeated and possible."""
    thing, gid = recipe.new_thing(db, 0), new_gid()
    assert services.call(recipe, route, thing, gid, "action") == 409
    assert not db.q("select from dtm_barrier.barrier where gid = %s", gid)
    recipe.refill(db, thing)
    assert services.call(recipe, route, thing, gid, "action") == 200
    assert recipe.left(db, thing) == FULL - 1


# --- one server connection, many clients -----------------------------------------------------------

CONTEXT = "select dtm_branch('saga', %s, '01', 'action')"
TAKE = "update room set free = free - 1 where name = %s"


def server_pid(conn):
    return conn.execute("select pg_backend_pid()").fetchone()[0]


@pytest.mark.parametrize("end", ["commit", "rollback", "disconnect"])
def test_the_next_client_does_not_inherit_a_branch(db, pooler, end):
    _, _, _, legacy = ALL
    room, gid = legacy.new_thing(db), new_gid()
    with pooler.connect("app", "single") as first:
        pid = server_pid(first)
        first.execute(CONTEXT, [gid])
        assert first.execute(TAKE, [room]).rowcount == 1
        if end == "disconnect":
            first.close()
        else:
            getattr(first, end)()
        with pooler.connect("app", "single") as second:
            # pgbouncer closes a server connection that was left within a transaction.
            assert (server_pid(second) == pid) == (end != "disconnect")
            with pytest.raises(psycopg.Error, match="is protected, and this transaction has no branch") as error:
                second.execute(TAKE, [room])
            assert error.value.diag.sqlstate == "TD006"
    assert legacy.left(db, room) == (FULL - 1 if end == "commit" else FULL)


def test_where_no_branch_is_required_the_next_client_writes_freely(db, pooler):
    """Were the context of the duplicate still there, the row of the second client would be skipped."""
    _, _, _, legacy = ALL
    room, gid = legacy.new_thing(db), new_gid()
    db.q("select dtm_protect('room', false)")
    try:
        with pooler.connect("app", "single") as first, pooler.connect("app", "single") as second:
            for found in (1, 0):
                with first.transaction():
                    pid = server_pid(first)
                    first.execute(CONTEXT, [gid])
                    assert first.execute(TAKE, [room]).rowcount == found
            with second.transaction():
                assert server_pid(second) == pid
                assert second.execute(TAKE, [room]).rowcount == 1
    finally:
        db.q("select dtm_protect('room', true)")
    assert legacy.left(db, room) == FULL - 2


def test_barriers_are_counted_anew_in_each_transaction(db, pooler):
    """01, 02 within a transaction; the next one on the same server connection begins with 01."""
    gid = new_gid()

    def barrier(conn):
        return conn.execute("select dtm_barrier('saga', %s, '01', 'action')", [gid]).fetchone()[0]
    with pooler.connect("app", "single") as first, pooler.connect("app", "single") as second:
        with first.transaction():
            pid = server_pid(first)
            assert barrier(first) and barrier(first)
        with second.transaction():
            assert server_pid(second) == pid
            assert not barrier(second) and not barrier(second)
            assert barrier(second)      # 03
    assert db.q("select barrier_id from dtm_barrier.barrier where gid = %s order by id", gid) == [
        ("01",), ("02",), ("03",)]


def test_barrier_call_with_typed_arguments(db, pooler):
    """As psycopg sends them: parameters with types and, cast in the SQL, without."""
    python = ALL[0]
    account, gid = python.new_thing(db), new_gid()
    call = "select dtm_barrier_call('saga', %s, '01', 'action', 'select move($1, $2)', %s::text, %s)"
    with pooler.connect("app") as conn:
        conn.autocommit = True
        assert [conn.execute(call, [gid, account, -2]).fetchone()[0] for _ in range(2)] == [True, False]
    assert python.left(db, account) == FULL - 2


def test_a_procedure_is_a_transaction_of_its_own(db, bank, pooler):
    """CALL in autocommit: barrier and effect are one statement, so nothing has to be begun."""
    procedure = ALL[2]
    item, gid = procedure.new_thing(db), new_gid()
    for connect in (lambda: pooler.connect("app"), lambda: psycopg.connect(bank.dsn() + " user=app")):
        with connect() as conn:
            conn.autocommit = True
            conn.execute("call reserve('saga', %s, '01', 'action', jsonb_build_object('item', %s::text, 'pieces', 1))",
                         [gid, item])
    assert procedure.left(db, item) == FULL - 1


# --- the README --------------------------------------------------------------------------------------

def test_the_readme_shows_the_recipes_as_they_are():
    section = re.search(r"^## Recipes\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert section, "README.md has no section Recipes"
    # Text and blocks alternate; each text names the file that its block is from.
    *parts, _ = re.split(r"^```(?:\w+\n)?", section[1], flags=re.MULTILINE)
    shown = set()
    for text, block in zip(parts[::2], parts[1::2]):
        *_, name = re.findall(r"\]\(tests/recipes/([\w.]+)\)", text) or [None]
        assert name and block in (RECIPES / name).read_text(), f"not in tests/recipes/{name}:\n{block}"
        shown.add(name)
    assert shown == {"branch.sql", "service.py", "service.js", "legacy.sql", "legacy_service.py"}
