"""One session that speaks dtm_pg's SQL: submit, wait, look. Remembers what it submitted, so that a
failing test can show it and a passing one can clean up."""
import json
import time
import uuid

import psycopg

from cluster import DEADLINE, rows_of, wait_until

FINAL = ("succeed", "failed")
AFTER_A_STALL = 8  # seconds: a timeout that must come, and only after a next step of its client


def step(action, compensate=None, payload=None, after=None):
    """A step of submit(): the arguments of dtm_step. payload is any JSON value; None sends nothing."""
    return action, compensate, payload, after


class Dtm:
    def __init__(self, cluster, dbname=None, autocommit=True):
        self.cluster, self.dbname = cluster, dbname or cluster.dbname
        self.conn = cluster.connect(dbname, autocommit=autocommit)
        self.gids = []

    def close(self):
        self.conn.close()

    def q(self, sql, *params):
        return rows_of(self.conn.execute(sql, params or None))

    def one(self, sql, *params):
        rows = self.q(sql, *params)
        return rows[0][0] if rows else None

    def new_gid(self, hint="e2e"):
        gid = f"{hint}-{uuid.uuid4().hex[:12]}"
        self.gids.append(gid)
        return gid

    # --- submitting -------------------------------------------------------------------------------

    def submit(self, trans_type, steps, gid=None, **options):
        """dtm_submit() in its form for people."""
        gid = gid or self.new_gid(trans_type)
        if gid not in self.gids:
            self.gids.append(gid)
        parts, params = [], [trans_type]
        for action, compensate, payload, after in steps:
            parts.append("dtm_step(%s, %s, %s::jsonb, %s::int[])")
            params += [action, compensate, None if payload is None else json.dumps(payload), after]
        params += [gid, json.dumps(options) if options else None]
        got = self.one(f"select dtm_submit(%s, array[{', '.join(parts)}]::jsonb[], %s, %s::jsonb)", *params)
        assert got == gid
        return gid

    def saga(self, *steps, gid=None, **options):
        return self.submit("saga", steps, gid=gid, **options)

    def msg(self, *steps, gid=None, **options):
        return self.submit("msg", steps, gid=gid, **options)

    def submit_request(self, request):
        """dtm_submit(jsonb): dtm's own request body."""
        gid = self.one("select dtm_submit(%s::jsonb)", json.dumps(request))
        self.gids.append(gid)
        return gid

    # --- looking ----------------------------------------------------------------------------------

    def status(self, gid):
        return self.one("select status from dtm.transaction where gid = %s", gid)

    def row(self, gid, view="dtm.transaction"):
        """The transaction as a dict; None when there is no such row."""
        cur = self.conn.execute(f"select * from {view} where gid = %s", (gid,))
        found = cur.fetchone()
        return dict(zip([c.name for c in cur.description], found)) if found else None

    def branch(self, gid, branch_id="01", op="action"):
        cur = self.conn.execute("select * from dtm.branch where gid = %s and branch_id = %s and op = %s",
                                (gid, branch_id, op))
        found = cur.fetchone()
        return dict(zip([c.name for c in cur.description], found)) if found else None

    def wait(self, gid, status=None, timeout=DEADLINE):
        """Waits for the end; fails unless it is `status` (any end when None)."""
        end = time.monotonic() + timeout
        got = None
        while got is None and time.monotonic() < end:
            got = self.one("select dtm_wait(%s, '10 s')", gid)
        assert got in FINAL, f"{gid} did not end in {timeout} s: {self.status(gid)}"
        assert status is None or got == status, f"{gid} ended as {got}, not {status}"
        return got

    def wait_all(self, gids, timeout=DEADLINE):
        """Waits until all have ended; returns {gid: status}."""
        gids = list(gids)

        def open_ones():
            return self.one("select count(*) from dtm.trans where gid = any(%s)"
                            " and status not in ('succeed', 'failed')", gids)
        wait_until(lambda: open_ones() == 0, f"{len(gids)} transactions end", timeout, pause=0.2)
        found = dict(self.q("select gid, status from dtm.trans where gid = any(%s)", gids))
        assert set(found) == set(gids), f"vanished: {sorted(set(gids) - set(found))[:5]}"
        return found

    def wait_attempts(self, gid, attempts, branch_id="01", op="action"):
        """Waits until an operation was tried so often and the answer is in the row; returns it."""
        def settled():
            b = self.branch(gid, branch_id, op)
            return b if b and b["attempts"] >= attempts and b["next_time"] is not None else None
        return wait_until(settled, f"{gid} {branch_id} {op}: {attempts} attempts settled")

    def until_next(self, gid, branch_id="01", op="action"):
        """Seconds from now (database clock) to the next attempt of an operation."""
        return float(self.one("select extract(epoch from next_time - clock_timestamp()) from dtm.branch"
                              " where gid = %s and branch_id = %s and op = %s", gid, branch_id, op))

    def until_over(self, gid):
        """Waits until a transaction is due, by the clock of the database."""
        wait_until(lambda: self.one("select next_cron_time < clock_timestamp() from dtm.trans where gid = %s", gid),
                   f"{gid} is due")

    def passed_by(self, service):
        """Returns after the coordinator has taken, called and settled a transaction that was submitted
        now: whatever it was going to do about older ones at once, it has done."""
        marker = self.saga(step(service.url("ok/marker")))
        self.wait(marker, "succeed")

    def each_open(self, verb, gids):
        """A verb for those that have not ended. One by one: one that ends by itself meanwhile is an error, but not
        of the others."""
        for gid, in self.q("select gid from dtm.trans where gid = any(%s) and status not in ('succeed', 'failed')",
                           list(gids)):
            try:
                self.q(f"select dtm_{verb}(%s)", gid)
            except psycopg.Error as error:
                if error.sqlstate not in ("TD003", "TD004"):
                    raise

    def explain(self, gid):
        return "\n".join(str(r[0]) for r in self.q("select dtm_explain(%s)", gid))

    # --- afterwards -------------------------------------------------------------------------------

    def stop_leftovers(self):
        """Ends what the test left open, so that it does not disturb the next one."""
        if self.gids:
            self.each_open("force_stop", self.gids)
