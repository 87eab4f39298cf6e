"""The library runs with the SQL of the version before, and ALTER EXTENSION UPDATE leads to what a new
installation has (P13)."""
import pytest

from barrier_table import (create_extension, describe, error_of, house, insert_as_client, insert_old,  # noqa: F401
                           new_database, passes, rows, rows_of, table_exists, table_of_client)
from cluster import wait_until
from dtm import step

OLD = "create extension dtm_pg version '0.1.0'"
UPDATE = "alter extension dtm_pg update"
LONG = {"request_timeout": 1000, "retry_interval": 1000}
LEVELS = ("submit", "observe", "admin", "barrier")


@pytest.fixture
def old(house, session, new_database):
    """A session in a database with the SQL of 0.1.0."""
    name = new_database()
    house.sql(OLD, dbname=name)
    house.wait_coordinator(name)
    return session(house, name)


def version(db):
    return db.one("select extversion from pg_extension where extname = 'dtm_pg'")


OURS = """
    with member as (
      select classid, objid from pg_depend
       where refclassid = 'pg_extension'::regclass and deptype = 'e'
         and refobjid = (select oid from pg_extension where extname = 'dtm_pg')
    ), relation as (
      select oid from pg_class where ('pg_class'::regclass, oid) in (select * from member)
    )"""

# Everything that tells one installation from another; no OIDs.
CATALOG = {
    "extension": """select extname, extversion, extrelocatable, extnamespace::regnamespace::text, extcondition,
        array(select c::regclass::text from unnest(extconfig) c), obj_description(oid, 'pg_extension')
        from pg_extension where extname = 'dtm_pg'""",
    "members": """select pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name)
        from member""",
    "functions": """select p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text,
        obj_description(p.oid, 'pg_proc') from pg_proc p where ('pg_proc'::regclass, oid) in (select * from member)""",
    "schemas": """select nspname, nspacl::text, obj_description(oid, 'pg_namespace') from pg_namespace
        where ('pg_namespace'::regclass, oid) in (select * from member)""",
    "relations": """select c.oid::regclass::text, c.relkind, c.relacl::text, c.reloptions, c.relpersistence,
        c.relrowsecurity, obj_description(c.oid, 'pg_class'), case relkind when 'v' then pg_get_viewdef(c.oid) end
        from pg_class c where c.oid in (select oid from relation)""",
    "columns": """select a.attrelid::regclass::text, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.attcollation::regcollation::text, a.attcompression, a.attstorage, a.attacl::text,
        pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where a.attrelid in (select oid from relation) and a.attnum > 0 and not a.attisdropped""",
    "indexes": """select pg_get_indexdef(indexrelid), indisunique, indisprimary, indisvalid from pg_index
        where indrelid in (select oid from relation)""",
    "constraints": """select conname, conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
        where conrelid in (select oid from relation)""",
    "sequences": """select seqrelid::regclass::text, seqtypid::regtype::text, seqstart, seqincrement, seqmax, seqmin,
        seqcache, seqcycle from pg_sequence where seqrelid in (select oid from relation)""",
    "initial privileges": """select pg_describe_object(classoid, objoid, objsubid), initprivs::text from pg_init_privs
        where (classoid, objoid) in (select * from member)""",
    "dependencies": """select pg_describe_object(d.classid, d.objid, d.objsubid),
        pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), d.deptype::text from pg_depend d
        where (d.classid, d.objid) in (select * from member)
           or (d.classid = 'pg_extension'::regclass
               and d.objid = (select oid from pg_extension where extname = 'dtm_pg'))""",
    "outside": """select n.nspname, p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where p.proname like '%dtm%' and ('pg_proc'::regclass, p.oid) not in (select * from member)""",
}


def catalog(db):
    return {name: sorted(db.q(OURS + query), key=repr) for name, query in CATALOG.items()}


def test_the_old_sql_works_with_the_new_library(old, one):
    assert version(old) == "0.1.0"
    done = old.saga(step(one.url("ok/a"), one.url("ok/u"), {"n": 1}), step(one.url("ok/b"), None, {}))
    undone = old.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url("fail/b"), one.url("ok/u"), {}))
    message = old.msg(step(one.url("ok/m"), None, {}))
    old.q("select dtm_subscribe('upgrade', %s, '')", one.url("ok/topic"))
    assert set(old.wait_all([done, message]).values()) == {"succeed"}
    old.wait(undone, "failed")
    assert one.sequence(undone).count("01 compensate") == 1
    assert "succeed" in old.explain(done)
    assert old.one("select count(*) from dtm.attention") == 0
    assert not table_exists(old.conn)


def test_the_old_sql_says_that_it_is_old(house, new_database, old, session):
    [[level, finding, remedy]] = old.q("select level, finding, remedy from dtm_check() where subject = 'version'")
    assert level == "warning" and "0.1.0" in finding and "0.2.0" in finding
    assert "ALTER EXTENSION dtm_pg UPDATE" in remedy
    old.q(UPDATE)
    assert old.one("select level from dtm_check() where subject = 'version'") == "ok"


def test_grants_with_the_old_sql(old):
    """dtm_grant() knows functions that are not there yet."""
    for level in LEVELS:
        old.q("select dtm_grant('app', %s)", level)
    old.q("set role app")
    gid = old.new_gid()
    old.q("select dtm_submit('saga', array[dtm_step('http://127.0.0.1:1/never')], %s)", gid)
    assert old.q("select * from dtm_check()")
    assert old.one("select dtm_force_stop(%s)", gid) == "failed"
    old.q("reset role")
    old.q("select dtm_revoke('app')")
    old.q("set role app")
    assert error_of(old.q, "select dtm_new_gid()").sqlstate == "42501"
    old.q("reset role")
    old.q(UPDATE)
    for level in LEVELS:
        old.q("select dtm_grant('app', %s)", level)
    old.q("set role app")
    assert passes(old.conn) == "run"
    assert old.one("select dtm_barrier_purge('30 days')") == 0
    old.q("reset role")


def test_what_the_old_sql_cannot_store(old):
    tcc = """select dtm_submit('{"gid": "t", "trans_type": "tcc"}')"""
    error = error_of(old.q, tcc)
    assert error.sqlstate == "0A000" and "ALTER EXTENSION dtm_pg UPDATE" in error.diag.message_hint
    assert error_of(old.q, "select dtm_prepare('{}')").sqlstate == "42883"
    old.q(UPDATE)
    old.q("""select dtm_prepare('{"gid": "t", "trans_type": "tcc"}')""")
    old.q("""select dtm_register_branch('{"gid": "t", "trans_type": "tcc", "branch_id": "01"}')""")
    old.q(tcc)
    old.wait("t", "succeed")
    assert [r[0] for r in old.q("select op from dtm.branch where gid = 't' and status = 'succeed'")] == ["confirm"]


def test_barrier_functions_come_with_the_update(old):
    assert error_of(passes, old.conn).sqlstate == "42883"
    old.q(UPDATE)
    assert passes(old.conn) == "run"
    assert passes(old.conn) == "duplicate"
    assert old.one("select dtm_barrier_call('saga', 'call', '01', 'action', 'select $1::int', 1)")
    old.q("create table account (n int)")
    old.q("select dtm_protect('account', true)")
    assert error_of(old.q, "insert into account values (1)").sqlstate == "TD006"
    with old.conn.transaction():
        old.q("select dtm_branch('gid=branch&branch_id=01&op=action&trans_type=saga')")
        old.q("insert into account values (1)")
    assert old.one("select count(*) from account") == 1


def test_an_update_leads_to_what_a_new_installation_has(house, new_database, session, old):
    old.q("comment on extension dtm_pg is 'as the control file of 0.1.0 says'")
    old.q(UPDATE)
    fresh = session(house, new_database(extension=True))
    assert version(old) == version(fresh) == "0.2.0"
    updated, wanted = catalog(old), catalog(fresh)
    for name in CATALOG:
        assert updated[name] == wanted[name], name
    assert len(wanted["functions"]) > 30 and len(wanted["columns"]) > 30
    assert any("dtm_barrier.barrier" in str(c) for c in wanted["extension"])
    assert not wanted["outside"]


def test_data_and_running_sagas_survive_an_update(house, old, one):
    gates = [old.new_gid("gate") for _ in range(5)]
    running = [old.saga(step(one.url(f"hold/{gate}"), None, {"n": 1}), step(one.url("ok/second"), None, {}), **LONG)
               for gate in gates]
    for gid in running:
        one.wait_calls(1, gid=gid)
    waiting = old.saga(step(one.url("ongoing/a"), None, {}), **LONG)
    old.wait_attempts(waiting, 1)
    done = old.saga(step(one.url("ok/a"), None, {}))
    old.wait(done, "succeed")
    old.q("select dtm_subscribe('topic', %s, 'kept')", one.url("ok/topic"))
    old.q("select dtm_grant('app', 'submit')")
    before = {view: old.q(f"select * from {view} order by 1, 2, 3") for view in ("dtm.transaction", "dtm.topic")}
    coordinators = house.coordinators(old.dbname)

    old.q(UPDATE)
    assert {view: old.q(f"select * from {view} order by 1, 2, 3") for view in before} == before
    for gate in gates:
        one.release(gate)
    assert set(old.wait_all(running).values()) == {"succeed"}
    assert [one.sequence(gid) for gid in running] == [["01 action", "02 action"]] * 5
    assert old.status(waiting) == "submitted"
    old.q("set role app")
    assert old.one("select dtm_new_gid()")
    old.q("reset role")
    message = old.msg(step("topic://topic", None, {}))
    old.wait(message, "succeed")
    assert house.coordinators(old.dbname) == coordinators, "it was not restarted"

    # The coordinator, which has served the old SQL, keeps house from now on.
    insert_old(old.conn, "old")
    insert_old(old.conn, waiting)
    house.reload()
    wait_until(lambda: rows_of(old.conn, "old") == 0, "old rows are removed")
    assert rows_of(old.conn, waiting) == 1


def test_a_rolled_back_update_changes_nothing(old, one):
    before = catalog(old)
    with old.conn.transaction(force_rollback=True):
        old.q(UPDATE)
        assert catalog(old) != before
    assert catalog(old) == before and version(old) == "0.1.0"
    old.wait(old.saga(step(one.url("ok/a"))), "succeed")


def test_an_update_adopts_the_table_of_a_client(old):
    table_of_client(old.conn)
    insert_as_client(old.conn, "saga", "done", "01", "action")
    before = rows(old.conn)
    old.q(UPDATE)
    assert rows(old.conn) == before
    assert passes(old.conn, gid="done") == "duplicate"
    assert passes(old.conn, gid="new") == "run"
    insert_as_client(old.conn, "saga", "later", "01", "action")
    assert old.one("select create_time is not null from dtm_barrier.barrier where gid = 'later'")
    old.q("drop extension dtm_pg")
    assert table_exists(old.conn)


def test_an_update_refuses_a_table_of_another_shape(old, one):
    table_of_client(old.conn, {"reason": None})
    form = describe(old.conn)
    error = error_of(create_extension, old.conn, UPDATE)
    assert (error.sqlstate, error.diag.message_detail) == ("55000", "It has no column reason.")
    assert version(old) == "0.1.0" and describe(old.conn) == form
    old.wait(old.saga(step(one.url("ok/a"))), "succeed")


def test_the_old_sql_and_a_table_of_a_client(house, old, one):
    """Before the update the table is not the coordinator's business: nobody has adopted it."""
    table_of_client(old.conn)
    insert_old(old.conn, "old")
    insert_as_client(old.conn, "saga", "timeless", "01", "action")
    begin = house.log_size()
    for _ in range(2):
        house.reload()
        old.passed_by(one)
    assert rows_of(old.conn, "timeless") == rows_of(old.conn, "old") == 1
    assert "WARNING" not in house.log_text(begin)
    old.q(UPDATE)
    house.reload()
    wait_until(lambda: rows_of(old.conn, "old") == 0, "old rows are removed from an adopted table")
    assert rows_of(old.conn, "timeless") == 1
