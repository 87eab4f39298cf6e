"""The coordinator without memory: nothing is lost, nothing hangs, and no session of anybody notices (P14, P1)."""
import resource
import subprocess

import pytest

from cluster import as_postgres, wait_until
from conftest import running_cluster
from dtm import step

PATIENT = {"request_timeout": 60, "retry_interval": 1}
TOLD = ("begins anew", "cannot work and tries again")
PAYLOAD = {"text": "x" * 20_000}


@pytest.fixture
def poor():
    """Of each test alone: memory that a coordinator has had is still its own."""
    with running_cluster("poor", {"dtm.breaker_errors": 0}) as cluster:
        yield cluster


def address_space(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


class Poverty:
    """From now on the coordinator gets no more memory, as with vm.overcommit_memory = 2, until the block ends."""

    def __init__(self, cluster):
        self.pid = cluster.wait_coordinator()[0]

    def __enter__(self):
        limited = self.limit(address_space(self.pid) + (1 << 20))
        assert limited.returncode == 0, limited.stderr

    def __exit__(self, *_):
        self.limit("unlimited")  # unless it has ended

    def limit(self, bytes):
        return subprocess.run(as_postgres("prlimit", "--pid", self.pid, f"--as={bytes}:"),
                              capture_output=True, text=True)


def crowd(db, url, count):
    gids = [db.new_gid("poor") for _ in range(count)]
    with db.conn.transaction():
        for gid in gids:
            db.saga(*[step(url, None, PAYLOAD) for _ in range(4)], gid=gid, concurrent=True, **PATIENT)
    return gids


@pytest.mark.parametrize("kept_back", ["by nothing", "by a pause"])
def test_a_shortage_of_memory_loses_nothing(poor, session, one, kept_back):
    poor.expect("dtm coordinator", "out of memory", "DETAIL", "bad_alloc", "exited with exit code 1",
                "Failed on request")
    db = session(poor)
    host = one.url("")[:-1]
    if kept_back == "by a pause":
        db.q("select dtm_pause(host => %s)", host)
    begin = poor.log_size()
    gids = []
    with Poverty(poor):
        for _ in range(10):
            gids += crowd(db, one.url("ok/a"), 1000)
            if any(said in poor.log_text(begin) for said in TOLD):
                break
        wait_until(lambda: any(said in poor.log_text(begin) for said in TOLD), "there is not enough memory")
    if kept_back == "by a pause":
        db.q("select dtm_resume(host => %s)", host)
    assert set(db.wait_all(gids).values()) == {"succeed"}
    wanted = {f"{n:02} action" for n in range(1, 5)}
    for gid in gids:
        assert set(one.effects(gid)) == wanted, gid
    assert "terminated by signal" not in poor.log_text(begin)
    assert db.one("select count(*) from dtm.trans where status = 'submitted'") == 0
