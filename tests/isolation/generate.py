#!/usr/bin/python3
"""Writes the specs, the barrier in pictures: every pair of ops x every end of the first x every
isolation level. Started as a program it writes those that are committed, specs/*.spec."""
import os

from worlds import DOORS, LEVELS, TYPES, all_specs, pairs, steps, worlds

HERE = os.path.dirname(os.path.abspath(__file__))

HEADER = """\
# {title}
# Written by tests/isolation/generate.py.
#
# Two calls for one branch meet: s1 calls its op first, s2 the other. s1 has committed, has rolled
# back, or is still open when s2 calls; then s2 waits for it, if both need the same barrier row.
# s2_looks takes s2's snapshot before s1 ends.{again}
# An s1 that takes its call back, to a savepoint, calls again when s2 has committed. The counter has gone
# back, too, so it is the same call.{prepared}
# Way to the barrier: {way}.

setup
{{
  CREATE TABLE effect (op text NOT NULL);
  CREATE VIEW outcome AS
    SELECT (SELECT string_agg(op, ' ' ORDER BY op) FROM effect) AS effects,
           (SELECT string_agg(format('%s %s by %s', op, barrier_id, reason), ', '
                              ORDER BY branch_id, op, barrier_id)
              FROM dtm_barrier.barrier) AS barrier;{setup}
}}
teardown
{{
  DROP TABLE effect CASCADE;{teardown}
  DELETE FROM dtm_barrier.barrier;
}}
"""

AGAIN = """
# Where s1 commits after that snapshot, s2 may be told to try again (40001), and does."""
PREPARED = """
# An open transaction may be a prepared one, whose second phase comes later."""

SERVICE = """
  CREATE FUNCTION service(branch_id text, op text) RETURNS text LANGUAGE plpgsql AS $$
  DECLARE
    verdict text := dtm_barrier_verdict('{type}', 'g', branch_id, op);
  BEGIN
    IF verdict = 'run' THEN
      INSERT INTO effect VALUES (op);
    END IF;
    RETURN verdict;
  END $$;"""

SHOWS = """\
session observer
step shows                  { TABLE outcome; }
"""


def call(door, trans_type, branch, op):
    """The SQL of one branch call: a list of statements."""
    if op == "query":
        return [f"SELECT dtm_barrier_query_prepared('{trans_type}', 'g') AS committed;"]
    if door == "call":
        return [f"SELECT dtm_barrier_call('{trans_type}', 'g', '{branch}', '{op}',",
                f"                        $$INSERT INTO effect VALUES ('{op}')$$) AS ran;"]
    if door == "verdict":
        return [f"SELECT service('{branch}', '{op}') AS verdict;"]
    return [f"SELECT FROM dtm_branch('{trans_type}', 'g', '{branch}', '{op}');",
            f"INSERT INTO effect VALUES ('{op}') RETURNING op AS effect;"]


def step(name, lines):
    """One line if it fits."""
    flat = " ".join(line.strip() for line in lines)
    if len(flat) + len(name) < 84:
        return f"step {name:<22} {{ {flat} }}\n"
    return f"step {name}\n{{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def session(name, door, trans_type, level):
    begin = f"BEGIN ISOLATION LEVEL {level.upper()};"
    text = f"session {name}\nsetup {{ {begin} }}\n"
    if name == "s2":
        text += step("s2_looks", ["SELECT FROM effect;"])
    for branch, ops in TYPES[trans_type]:
        for op in ops:
            text += step(f"{name}_calls_{op}", call(door, trans_type, branch, op))
    text += step(f"{name}_commits", ["COMMIT;"])
    if name == "s1":
        text += step("s1_rolls_back", ["ROLLBACK;"])
        text += step("s1_sets_savepoint", ["SAVEPOINT before;"])
        text += step("s1_takes_it_back", ["ROLLBACK TO before;"])
        if trans_type == "xa":
            text += step("s1_prepares", ["PREPARE TRANSACTION 'g-01';"])
            text += step("s1_commits_prepared", ["COMMIT PREPARED 'g-01';"])
            text += step("s1_rolls_back_prepared", ["ROLLBACK PREPARED 'g-01';"])
    elif level != LEVELS[0]:
        text += step("s2_begins", [begin])
    return text


def spec(door, trans_type, level):
    text = HEADER.format(
        title=f"{trans_type}, {level.upper()}: two calls for one branch at the same time",
        way=DOORS[door], again="" if level == LEVELS[0] else AGAIN,
        prepared=PREPARED if trans_type == "xa" else "",
        setup={"verdict": SERVICE.format(type=trans_type),
               "trigger": "\n  SELECT FROM dtm_protect('effect');"}.get(door, ""),
        teardown="\n  DROP FUNCTION service;" if door == "verdict" else "")
    for name in ("s1", "s2"):
        text += "\n" + session(name, door, trans_type, level)
    text += "\n" + SHOWS
    for x, y in pairs(trans_type):
        text += f"\n# {x}, then {y + ' again' if x == y else y}\n"
        for pattern in worlds(trans_type).values():
            text += "permutation " + " ".join(steps(pattern, x, y, level)) + "\n"
    return text


def write(directory, doors):
    os.makedirs(directory, exist_ok=True)
    for name, door, trans_type, level in all_specs(doors):
        with open(os.path.join(directory, name + ".spec"), "w") as file:
            file.write(spec(door, trans_type, level))


if __name__ == "__main__":
    write(os.path.join(HERE, "specs"), ["call"])
