"""Runs pg_regress on sql/ and expected/ against a throw-away cluster."""
import os
import subprocess

from cluster import pg_config

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pg_regress(cluster, tests, label, program=None):
    """Returns (exit status, output); the output ends with the differences, if any."""
    program = program or os.path.join(os.path.dirname(pg_config("--pgxs")), "..", "test", "regress",
                                      "pg_regress")
    output = os.path.join(ROOT, "build", label)
    os.makedirs(output, exist_ok=True)
    run = subprocess.run(
        [program, "--inputdir=" + ROOT, "--outputdir=" + output, "--bindir=" + cluster.bindir,
         "--dbname=contrib_regression", *tests],
        env=cluster.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
    text = run.stdout
    differences = os.path.join(output, "regression.diffs")
    if run.returncode != 0 and os.path.exists(differences):
        with open(differences, errors="replace") as diffs:
            text += diffs.read()
    return run.returncode, text
