"""What a restored row does not say: how far its first coordinator had got with it (P6, P15)."""
import pytest

from barrier_table import databases
from copies import run
from dtm import step
from test_adoption import LONG, silent


@pytest.fixture
def new_database(module_cluster):
    with databases(module_cluster) as make:
        yield make


@pytest.mark.parametrize("looked", ["looked", "never looked"])
def test_what_the_first_coordinator_had_called_is_undone(module_cluster, new_database, session, one, tmp_path, looked):
    """The row is new in the table where it was restored, but not to the services. Its time is over there."""
    source, here = [session(module_cluster, new_database(extension=True)) for _ in range(2)]
    gate = source.new_gid("gate")
    gid = source.saga(step(one.url("ok/a"), one.url("ok/u"), {}), step(one.url(f"hold/{gate}"), one.url("ok/u"), {}),
                      timeout_to_fail=1000, **LONG)
    one.wait_calls(1, name=gate)
    run(module_cluster, "pg_dump", "--data-only", "-f", tmp_path / "dump", source.dbname)
    source.q("select dtm_force_stop(%s)", gid)
    one.release(gate)
    here.wait(here.saga(step(one.url("ok/a"), None, {})), "succeed")  # its coordinator was there before the rows
    begin = module_cluster.log_size()
    late = f"update dtm.trans set create_time = create_time - interval '1 hour' where gid = '{gid}'"
    adopt = [] if looked == "looked" else ["-c", "set search_path to public", "-c", "select dtm_adopt()"]
    run(module_cluster, "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", here.dbname, "-f", tmp_path / "dump",
        "-c", late, *adopt)
    if looked == "looked":
        silent(module_cluster, here.dbname, begin)
        here.q("select dtm_adopt()")
    here.wait(gid, "failed")
    assert sorted(one.sequence(gid)) == ["01 action", "01 compensate", "02 action", "02 compensate"]
