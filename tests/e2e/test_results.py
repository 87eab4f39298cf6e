"""What an answer means (dtm-compat 4.6.1) and what it does (4.6.2), told apart by what follows: success
ends, FAILURE rolls back, ongoing waits the same interval again, an error waits twice as long."""
import pytest

from cluster import free_port, wait_until
from dtm import step

INTERVAL = 1000  # seconds between attempts: no second one comes during a test


def meaning(db, gid, op="action"):
    """Waits for the first answer and says what the coordinator made of it."""
    def settled():
        status, branch = db.status(gid), db.branch(gid, op=op)
        if status in ("succeed", "failed"):
            return status
        return branch["attempts"] >= 1 and branch["next_time"] is not None and "open"
    end = wait_until(settled, f"first answer of {gid} is settled")
    if end != "open":
        return {"succeed": "success", "failed": "failure"}[end]
    wait = db.until_next(gid, op=op)
    assert INTERVAL * 0.9 < wait <= INTERVAL * 2.3, wait
    return "ongoing" if wait < INTERVAL * 1.5 else "error"


@pytest.mark.parametrize("status, body, expected", [
    (200, "", "success"),
    (200, '{"dtm_result":"SUCCESS"}', "success"),
    (200, "anything", "success"),
    (200, '{"dtm_result":"FAILURE"}', "failure"),
    (200, "text with FAILURE inside", "failure"),
    (200, "failure", "success"),
    (200, '{"dtm_result":"ONGOING"}', "ongoing"),
    (200, "FAILURE and ONGOING", "ongoing"),
    (409, "", "failure"),
    (409, "ONGOING", "ongoing"),
    (425, "", "ongoing"),
    (425, "FAILURE", "ongoing"),
    (500, "FAILURE", "failure"),
    (500, "ONGOING", "ongoing"),
    (201, "", "error"), (202, "", "error"), (204, "", "error"),
    (301, "", "error"), (400, "", "error"), (404, "", "error"), (429, "", "error"),
    (500, "", "error"), (502, "", "error"), (503, "busy", "error"),
])
def test_answer_of_a_saga_action(db, one, status, body, expected):
    gid = db.saga(step(one.url("status/r", status=status, body=body), None, {}), retry_interval=INTERVAL)
    assert meaning(db, gid) == expected


@pytest.mark.parametrize("mode", ["reset", "truncated", "lost", "never"])
def test_broken_connection_is_an_error(db, one, mode):
    gid = db.saga(step(one.url(f"{mode}/r"), None, {}), retry_interval=INTERVAL, request_timeout=1)
    assert meaning(db, gid) == "error"


def test_refused_connection_is_an_error(db):
    gid = db.saga(step(f"http://127.0.0.1:{free_port()}/x", None, {}), retry_interval=INTERVAL)
    assert meaning(db, gid) == "error"
    assert db.branch(gid)["last_error"]


def test_unknown_host_is_an_error(db):
    gid = db.saga(step("http://no-such-host.invalid/x", None, {}), retry_interval=INTERVAL)
    assert meaning(db, gid) == "error"


@pytest.mark.parametrize("status, expected", [(409, "error"), (500, "error"), (425, "ongoing")])
def test_a_compensation_cannot_fail(db, one, status, expected):
    gid = db.saga(step(one.url("fail/r"), one.url("status/r", status=status), {}), retry_interval=INTERVAL)
    assert meaning(db, gid, op="compensate") == expected
    assert db.status(gid) == "aborting"


@pytest.mark.parametrize("status, expected", [(409, "error"), (500, "error"), (425, "ongoing")])
def test_a_message_cannot_fail(db, one, status, expected):
    gid = db.msg(step(one.url("status/r", status=status), None, {}), retry_interval=INTERVAL)
    assert meaning(db, gid) == expected
    assert db.status(gid) == "submitted"


def test_the_reason_of_a_failure_is_kept(db, one):
    url = one.url("status/r", status=409, body="no more money")
    gid = db.saga(step(url, None, {}))
    db.wait(gid, "failed")
    reason = db.row(gid)["rollback_reason"]
    assert url in reason and "return failed: no more money FAILURE" in reason


def test_a_huge_answer_is_cut_and_still_a_success(db, one):
    gid = db.saga(step(one.url("huge/r", size=20_000_000), None, {}), request_timeout=30)
    db.wait(gid, "succeed")


def test_a_truncated_answer_is_asked_again_and_has_one_effect(db, one):
    gid = db.saga(step(one.url("truncated/r", n=1), None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] * 2
    assert one.effects(gid) == ["01 action"]


def test_a_lost_answer_is_asked_again_and_has_one_effect(db, one):
    gid = db.saga(step(one.url("lost/r", n=2), None, {}))
    db.wait(gid, "succeed")
    assert one.sequence(gid) == ["01 action"] * 3
    assert one.effects(gid) == ["01 action"]
