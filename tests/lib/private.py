"""A PostgreSQL installation of our own with another build of the extension in it: for builds that no
server but a test's may load.

PostgreSQL finds its directories relative to its programs, so a tree that holds copies of the programs and
links to everything else is an installation whose $libdir and extension directory are private. The objects
stay below build/private, so that the next run compiles what has changed; the tree is temporary.
"""
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "build", "private")
OURS = "dtm_pg"  # what the tree must not have from the installation it is made of


class NotRelocatable(Exception):
    """This PostgreSQL does not find its directories relative to its programs."""


def pg_config(option, program=None):  # the end-to-end tests have another module `cluster`
    program = program or os.environ.get("PG_CONFIG", "pg_config")
    return subprocess.run([program, option], check=True, capture_output=True, text=True).stdout.strip()


def under(top, path):
    return top + os.path.abspath(path)


def link_entries(top, directory):
    """Makes a directory of the tree with a link to each entry of the original that is not ours."""
    os.makedirs(under(top, directory), exist_ok=True)
    for name in os.listdir(directory):
        link = under(top, os.path.join(directory, name))
        if not name.startswith(OURS) and not os.path.lexists(link):
            os.symlink(os.path.realpath(os.path.join(directory, name)), link)


def make_tree(top):
    """Returns the bin directory of an installation below `top`."""
    bindir, sharedir, pkglibdir = (pg_config(o) for o in ("--bindir", "--sharedir", "--pkglibdir"))
    shutil.copytree(bindir, under(top, bindir))
    # The innermost first: a link in the place of an outer one would lead out of the tree.
    link_entries(top, os.path.join(sharedir, "extension"))
    link_entries(top, sharedir)
    link_entries(top, pkglibdir)
    for option in ("--libdir", "--includedir", "--pkgincludedir", "--includedir-server", "--localedir"):
        directory = pg_config(option)
        if directory and os.path.isdir(directory) and not os.path.exists(under(top, directory)):
            os.makedirs(os.path.dirname(under(top, directory)), exist_ok=True)
            os.symlink(os.path.realpath(directory), under(top, directory))
        elif os.path.isdir(directory) and not os.path.islink(under(top, directory)):
            link_entries(top, directory)
    found = pg_config("--pkglibdir", os.path.join(under(top, bindir), "pg_config"))
    if os.path.realpath(found) != os.path.realpath(under(top, pkglibdir)):
        raise NotRelocatable(f"a copy of {bindir} looks for its libraries in {found}, not beside itself")
    return under(top, bindir)


def source_copy(name):
    """The sources as they are; objects of an earlier run stay."""
    copy = os.path.join(WORK, name)
    os.makedirs(copy, exist_ok=True)
    shutil.rmtree(os.path.join(copy, "src"), ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "src"), os.path.join(copy, "src"))
    for file in ("Makefile", "dtm_pg.control"):
        shutil.copy2(os.path.join(ROOT, file), copy)
    return copy


class PrivateBuild:
    """with PrivateBuild("crash", "CRASH_POINTS=1") as build: a server of build.bindir loads it."""

    def __init__(self, name, *make_arguments):
        self.name, self.make_arguments = name, make_arguments
        self.top = self.bindir = self.library = None

    def __enter__(self):
        self.top = tempfile.mkdtemp(prefix="dtm_pg-private-", dir="/tmp")
        try:
            os.chmod(self.top, 0o755)  # the server's user reads it
            self.bindir = make_tree(self.top)
            self.build()
        except BaseException:
            self.remove()
            raise
        return self

    def build(self):
        program = os.environ.get("PG_CONFIG", "pg_config")
        # Not the tree's: its path differs from run to run, and everything would be compiled again.
        command = [os.environ.get("MAKE", "make"), "-s", f"-j{os.cpu_count() or 2}", "-C", source_copy(self.name),
                   "PG_CONFIG=" + program, "DESTDIR=" + self.top, *self.make_arguments, "all", "install"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PG"))}
        made = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{made.stdout}{made.stderr}")
        self.library = os.path.join(under(self.top, pg_config("--pkglibdir")), "dtm_pg.so")
        subprocess.run(["chmod", "-R", "a+rX", self.top], check=True)

    def remove(self):
        shutil.rmtree(self.top, ignore_errors=True)

    def __exit__(self, *_):
        self.remove()
