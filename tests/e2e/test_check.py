"""What dtm_check() finds wrong with settings and sessions of others; each is said with what is to be done."""
import uuid

import pytest

from api import findings
from clock import Clock
from cluster import free_port, wait_until


def said(db, subject):
    return db.q("select level, finding, remedy from dtm_check() where subject = %s", subject)[0]


@pytest.mark.settings({"fsync": "on"})
def test_durability_is_that_of_whoever_submits(own_cluster, session):
    """Whoever asks: what is set for a role or a database is not that of his session."""
    db, role = session(own_cluster), f"lazy_{uuid.uuid4().hex[:8]}"

    def lazy():
        level, finding, remedy = said(db, "durability")
        if level == "ok":
            return None
        assert level == "warning" and "RESET synchronous_commit" in remedy
        return finding.partition("synchronous_commit is off for ")[2].partition(":")[0]
    assert lazy() is None
    db.q(f"create role {role}")
    db.q(f"alter role {role} set synchronous_commit = off")
    assert lazy() is None, "it cannot submit"
    db.q("select dtm_grant(%s::regrole, 'submit')", role)
    assert lazy() == f"role {role}"
    db.q(f"alter role {role} in database {own_cluster.dbname} set synchronous_commit = no")
    db.q(f"alter database {own_cluster.dbname} set synchronous_commit = 0")
    db.q("alter database template1 set synchronous_commit = off")
    assert lazy() == f"role {role}, role {role} in this database, this database"
    db.q("alter role all set synchronous_commit = off")
    assert lazy().startswith("all roles, ")
    db.q("alter role all reset synchronous_commit")
    db.q(f"alter role {role} set synchronous_commit = local")
    db.q(f"alter role {role} in database {own_cluster.dbname} reset synchronous_commit")
    db.q(f"alter database {own_cluster.dbname} reset synchronous_commit")
    assert lazy() is None


def test_forgotten_prepared_orders_are_found(own_cluster, session):
    """They keep everybody from giving the same order; only what is older than a minute was forgotten."""
    clock = Clock(own_cluster)
    db = session(own_cluster)
    for name, order in ("topic", "dtm_subscribe('checked', 'http://a/')"), ("host", "dtm_pause(host => 'http://a')"):
        db.q("begin")
        db.q(f"select {order}")
        db.q(f"prepare transaction 'forgotten {name}'")

    def found():
        level, finding, remedy = said(db, "prepared transactions")
        assert level == "ok" or "ROLLBACK PREPARED" in remedy
        return level == "warning" and finding.partition(", for")[0]
    assert not found()
    clock.set(90)
    assert found() == "2 hold rows of dtm's tables, the oldest, \"forgotten topic\""
    own_cluster.restart()
    db = session(own_cluster)
    assert found().startswith("2 hold"), "they are as they were"
    db.q("rollback prepared 'forgotten topic'")
    assert found() == "1 holds rows of dtm's tables, the oldest, \"forgotten host\""
    db.q("rollback prepared 'forgotten host'")
    assert not found()


def test_an_api_for_all_machines_without_a_token(server):
    """Whatever the role: whoever reaches the port is it."""
    port = free_port()
    api = server(wait=False, dtm__http_listen=f"*:{port}", dtm__api_role="pg_monitor")
    api.db.q("select dtm_grant('pg_monitor', 'submit')")

    def warned():
        begin = f"warning: API server: listens at *:{port}, and every machine"
        return [f for f in findings(api) if f.startswith(begin)]
    [warning] = wait_until(warned, "it is a warning")
    assert '"pg_monitor"' in warning and "owner" not in warning and "dtm.api_token_file" in warning
    api.cluster.reload(dtm__api_role="")
    [warning] = wait_until(lambda: [f for f in warned() if '"postgres"' in f], "the owner's, too")
    assert "rights of the owner" in warning and "dtm.api_role" in warning
    api.cluster.reload(dtm__http_listen=f"127.0.0.1:{port}", dtm__api_role="pg_monitor")
    wait_until(lambda: not [f for f in findings(api) if "API server" in f], "on this machine alone it is none")


def test_an_api_of_a_superuser_without_a_token(server):
    """Whatever its name is: that no role is set is not what makes it dangerous."""
    api = server()
    role = f"mighty_{uuid.uuid4().hex[:8]}"
    api.db.q(f"create role {role} superuser")

    def warned():
        return [f for f in findings(api) if f.startswith("warning: API server: ") and f'"{role}"' in f
                and "rights of the owner" in f]
    api.cluster.reload(dtm__api_role=role)
    wait_until(warned, "it is a warning")
    api.db.q(f"alter role {role} nosuperuser")
    wait_until(lambda: not warned(), "it is none")
    api.db.q(f"grant postgres to {role}")
    wait_until(warned, "a member of the owner is like the owner")
