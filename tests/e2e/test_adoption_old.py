"""dtm_adopt() at once after a dump of 0.1.0 was restored, which carries no identity: nobody has to wait until the
coordinator finds a transaction that is older than the installation (P15)."""
import pytest

from barrier_table import databases
from copies import run
from dtm import step


@pytest.fixture
def new_database(module_cluster):
    with databases(module_cluster) as make:
        yield make


@pytest.mark.parametrize("when", ["due", "later"])
def test_a_dump_of_the_old_version_is_adopted_at_once(module_cluster, new_database, session, one, tmp_path, when):
    house, name, target = module_cluster, new_database(), new_database()
    house.sql("create extension dtm_pg version '0.1.0'", dbname=name)
    house.wait_coordinator(name)
    house.sql(f"alter database {name} is_template true", dbname="postgres")
    house.wait_no_coordinator(name)
    try:
        db = session(house, name)
        gids = [db.saga(step(one.url("ok/a"), None, {})) for _ in range(3)]
        if when == "later":
            db.q("update dtm.trans set next_cron_time = now() + interval '1 hour'")
        run(house, "pg_dump", "-f", tmp_path / "dump", name)
        run(house, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target, "-f", tmp_path / "dump")
        db = session(house, target)
        [[level, finding]] = db.q("select level, finding from dtm_check() where subject = 'coordinator'")
        assert level == "error" and "older than its installation" in finding
        assert "older than its installation" in db.explain(gids[0])
        assert "older than its installation" in db.one("select dtm_adopt()")
        db.q("update dtm.trans set next_cron_time = now()")
        assert set(db.wait_all(gids).values()) == {"succeed"}
        assert [len(one.calls(gid=gid)) for gid in gids] == [1] * len(gids)
        db.passed_by(one)
        assert db.one("select count(*) from dtm.identity where system_identifier <> 0") == 1, "it stays adopted"
    finally:
        house.sql(f"alter database {name} is_template false", dbname="postgres")
        house.expect("due to administrator command")
