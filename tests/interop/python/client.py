#!/usr/bin/python3
"""An application of dtm's Python client (dtmcli 1.7.7.0 from PyPI), driven by a test as tests/interop/go/client is;
the services that it calls are that program's. Its barrier speaks MySQL only, so the local transaction of a message
writes the barrier's row itself.

    client.py DTM DSN       e.g. http://127.0.0.1:36789/api/dtmsvr "host=127.0.0.1 dbname=services"

Reads one JSON command per line and answers with a JSON line, {"id": 1, "gid": …, "error": …, "result": …}.
"""
import json
import sys

import psycopg
from dtmcli import msg, saga, tcc, utils

BARRIER = """insert into dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
             values ('msg', %s, '00', 'msg', '01', 'msg') on conflict on constraint uniq_barrier do nothing"""


class Application:
    def __init__(self, dtm, dsn):
        self.dtm, self.dsn = dtm, dsn

    def do_gid(self, _):
        return utils.gen_gid(self.dtm)

    def do_saga(self, command):
        transaction = saga.Saga(self.dtm, command["gid"])
        self.prepare(transaction, command)
        for step in command["steps"]:
            transaction.add(step["body"], step["action"], step["compensate"])
        transaction.submit()

    def do_msg(self, command):
        transaction = msg.Msg(self.dtm, command["gid"])
        self.prepare(transaction, command)
        for step in command["steps"]:
            transaction.add(step["body"], step["action"])
        if command.get("wait"):
            transaction.set_wait_result()
        if "local" not in command:
            if command.get("query"):
                transaction.prepare(command["query"])
            transaction.submit()
            return
        transaction.do_and_submit(command["query"], lambda _: self.local(command["gid"], **command["local"]))

    def do_tcc(self, command):
        def branches(transaction):
            for step in command["steps"]:
                transaction.call_branch(step["body"], step["try"], step["confirm"], step["cancel"])
        return tcc.tcc_global_transaction(self.dtm, command["gid"], branches)

    @staticmethod
    def prepare(transaction, command):
        """Options go straight into the request; the client has no functions for them."""
        for name, value in command.get("options", {}).items():
            assert hasattr(transaction.trans_base, name), name
            setattr(transaction.trans_base, name, value)

    def local(self, gid, account, amount, fault):
        """The business transaction of a message. fault: fail, error (both rolled back), lost (committed)."""
        with psycopg.connect(self.dsn) as connection:
            if connection.execute(BARRIER, (gid,)).rowcount == 0:
                raise utils.DTMFailureError("given up already")
            connection.execute("update account set balance = balance + %s where name = %s", (amount, account))
            if fault == "fail":
                raise utils.DTMFailureError("the business says no")
            if fault == "error":
                raise RuntimeError("the business has a problem")
        if fault == "lost":
            raise RuntimeError("the answer of the commit is lost")

    def run(self, command):
        answer = {"id": command["id"], "gid": command.get("gid"), "error": "", "result": None}
        try:
            answer["result"] = getattr(self, "do_" + command["do"])(command)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        return answer


def main():
    application = Application(*sys.argv[1:])
    for line in sys.stdin:
        print(json.dumps(application.run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
