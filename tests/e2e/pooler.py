"""pgbouncer in transaction mode in front of a cluster, from tests/lib/debs.py, never a system service.

Databases: `bank` with two server connections, `single` with one, the same database of the cluster.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from cluster import as_postgres, free_port, wait_until

sys.path.append(str(Path(__file__).parents[1] / "lib"))
import debs  # noqa: E402


class Pooler:
    def __init__(self, cluster, users):
        self.cluster, self.users, self.port = cluster, users, free_port()
        self.root = Path(tempfile.mkdtemp(prefix="dtm_pooler_"))
        self.log = self.root / "log"
        self.process = None

    def start(self):
        # Root's pgbouncer runs as postgres, who may not be able to see the source tree: a copy.
        place = debs.unpacked("pgbouncer")
        program = shutil.copy(place / "usr" / "sbin" / "pgbouncer", self.root)
        libraries = self.root / "lib"
        libraries.mkdir()
        for directory in (place / "usr" / "lib").glob("*-linux-*"):
            for library in directory.glob("*.so.*"):
                shutil.copy(library, libraries)
        server = f"host=127.0.0.1 port={self.cluster.port} dbname={self.cluster.dbname}"
        (self.root / "users").write_text("".join(f'"{user}" ""\n' for user in self.users))
        (self.root / "ini").write_text(f"""
[databases]
bank = {server} pool_size=2
single = {server} pool_size=1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.root}/users
pool_mode = transaction
""")
        if os.geteuid() == 0:
            for path in (self.root, *self.root.rglob("*")):
                shutil.chown(path, "postgres", "postgres")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(as_postgres(program, self.root / "ini", pdeathsig="KILL"), cwd="/",
                                            env=dict(os.environ, LD_LIBRARY_PATH=str(libraries)),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.answers, "pgbouncer answers")
        return self

    def answers(self):
        assert self.process.poll() is None, f"pgbouncer ended:\n{self.log.read_text()}"
        try:
            psycopg.connect(self.url(self.users[0]), connect_timeout=5).close()
            return True
        except psycopg.OperationalError:
            return False

    def url(self, user, dbname="bank"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{dbname}"

    def connect(self, user, dbname="bank"):
        return psycopg.connect(self.url(user, dbname), prepare_threshold=None)

    def destroy(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
