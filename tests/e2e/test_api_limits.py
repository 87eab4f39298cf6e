"""What one client may cost the others: registered branches, answers and turns are bounded, a lock of somebody is
waited for once, and text that nobody could read again is not stored."""
import threading

import pytest

from api import JSON

MIB = 1 << 20


def branch(gid, number, data=""):
    return {"gid": gid, "trans_type": "tcc", "branch_id": f"{number:04}", "data": data, "confirm": "", "cancel": ""}


def test_a_transaction_has_a_thousand_branches_at_most(api):
    gid = api.new_gid("many")
    api.done("prepare", gid=gid, trans_type="tcc", timeout_to_fail=1000)
    for n in range(1000):
        api.done("registerBranch", branch(gid, n))
    said = api.refused(500, "the limits are 1000", "registerBranch", branch(gid, 1000))
    assert gid in said
    api.done("registerBranch", branch(gid, 7))  # a repetition is none more
    api.done("abort", gid=gid, trans_type="tcc")
    api.wait(gid, "failed")


def test_branches_have_eight_megabytes_at_most(api):
    gid = api.new_gid("fat")
    api.done("prepare", gid=gid, trans_type="tcc", timeout_to_fail=1000)
    answers = [api.post("registerBranch", branch(gid, n, "x" * (MIB - 1000))).status for n in range(12)]
    assert answers.count(200) == 9 and answers[-3:] == [500] * 3, answers
    api.done("abort", gid=gid, trans_type="tcc")
    api.wait(gid, "failed")


@pytest.mark.parametrize("query", ["topic=t&url=http://h/&remark=%ff", "topic=%ff&url=http://h/",
                                   "topic=a%00b&url=http://h/", f"topic={'x' * 300}&url=http://h/"])
def test_no_topic_is_stored_that_nobody_can_read(api, query):
    before = api.db.one("select count(*) from dtm.kv")
    answer = api.request("GET", "/api/dtmsvr/subscribe?" + query)
    assert (answer.status, answer.type) == (500, JSON), answer
    assert "UTF-8" in answer.message or "bytes" in answer.message, answer
    assert api.db.one("select count(*) from dtm.kv") == before


def test_an_answer_that_is_too_large_is_refused(api, one):
    """A thousand calls of one payload would be printed a thousand times."""
    topic, gid = api.new_gid("topic"), api.new_gid("huge")
    for n in range(60):
        answer = api.get("subscribe", topic=topic, url=one.url(f"ongoing/{n}"))
        assert answer.status == 200, answer
    api.done("submit", gid=gid, trans_type="msg", steps=[{"action": f"topic://{topic}"}], payloads=["y" * 900000],
             retry_interval=1000)
    answer = api.get("query", gid=gid)
    assert answer.status == 500 and "too large" in answer.message, answer
    api.done("forceStop", gid=gid)


def test_a_lock_of_somebody_keeps_only_its_transaction_waiting(api, session, api_cluster, one):
    gid = api.new_gid("held")
    api.done("prepare", gid=gid, trans_type="tcc", timeout_to_fail=1000)
    holder = session(api_cluster, autocommit=False)
    holder.q("select 1 from dtm.trans where gid = %s for update", gid)
    answers = []

    def insist():
        for _ in range(2):
            answers.append(api.post("abort", gid=gid, trans_type="tcc"))
        api.close()
    thread = threading.Thread(target=insist)
    thread.start()
    others = 0
    while thread.is_alive():
        other = api.new_gid("free")
        api.done("submit", gid=other, trans_type="saga", steps=[{"action": one.url("ok/a")}],
                 payloads=["1"])
        others += 1
    thread.join()
    assert [a.status for a in answers] == [500, 500] and "locked" in answers[0].message, answers
    assert others > 5, "each of them would have waited behind the lock"
    holder.conn.rollback()
    api.done("abort", gid=gid, trans_type="tcc")
    api.wait(gid, "failed")
