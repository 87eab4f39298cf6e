"""Default privileges of the role that installs give nobody a right on what is dtm's: who can write its tables, or give
them a trigger, is a superuser."""
import pytest

from barrier_table import error_of, house, new_database, passes, table_of_client  # noqa: F401
from test_upgrade import OLD, OURS, UPDATE

KINDS = ("tables", "sequences", "functions", "schemas", "types")
CODE = "execute function suppress_redundant_updates_trigger()"

# What somebody else than the owner may do with the members: object, grantee, privilege.
RIGHTS = OURS + """, object as (
      select 'relation' as kind, oid::regclass::text as name, relowner as owner, relacl as acl from pg_class
       where ('pg_class'::regclass, oid) in (select * from member)
      union all
      select 'function', oid::regprocedure::text, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc
       where ('pg_proc'::regclass, oid) in (select * from member)
      union all
      select 'schema', nspname, nspowner, nspacl from pg_namespace
       where ('pg_namespace'::regclass, oid) in (select * from member)
    ) select kind, name, coalesce(grantee::regrole::text, 'public'), privilege_type from object, aclexplode(acl)
       where grantee <> owner order by 1, 2, 3, 4"""

# Of that, what dumps take for the extension's own and leave out.
INITIAL = OURS + """ select pg_describe_object(classoid, objoid, 0), a.grantee::regrole::text
      from pg_init_privs, aclexplode(initprivs) a
     where (classoid, objoid) in (select * from member) and a.grantee <> a.grantor"""


@pytest.fixture
def generous(house, session, new_database):  # noqa: F811
    """Makes a database without the extension whose default privileges give everything to app and to PUBLIC; returns a
    session in it."""
    db = session(house, new_database())
    for kind in KINDS:
        for grantee in ("app", "public"):
            option = "with grant option" if grantee == "app" else ""
            db.q(f"alter default privileges grant all on {kind} to {grantee} {option}")
    return db


def rights(db):
    return [tuple("public" if value == "-" else value for value in row) for row in db.q(RIGHTS)]


def levels(db, role, *names):
    for name in names:
        db.q("select dtm_grant(%s, %s)", role, name)
    return rights(db)


def test_a_new_installation_gives_nobody_a_right(generous, house):  # noqa: F811
    generous.q("create extension dtm_pg")
    assert rights(generous) == []
    given = levels(generous, "app", "submit", "observe", "admin", "barrier")
    assert {grantee for _, _, grantee, _ in given} == {"app"}
    assert {(kind, right) for kind, _, _, right in given} == {("schema", "USAGE"), ("relation", "SELECT"),
                                                              ("function", "EXECUTE")}
    generous.q("set role app")
    for attack in ("insert into dtm.trans select * from dtm.trans", "delete from dtm.identity",
                   "truncate dtm.trans", "update dtm.kv set v = ''", "delete from dtm_barrier.barrier",
                   "create function dtm.evil() returns int language sql as 'select 1'",
                   f"create trigger evil before insert on dtm.trans {CODE}",
                   f"create trigger evil before insert on dtm_barrier.barrier {CODE}"):
        assert error_of(generous.q, attack).sqlstate == "42501", attack
    assert passes(generous.conn) == "run"
    generous.q("reset role")
    generous.q("select dtm_revoke('app')")
    assert rights(generous) == []


def test_the_update_takes_back_what_the_old_script_left(generous, house, session, new_database):  # noqa: F811
    generous.q(OLD)
    before = rights(generous)
    assert ("relation", "dtm.trans", "app", "TRIGGER") in before
    # app has handed on what it could.
    generous.q("set role app")
    generous.q("grant insert on dtm.trans to nobody")
    generous.q("reset role")
    granted = set(levels(generous, "svc", "submit", "admin"))
    granted = {row for row in granted if row[2] == "svc"}
    assert granted

    generous.q(UPDATE)
    assert set(rights(generous)) == granted
    assert generous.q(INITIAL) == [], "a dump has what dtm_grant() gave"

    clean = session(house, new_database())
    clean.q(OLD)
    levels(clean, "svc", "submit", "admin")
    kept = rights(clean)
    clean.q(UPDATE)
    assert rights(clean) == kept, "where nobody meddled the update takes nothing"


def test_a_grant_where_the_functions_have_a_schema_of_their_own(house, session, new_database):  # noqa: F811
    db = session(house, new_database())
    db.q('create schema "Own"')
    db.q('create extension dtm_pg schema "Own"')
    db.q("""select "Own".dtm_grant('app', 'submit')""")
    db.q("set role app")
    assert db.one('select "Own".dtm_new_gid()')
    db.q("reset role")
    before = db.one("select nspacl::text from pg_namespace where nspname = 'public'")
    plain = session(house, new_database(extension=True))
    plain.q("select dtm_grant('app', 'submit')")
    assert plain.one("select nspacl::text from pg_namespace where nspname = 'public'") == before


def test_the_update_names_who_loses_rights(generous):
    generous.q(OLD)
    said = []
    generous.conn.add_notice_handler(lambda d: said.append((d.severity_nonlocalized, d.message_primary,
                                                            d.message_hint)))
    generous.q(UPDATE)
    [(message, hint)] = [(message, hint) for severity, message, hint in said if severity == "WARNING"]
    assert "default privileges" in message and message.endswith(" app") and "dtm_grant()" in hint


def test_a_barrier_table_that_is_made_by_hand(generous):
    generous.q("create schema dtm_barrier")
    generous.q("create extension dtm_pg")
    generous.q("select dtm.install_barrier()")
    assert generous.q("select c.relname, a.* from pg_class c, aclexplode(relacl) a"
                      " where relnamespace = 'dtm_barrier'::regnamespace and grantee <> relowner") == []


def finding(db):
    return db.q("select level, finding, remedy from dtm_check() where subject = 'rights'")[0]


def test_the_check_tells_of_rights_and_code_of_others(house, session, new_database):  # noqa: F811
    db = session(house, new_database(extension=True))
    assert finding(db)[0] == "ok"
    for right, what in (("insert, trigger on dtm.trans", "app: INSERT, TRIGGER on dtm.trans"),
                        ("update (v) on dtm.kv", "app: UPDATE on dtm.kv"),
                        ("delete on dtm.transaction", "app: DELETE on dtm.transaction"),
                        ("trigger on dtm_barrier.barrier", "app: TRIGGER on dtm_barrier.barrier"),
                        ("create on schema dtm", "app: CREATE on schema dtm")):
        db.q(f"grant {right} to app")
        level, found, remedy = finding(db)
        assert level == "error" and found.endswith(what) and "REVOKE" in remedy, right
        db.q(f"revoke {right} from app")
    db.q("grant insert on dtm.trans to public")
    assert finding(db)[1].endswith("PUBLIC: INSERT on dtm.trans")
    db.q("revoke insert on dtm.trans from public")
    # What services with dtm's clients need, and what observers may be given.
    db.q("grant select, insert on dtm_barrier.barrier to app")
    db.q("grant select on dtm.trans to app")
    assert finding(db)[0] == "ok"
    for made, what, gone in (
            (f"create trigger audit before update on dtm.trans {CODE}", "trigger audit of dtm.trans",
             "drop trigger audit on dtm.trans"),
            ("create rule \"No\" as on delete to dtm.kv do also nothing", 'rule "No" of dtm.kv',
             'drop rule "No" on dtm.kv'),
            ("create table mine (gid text collate \"C\" constraint whole references dtm.trans)",
             "foreign key whole of public.mine to rows of dtm.trans", "drop table mine")):
        db.q(made)
        level, found, remedy = finding(db)
        assert (level, found.partition(": ")[2]) == ("warning", what) and remedy.startswith("Drop it")
        db.q(gone)
    assert finding(db)[0] == "ok"


def test_the_rights_on_an_adopted_table_are_its_owners_business(generous):
    generous.q("alter default privileges revoke all on tables from app, public")
    table_of_client(generous.conn)
    generous.q("grant select, insert on dtm_barrier.barrier to nobody")
    generous.q("create extension dtm_pg")
    generous.q("set role nobody")
    assert generous.one("select has_table_privilege('dtm_barrier.barrier', 'insert')")
    generous.q("reset role")
