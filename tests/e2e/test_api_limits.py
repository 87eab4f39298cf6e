"""What one client may cost the others: registered branches, answers and turns are bounded, a lock of somebody is
waited for once, and text that nobody could read again is not stored."""
import json
import select
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from api import BASE, JSON, Raw, get_text, post_text
from cluster import wait_until

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


def submits_meanwhile(api, one, ask, least):
    """Asks for what has to wait, until more than `least` others were submitted during one question: a machine that is
    away eats the time of a question. The answers."""
    answers = []

    def insist():
        answers.append(ask())
        api.close()

    def others():
        thread = threading.Thread(target=insist)
        thread.start()
        count = 0
        while thread.is_alive():
            api.done("submit", gid=api.new_gid("free"), trans_type="saga", steps=[{"action": one.url("ok/a")}],
                     payloads=["1"])
            count += 1
        thread.join()
        return count
    # Each of them would have waited behind the lock.
    wait_until(lambda: others() > least, f"more than {least} others are submitted", pause=0)
    return answers


def test_a_lock_of_somebody_keeps_only_its_transaction_waiting(api, session, api_cluster, one):
    gid = api.new_gid("held")
    api.done("prepare", gid=gid, trans_type="tcc", timeout_to_fail=1000)
    holder = session(api_cluster, autocommit=False)
    holder.q("select 1 from dtm.trans where gid = %s for update", gid)
    answers = submits_meanwhile(api, one, lambda: api.post("abort", gid=gid, trans_type="tcc"), 5)
    assert {a.status for a in answers} == {500} and "locked" in answers[0].message, answers
    holder.conn.rollback()
    api.done("abort", gid=gid, trans_type="tcc")
    api.wait(gid, "failed")


@pytest.mark.parametrize("there", [False, True], ids=["created", "changed"])
@pytest.mark.parametrize("op", ["subscribe", "unsubscribe", "topic"])
def test_a_topic_that_somebody_changes_keeps_only_itself_waiting(api, session, api_cluster, one, there, op):
    topic, url = api.new_gid("topic"), one.url("ok/mine")
    if there:
        assert api.get("subscribe", topic=topic, url=url).status == 200
    holder = session(api_cluster, autocommit=False)
    holder.q("select dtm_subscribe(%s, %s)", topic, one.url("ok/theirs"))

    def ask():
        if op == "topic":
            return api.request("DELETE", BASE + "topic/" + topic)
        return api.get(op, topic=topic, url=one.url("ok/new") if op == "subscribe" else url)
    unseen = not there and op != "subscribe"
    answers = submits_meanwhile(api, one, ask, -1 if unseen else 10)
    assert {a.status for a in answers} == {500}, answers
    if unseen:
        assert "such a topic" in answers[0].message or "NotFound" in answers[0].message, "nobody has seen it yet"
    else:
        assert answers[0].message == f"somebody has locked topic {topic}; try again", answers
    holder.conn.commit()
    assert ask().status == (500 if (op, there) == ("unsubscribe", False) else 200)


def test_a_locked_topic_spoils_nothing_of_its_batch(server, session, one):
    """Submits before and behind it are answered at once, and it when it is free."""
    api = server()
    coordinators = api.cluster.coordinators()
    topic = api.new_gid("topic")
    assert api.get("subscribe", topic=topic, url=one.url("ok/first")).status == 200
    holder = session(api.cluster, autocommit=False)

    def submit():
        return post_text(BASE + "submit", json.dumps(
            {"gid": api.new_gid(), "trans_type": "msg", "steps": [{"action": f"topic://{topic}"}], "payloads": ["1"]}))
    sockets = [Raw(api.cluster) for _ in range(41)]
    for n in range(5):
        holder.q("select 1 from dtm.kv where k = %s for update", topic)
        for k, raw in enumerate(sockets):
            raw.send(submit() if k != 20 else get_text(f"{BASE}subscribe?topic={topic}&url={one.url(f'ok/{n}')}"))
        assert [raw.answer().status for raw in sockets[:20] + sockets[21:]] == [200] * 40
        holder.conn.rollback()
        assert sockets[20].answer().status in (200, 500)  # 500: the machine was slow
    for raw in sockets:
        raw.socket.close()
    assert api.cluster.coordinators() == coordinators


def memory(pid):
    """The most that the process has had since the last time."""
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_requests_of_many_values_take_no_more_than_their_bytes(server):
    """What was read of a text takes twelve times its bytes here; it is kept of one of them at a time."""
    api = server()
    [coordinator] = api.cluster.coordinators()
    clients = []
    for n in range(60):
        body = ('{"jsonrpc":"2.0","id":"many","method":"prepare","params":{"gid":"%s","trans_type":"tcc","x":[%s1]}}'
                % (api.new_gid("many"), "1," * 510_000))
        clients.append((Raw(api.cluster), post_text("/api/json-rpc", body)))
    memory(coordinator)
    for raw, text in clients:
        raw.send(text[:-1])
    for raw, text in clients:
        raw.send(text[-1:])
    for raw, _ in clients:
        assert raw.answer().json["result"] is None
        raw.socket.close()
    most = memory(coordinator)
    print(f"60 requests of 1 MB: {most / MIB:.0f} MiB")
    assert most < 350 * MIB


def readable(raw):
    return bool(select.select([raw.socket], [], [], 0)[0])


@pytest.mark.parametrize("clients, body", [(200, 535_000), (1000, 100_000)])
def test_memory_of_requests_is_what_they_are_and_comes_back(server, many_descriptors, clients, body):
    """Bodies that never end: below the limit of all that is buffered."""
    api = server()
    [coordinator] = api.cluster.coordinators()

    def anonymous():
        status = Path(f"/proc/{coordinator}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024
    start = anonymous()

    def burst():
        """What it took; None where the first was given up before the last had come."""
        with ExitStack() as stack:
            first = stack.enter_context(Raw(api.cluster))
            for raw in [first, *(stack.enter_context(Raw(api.cluster)) for _ in range(clients - 1))]:
                raw.send(post_text(BASE + "submit", " " * (body + 1))[:-1])
            wait_until(lambda: anonymous() - start > clients * body * 0.9 or readable(first), "they have arrived")
            return None if readable(first) else anonymous() - start
    for _ in range(2):  # the heap learns from the first
        most = wait_until(burst, "all are there at once")
        wait_until(lambda: anonymous() - start < 16 * MIB, "their memory is given back")
        print(f"{clients * body / MIB:.0f} MiB of bodies took {most / MIB:.0f} MiB")
        assert most < clients * body * 1.2, most


def test_clients_that_wait_leave_room_for_others(server, one):
    """More bytes of requests than may be buffered: those whose rounds are under way are held no more."""
    api = server(dtm__max_in_flight_per_host=1000)
    gate, clients = api.new_gid("gate"), []
    gids = [api.new_gid("parked") for _ in range(270)]
    for gid in gids:
        clients.append(Raw(api.cluster).send(post_text(BASE + "submit", json.dumps(
            {"gid": gid, "trans_type": "saga", "steps": [{"action": one.url(f"hold/{gate}")}], "payloads": ["1"],
             "wait_result": True, "request_timeout": 1000, "unknown": "x" * 1_000_000}))))
        wait_until(lambda g=gid: api.status(g), f"{gid} is stored", pause=0)
    api.done("submit", gid=api.new_gid(), trans_type="saga", steps=[{"action": one.url("ok/a")}], payloads=["1"],
             unknown="x" * 1_000_000)
    one.release(gate)
    for raw in clients:
        assert raw.answer().status == 200
        raw.socket.close()
