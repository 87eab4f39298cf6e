"""Runs pg_regress on sql/ and expected/, and on those of tests/script/, against a throw-away cluster."""
import os
import subprocess

from cluster import pg_config

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


SCRIPT = os.path.join(ROOT, "tests", "script")  # for src/script/dtm_pg_barrier.sql


def names(prefix="", place=ROOT):
    return sorted(f[:-4] for f in os.listdir(os.path.join(place, "sql"))
                  if f.startswith(prefix) and f.endswith(".sql"))


def parts():
    """The runs of the stage `regress`, each with a cluster of its own: label, settings, and the
    files as pairs of a place and the tests there, which share a database. The files barrier_* run
    against both variants of the barrier: the extension, and the script in a server without it."""
    preload = {"shared_preload_libraries": "dtm_pg"}
    return (
        ("regress", preload, [(ROOT, [n for n in names() if not n.startswith("nopreload_")])]),
        ("regress-nopreload", {}, [(ROOT, names("nopreload_"))]),
        ("regress-script", {}, [(SCRIPT, ["00_install", *names("own_", SCRIPT)]),
                                (ROOT, names("barrier_"))]),
        ("regress-exchange", preload, [(SCRIPT, names("exchange", SCRIPT))]),
    )


def pg_regress_all(cluster, files, label):
    """Like pg_regress for the files of one of parts()."""
    worst, texts = 0, []
    for number, (place, tests) in enumerate(files):
        status, text = pg_regress(cluster, tests, f"{label}-{number}" if number else label,
                                  place=place, existing=number > 0)
        worst = worst or status
        texts.append(text)
    return worst, "".join(texts)


def pg_regress(cluster, tests, label, program=None, place=ROOT, existing=False):
    """Returns (exit status, output); the output ends with the differences, if any. `place` has sql/ and
    expected/; `existing`: go on in the database of the run before."""
    program = program or os.path.join(os.path.dirname(pg_config("--pgxs")), "..", "test", "regress",
                                      "pg_regress")
    output = os.path.join(ROOT, "build", label)
    os.makedirs(output, exist_ok=True)
    run = subprocess.run(
        [program, "--inputdir=" + place, "--outputdir=" + output, "--bindir=" + cluster.bindir,
         "--dbname=contrib_regression", *(["--use-existing"] if existing else []), *tests],
        env=cluster.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
    text = run.stdout
    differences = os.path.join(output, "regression.diffs")
    if run.returncode != 0 and os.path.exists(differences):
        with open(differences, errors="replace") as diffs:
            text += diffs.read()
    return run.returncode, text
