"""Submit is atomic with the caller's transaction (P1, P2)."""
import psycopg
import pytest

from dtm import step


@pytest.fixture
def orders(db):
    """A business table."""
    db.q("create table if not exists orders(id text primary key, amount int)")
    return db


def insert_order(db, gid):
    db.q("insert into orders values (%s, 30)", gid)


def test_commit_of_business_row_and_saga(orders, one):
    with orders.conn.transaction():
        gid = orders.new_gid("order")
        insert_order(orders, gid)
        orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
        assert one.calls(gid=gid) == []
    orders.wait(gid, "succeed")
    assert orders.one("select count(*) from orders where id = %s", gid) == 1


def test_rollback_calls_nobody(orders, one):
    gid = orders.new_gid("order")
    with orders.conn.transaction(force_rollback=True):
        insert_order(orders, gid)
        orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
    orders.passed_by(one)
    assert one.calls(gid=gid) == []
    assert orders.row(gid) is None


def test_an_error_after_the_submit_calls_nobody(orders, one):
    gid = orders.new_gid("order")
    with pytest.raises(psycopg.errors.DivisionByZero):
        with orders.conn.transaction():
            orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
            orders.q("select 1 / 0")
    orders.passed_by(one)
    assert one.calls(gid=gid) == []
    assert orders.row(gid) is None


def test_a_client_that_dies_before_commit_calls_nobody(orders, session, shared_cluster, one):
    doomed = session(shared_cluster, autocommit=False)
    gid = doomed.saga(step(one.url("ok/a"), None, {}))
    doomed.conn.close()
    orders.passed_by(one)
    assert one.calls(gid=gid) == []
    assert orders.row(gid) is None


def test_savepoint_rollback_takes_its_submits_out(orders, one):
    with orders.conn.transaction():
        kept = orders.saga(step(one.url("ok/a"), None, {}))
        with orders.conn.transaction(force_rollback=True):
            dropped = orders.saga(step(one.url("ok/b"), None, {}))
            with orders.conn.transaction():
                nested = orders.saga(step(one.url("ok/c"), None, {}))
        with orders.conn.transaction():
            after = orders.saga(step(one.url("ok/d"), None, {}))
    assert orders.wait_all([kept, after]) == {kept: "succeed", after: "succeed"}
    orders.passed_by(one)
    for gid in (dropped, nested):
        assert one.calls(gid=gid) == [] and orders.row(gid) is None


def test_a_gid_can_be_submitted_again_after_its_savepoint_was_rolled_back(orders, one):
    gid = orders.new_gid("again")
    with orders.conn.transaction():
        with orders.conn.transaction(force_rollback=True):
            orders.saga(step(one.url("ok/wrong"), None, {}), gid=gid)
        orders.saga(step(one.url("ok/right"), None, {}), gid=gid)
    orders.wait(gid, "succeed")
    assert [c.name for c in one.calls(gid=gid)] == ["right"]


def test_prepared_transaction_committed_by_another_session(orders, session, shared_cluster, one):
    gid, name = orders.new_gid("order"), orders.new_gid("twophase")
    orders.q("begin")
    insert_order(orders, gid)
    orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
    orders.q(f"prepare transaction '{name}'")
    other = session(shared_cluster)
    other.passed_by(one)
    assert one.calls(gid=gid) == [] and other.row(gid) is None
    other.q(f"commit prepared '{name}'")
    other.wait_all([gid])
    assert one.sequence(gid) == ["01 action"]


def test_prepared_transaction_rolled_back(orders, session, shared_cluster, one):
    gid, name = orders.new_gid("order"), orders.new_gid("twophase")
    orders.q("begin")
    orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
    orders.q(f"prepare transaction '{name}'")
    other = session(shared_cluster)
    other.q(f"rollback prepared '{name}'")
    other.passed_by(one)
    assert one.calls(gid=gid) == [] and other.row(gid) is None


def test_stored_procedure_with_business_rows(orders, one):
    orders.q("""
        create or replace function place_order(order_id text, url text, ok boolean) returns text
        language plpgsql as $$
        begin
            insert into orders values (order_id, 30);
            perform dtm_submit('saga', array[dtm_step(url, null, jsonb_build_object('order', order_id))],
                               order_id);
            if not ok then
                raise exception 'no';
            end if;
            return order_id;
        end $$""")
    good, bad = orders.new_gid("order"), orders.new_gid("order")
    orders.q("select place_order(%s, %s, true)", good, one.url("ok/a"))
    with pytest.raises(psycopg.errors.RaiseException):
        orders.q("select place_order(%s, %s, false)", bad, one.url("ok/a"))
    orders.wait(good, "succeed")
    assert f'"{good}"'.encode() in one.calls(gid=good)[0].body
    assert orders.row(bad) is None and one.calls(gid=bad) == []


def test_exception_block_of_plpgsql_takes_its_submit_out(orders, one):
    kept, dropped = orders.new_gid("kept"), orders.new_gid("dropped")
    orders.q(f"""
        do $$
        begin
            perform dtm_submit('saga', array[dtm_step('{one.url("ok/a")}')], '{kept}');
            begin
                perform dtm_submit('saga', array[dtm_step('{one.url("ok/a")}')], '{dropped}');
                perform 1 / 0;
            exception when division_by_zero then null;
            end;
        end $$""")
    orders.wait(kept, "succeed")
    orders.passed_by(one)
    assert orders.row(dropped) is None and one.calls(gid=dropped) == []


def test_a_bad_request_stores_nothing(db):
    before = db.one("select count(*) from dtm.trans")
    with pytest.raises(psycopg.Error) as error:
        db.submit_request({"trans_type": "saga", "steps": [{"action": "http://127.0.0.1/"}], "payloads": []})
    assert error.value.sqlstate == "TD001"
    assert db.one("select count(*) from dtm.trans") == before


def test_the_same_request_again_is_the_same_transaction(db, one):
    gid = db.new_gid("twice")
    for _ in range(2):
        db.saga(step(one.url("hold/twice"), None, {"a": 1}), gid=gid, request_timeout=60)
    with pytest.raises(psycopg.Error) as error:
        db.saga(step(one.url("hold/twice"), None, {"a": 2}), gid=gid, request_timeout=60)
    assert error.value.sqlstate == "TD002"
    one.release("twice")
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def test_two_phase_commit_right_after_prepare(orders, one):
    gid, name = orders.new_gid("order"), orders.new_gid("twophase")
    orders.q("begin")
    orders.saga(step(one.url("ok/a"), None, {}), gid=gid)
    orders.q(f"prepare transaction '{name}'")
    orders.q(f"commit prepared '{name}'")
    orders.wait(gid, "succeed")
