"""The commands that build the extension and install it for PG_CONFIG."""
import os
import shutil
import sys

from cluster import pg_config

# A make of our own: the flags of a make that started us name its job server, which we do not have.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(name, None)
MAKE = ["make", "-s", f"-j{os.cpu_count() or 2}"]


def build_commands():
    """[build, install]; the second with sudo where the directories of PG_CONFIG need it."""
    program = "PG_CONFIG=" + os.environ.get("PG_CONFIG", "pg_config")
    install = [*MAKE, "install", program]
    places = [os.path.join(pg_config("--sharedir"), "extension"), pg_config("--pkglibdir")]
    if not all(os.access(place, os.W_OK) for place in places):
        if shutil.which("sudo"):
            install = ["sudo", *install]
        else:
            print(f"cannot write to {' and '.join(places)}, and there is no sudo: run 'make install' "
                  "as a user who can, or choose another PG_CONFIG", file=sys.stderr)
    return [[*MAKE, "all", program], install]
