"""Messages from the outside (dtm-compat 5.4, 5.9)."""
import time

import psycopg
import pytest

from dtm import step


def test_serial_message(db, one):
    gid = db.msg(step(one.url("ok/a"), None, {}), step(one.url("ok/b"), None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action", "02 action"]


def test_serial_message_stops_at_an_unfinished_branch(db, one):
    gid = db.msg(step(one.url("ongoing/a"), None, {}), step(one.url("ok/b"), None, {}), retry_interval=1000)
    db.wait_attempts(gid, 1)
    db.passed_by(one)
    assert one.sequence(gid) == ["01 action"]


def test_concurrent_message(db, one):
    gate = db.new_gid("gate")
    gid = db.msg(*[step(one.url(f"hold/{gate}"), None, {})] * 3, concurrent=True, request_timeout=60)
    one.wait_calls(3, gid=gid)
    one.release(gate)
    db.wait(gid, "succeed")


def test_failure_is_repeated_until_success(db, one):
    gid = db.msg(step(one.url("fail/a", n=2), None, {}), step(one.url("ok/b"), None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] * 3 + ["02 action"]
    assert one.effects(gid) == ["01 action", "02 action"]


def test_delay(db, one):
    later = db.msg(step(one.url("ok/a"), None, {}), delay=1000)
    submitted = time.time()
    gid = db.msg(step(one.url("ok/a"), None, {}), delay=2)
    db.wait(gid, "succeed")
    # Not before the delay is over; how long after is not asserted.
    assert one.calls(gid=gid)[0].at - submitted > 1.9
    assert one.sequence(later) == []


def test_delay_in_dtms_own_request(db, one):
    gid = db.submit_request({"trans_type": "msg", "custom_data": '{"delay":1000}', "payloads": ["1"],
                             "steps": [{"action": one.url("ok/a")}]})
    db.passed_by(one)
    assert one.sequence(gid) == []
    assert db.status(gid) == "submitted"


def test_topic_with_two_subscribers(db, one, two):
    topic = db.new_gid("topic")
    db.q("select dtm_subscribe(%s, %s, 'first')", topic, one.url("ok/t1"))
    db.q("select dtm_subscribe(%s, %s, 'second')", topic, two.url("ok/t2"))
    gid = db.msg(step(f"topic://{topic}", None, {"n": 1}), step(one.url("ok/after"), None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01-01 action", "02 action"]
    assert two.sequence(gid) == ["01-02 action"]
    assert two.calls(gid=gid)[0].body == one.calls(gid=gid)[0].body


def test_topic_with_one_subscriber_has_a_plain_id(db, one):
    topic = db.new_gid("topic")
    db.q("select dtm_subscribe(%s, %s, '')", topic, one.url("ok/t1"))
    gid = db.msg(step(f"topic://{topic}", None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]


def test_subscribers_are_frozen_by_the_submit(db, one, two):
    topic = db.new_gid("topic")
    db.q("select dtm_subscribe(%s, %s, '')", topic, one.url("ok/t1"))
    gid = db.msg(step(f"topic://{topic}", None, {}), delay=1)
    db.q("select dtm_subscribe(%s, %s, '')", topic, two.url("ok/t2"))
    db.q("select dtm_unsubscribe(%s, %s)", topic, one.url("ok/t1"))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"]
    assert two.sequence(gid) == []


@pytest.mark.parametrize("drop", [False, True], ids=["unknown", "dropped"])
def test_topic_without_subscribers_is_refused(db, one, drop):
    topic = db.new_gid("topic")
    if drop:
        db.q("select dtm_subscribe(%s, %s, '')", topic, one.url("ok/t1"))
        db.q("select dtm_drop_topic(%s)", topic)
    with pytest.raises(psycopg.Error, match="topic not found"):
        db.msg(step(f"topic://{topic}", None, {}))
