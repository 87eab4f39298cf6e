#!/usr/bin/python3
"""Debian packages unpacked below build/debs instead of installed: programs that only tests use.

Why not apt-get install: Debian's pgbouncer enables and starts a system service, which a test must not
do to somebody's machine; and node-pg insists on Debian's own nodejs, while many machines have Node.js
from elsewhere. Neither needs to be installed to be run. Nothing is downloaded twice; the first download
needs the network and the machine's own apt sources, but not root.

    debs.py     fetches all of them now (tests fetch what they need themselves)
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEBS = Path(__file__).resolve().parents[2] / "build" / "debs"

# package: which of its dependencies, and of theirs, are unpacked beside it. The libraries of pgbouncer
# that are not named here come with the PostgreSQL server.
FOLLOW = {
    "pgbouncer": r"libevent-|libc-ares|libcares",
    # Not libpq's binding (node-libpq): it is built for Debian's nodejs, and only pg-native wants it.
    "node-pg": r"node-(?!libpq$)",
}

# Started by root, apt would download as a user of its own, who may not write here.
AS_ROOT = ["-o", "APT::Sandbox::User=root"]


def unpacked(package):
    """The directory that holds the package and what it needs, as if it were /."""
    place = DEBS / package
    if not place.exists():
        fetch(package, place)
    return place


def fetch(package, place):
    if not shutil.which("apt-get"):
        raise RuntimeError(f"{package} is taken from Debian or Ubuntu, and there is no apt-get here")
    # Two at once do not disturb each other: both work in a directory of their own, and the last step is atomic.
    DEBS.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=package + ".", dir=DEBS))
    try:
        with_any_lists(package, work)
        root = work / "root"
        root.mkdir()
        for deb in sorted(work.glob("*.deb")):
            run(["dpkg-deb", "-x", deb, root], work)
        try:
            root.rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def with_any_lists(package, work):
    try:
        return download(package, work, [])
    except subprocess.CalledProcessError as error:
        first = error.stdout
    # No lists, as in a fresh container, or old ones. Those of the machine are root's, so: lists of our own.
    for deb in work.glob("*.deb"):
        deb.unlink()
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    lists = ["-o", f"Dir::State::Lists={work}/state/lists", "-o", f"Dir::Cache={work}/cache"]
    try:
        run(["apt-get", *lists, *AS_ROOT, "-q", "-o", "APT::Update::Error-Mode=any", "update"], work)
        download(package, work, lists)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"cannot download the Debian package {package}; is there a network?\n"
                           f"{first}{error.stdout}") from None


def download(package, work, options):
    names, look_at = {package}, [package]
    while look_at:
        for name in dependencies(look_at.pop(), work, options):
            if re.match(FOLLOW[package], name) and name not in names:
                names.add(name)
                look_at.append(name)
    run(["apt-get", *options, *AS_ROOT, "-q", "download", *sorted(names)], work)


def dependencies(package, work, options):
    """Real packages only: a virtual one, in angle brackets, has nothing to download."""
    text = run(["apt-cache", *options, "depends", "--important", package], work)
    return re.findall(r"^[ |]*(?:Pre)?Depends: ([^<\s]+)$", text, re.MULTILINE)


def run(command, where):
    return subprocess.run(command, cwd=where, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=dict(os.environ, LC_ALL="C")).stdout


def main():
    for package in FOLLOW:
        if not (DEBS / package).exists():
            print(f"debs: downloading {package}; it is unpacked below build/debs, not installed", flush=True)
        unpacked(package)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"debs: {error}")
