"""The Go programs of tests/interop/go, which use dtm's own client."""
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from cluster import DEADLINE

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "interop" / "go"
BUILT = ROOT / "build" / "interop"


def build(package=".", name="barrier"):
    """Modules come from Go's cache or its proxy, the versions and sums from go.mod and go.sum. Returns the program."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    # local: no other Go is downloaded. Without cgo it needs no C compiler.
    environment = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly -buildvcs=false", GOWORK="off",
                       CGO_ENABLED="0")
    if "HOME" not in environment:   # where Go keeps its caches
        environment |= {"GOPATH": str(BUILT / "gopath"), "GOCACHE": str(BUILT / "gocache")}
        environment["GOFLAGS"] += " -modcacherw"    # or `make clean` could not remove them
    run = subprocess.run([go, "build", "-o", BUILT / name, package], cwd=SOURCE, text=True, env=environment,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.returncode == 0, f"{SOURCE} did not build; is there a network?\n{run.stdout[-3000:]}"
    return BUILT / name


class Commanded:
    """One process that takes commands, one JSON line each; they run side by side."""

    def __init__(self, *command, environment=None):
        self.process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *map(str, command)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=sys.__stderr__, text=True, env=environment)
        self.ids = itertools.count(1)
        self.inboxes = {}
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            self.inboxes[answer["id"]].put(answer)

    def start(self, do, **fields):
        """Sends a command; returns its number."""
        number = next(self.ids)
        self.inboxes[number] = queue.Queue()
        self.send(id=number, do=do, **fields)
        return number

    def send(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self, number):
        """The next answer to a command: it holds, or it is done."""
        return self.inboxes[number].get(timeout=DEADLINE)

    def do(self, what, **fields):
        return self.answer(self.start(what, **fields))

    def destroy(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(10)


class GoService(Commanded):
    """Guards its branches with the barrier of dtm's client."""

    def __init__(self, cluster, dbname):
        super().__init__(BUILT / "barrier", "127.0.0.1", cluster.port, dbname)

    def release(self, number):
        self.send(id=number, do="release")
