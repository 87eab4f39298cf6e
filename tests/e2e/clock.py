"""The clocks of a server in the hands of a test: clock.cpp, compiled, before the libc of its processes.

Only what they read is changed: how long they sleep is up to the kernel. Sessions' lock_timeout and the like need a time
of day that runs.
"""
import ctypes
import mmap
import os
import shutil
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.cpp")
MICRO = 1_000_000


class Numbers(ctypes.Structure):
    """Clocks of clock.cpp."""
    _fields_ = [(name, ctypes.c_int64) for name in ("day", "stopped", "steady", "look")]


class Clock:
    """That of a cluster from now on, which is started again for it."""

    def __init__(self, cluster):
        library, path = cluster.root / "clock.so", cluster.root / "clock"
        subprocess.run([*os.environ.get("CXX", "g++").split(), "-std=c++20", "-O1", "-fPIC", "-shared", "-o", library,
                        SOURCE], check=True)
        path.write_bytes(bytes(ctypes.sizeof(Numbers)))
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")
        with open(path, "r+b") as file:
            self.numbers = Numbers.from_buffer(mmap.mmap(file.fileno(), 0))
        cluster.environment = {**os.environ, "LD_PRELOAD": str(library), "DTM_CLOCK": str(path)}
        cluster.restart()
        cluster.wait_coordinator(count=int(cluster.settings.get("dtm.workers", 1)))
        begin = cluster.sql("select clock_timestamp()")[0][0]
        self.set(-3600)
        assert cluster.sql("select clock_timestamp()")[0][0] < begin, "the server has a clock of its own"
        self.set(0)

    def set(self, seconds):
        """The time of day is so far ahead of ours, or behind it (negative)."""
        self.numbers.day = int(seconds * MICRO)

    def stop(self):
        """It stays as late as it is."""
        self.numbers.stopped = int(time.time() * MICRO) + self.numbers.day

    def go_on(self):
        self.numbers.stopped = 0

    def pass_by(self, seconds):
        """So much time has passed, says the clock that nobody sets."""
        self.numbers.steady += int(seconds * MICRO)

    def slow_down(self, seconds):
        """Nothing can be done in less time, says the same clock."""
        self.numbers.look = int(seconds * MICRO)
