"""dtm's Python client, dtmcli 1.7.7.0 from PyPI (tests/interop/python), with the services of the Go program: two
languages in one transaction, as dtm's users have them."""
import os
import shutil
import subprocess

import pytest

from client_place import go, place  # noqa: F401
from go_service import BUILT, ROOT, Commanded

SOURCE = ROOT / "tests" / "interop" / "python"
SOON = {"retry_interval": 1, "request_timeout": 2}


def installed():
    """The directory with dtmcli and what it needs, made from PyPI when it is not there."""
    place = BUILT / "python"
    wanted = (SOURCE / "requirements.txt").read_text()
    if not (place / "complete").exists() or (place / "complete").read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        run = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "-q", "--no-deps", "--require-hashes",
                              "--only-binary=:all:", "--disable-pip-version-check", "--no-warn-script-location",
                              "--root-user-action=ignore", "--target", place, "-r", SOURCE / "requirements.txt"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert run.returncode == 0, f"dtmcli did not install; is there a network?\n{run.stdout[-2000:]}"
        (place / "complete").write_text(wanted)
    return place


class Python(Commanded):
    def __init__(self, place):
        self.place = place
        environment = dict(os.environ, PYTHONPATH=str(installed()), NO_PROXY="127.0.0.1")
        super().__init__("/usr/bin/python3", SOURCE / "client.py", place.dtm, place.cluster.dsn("services"),
                         environment=environment)

    def run(self, what, **fields):
        gid = self.place.new_gid()
        answer = self.do(what, gid=gid, **fields)
        return gid, answer["error"], answer["result"]


@pytest.fixture(scope="module")
def python(place):
    python = Python(place)
    yield python
    python.destroy()


@pytest.fixture
def ab(place):
    return place.accounts(100, 0)


FAULTS = [{"fault": "hang", "times": 1}, {"fault": "late", "times": 1}, {"fault": "ongoing", "times": 2},
          {"fault": "error", "times": 1}]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=[f["fault"] for f in FAULTS])


def test_gids(python):
    gids = {python.do("gid")["result"] for _ in range(20)}
    assert len(gids) == 20 and all(gids)


@pytest.mark.parametrize("wait", [False, True])
def test_saga(place, go, python, ab, wait):
    gid, error, _ = python.run("saga", steps=go.transfer(*ab), options={"wait_result": wait})
    assert not error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


@pytest.mark.parametrize("wait", [False, True])
def test_saga_refused(place, go, python, ab, wait):
    gid, error, _ = python.run("saga", steps=go.transfer(*ab, into={"fault": "fail"}), options={"wait_result": wait})
    assert ("DTMFailureError" in error) == wait
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


@each_fault
@pytest.mark.parametrize("end", ["succeed", "failed"])
def test_saga_with_trouble(place, go, python, ab, fault, end):
    steps = (go.transfer(*ab, out=fault, into=fault) if end == "succeed" else
             go.transfer(*ab, out={**fault, "on": "compensate"}, into={"fault": "fail"}))
    gid, error, _ = python.run("saga", steps=steps, options=SOON)
    assert not error
    place.wait(gid, end)
    assert place.balances(*ab) == ([70, 30] if end == "succeed" else [100, 0])


@each_fault
def test_message(place, go, python, ab, fault):
    gid, error, _ = python.run("msg", steps=[go.step("in", ab[1], **fault), go.step("in", ab[1], 5)], options=SOON)
    assert not error
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [100, 35]


def test_message_that_is_waited_for(place, go, python, ab):
    gid, error, _ = python.run("msg", steps=[go.step("in", ab[1])], query=go.url("query"), wait=True)
    assert not error and place.api.status(gid) == "succeed" and place.balances(*ab) == [100, 30]


@pytest.mark.parametrize("fault, error, status", [
    ("", "", "succeed"), ("fail", "DTMFailureError", "failed"), ("error", "has a problem", "failed"),
    ("lost", "is lost", "succeed")])
def test_message_with_a_local_transaction(place, go, python, ab, fault, error, status):
    """do_and_submit: after an error the client asks the Go service whether it was committed."""
    gid, said, _ = python.run("msg", steps=[go.step("in", ab[1])], query=go.url("query"), options=SOON,
                              local={"account": ab[0], "amount": -30, "fault": fault})
    assert error in said if error else not said
    place.wait(gid, status)
    assert place.balances(*ab) == ([70, 30] if status == "succeed" else [100, 0])


def test_tcc(place, go, python, ab):
    gid, error, result = python.run("tcc", steps=go.transfer(*ab, style="tcc"))
    assert (error, result) == ("", gid)
    place.wait(gid, "succeed")
    assert place.balances(*ab) == [70, 30]


@pytest.mark.parametrize("into", ["fail", "error", "ongoing"])
def test_tcc_whose_try_does_not_succeed(place, go, python, ab, into):
    gid, error, result = python.run("tcc", steps=go.transfer(*ab, style="tcc", into={"fault": into, "on": "try"}))
    assert (error, result) == ("", ""), "the client's way to say that it was rolled back"
    place.wait(gid, "failed")
    assert place.balances(*ab) == [100, 0]


@pytest.mark.parametrize("on", ["confirm", "cancel"])
@pytest.mark.parametrize("fault", [f for f in FAULTS if f["fault"] in ("ongoing", "error")], ids=lambda f: f["fault"])
def test_tcc_with_trouble(place, go, python, ab, fault, on):
    """This client cannot ask for shorter intervals: the coordinator's own count."""
    steps = go.transfer(*ab, style="tcc", out={**fault, "on": on})
    if on == "cancel":
        steps.append(go.step("in", ab[1], style="tcc", fault="fail", on="try"))
    gid, _, _ = python.run("tcc", steps=steps)
    place.wait(gid, "succeed" if on == "confirm" else "failed")
    assert place.balances(*ab) == ([70, 30] if on == "confirm" else [100, 0])
