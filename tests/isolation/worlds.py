"""The worlds of the barrier specs: who calls what, in which order. generate.py writes them, check.py
reads them back."""

LEVELS = ("read committed", "repeatable read", "serializable")

# Type: groups of (branch_id, ops). Ops of one branch meet in every ordered pair; "query" is
# dtm_barrier_query_prepared(), which asks about op msg of branch 00.
TYPES = {
    "saga": (("01", ("action", "compensate")),),
    "tcc": (("01", ("try", "confirm", "cancel")),),
    "xa": (("01", ("action", "commit", "rollback")),),
    "msg": (("00", ("msg", "query")), ("01", ("action",))),
}

# Three doors lead to the same barrier. The specs of "call" are committed with what is expected of
# them; those of the others are made for each run and held against the enumeration only.
DOORS = {
    "call": "dtm_barrier_call() around the SQL of the service",
    "verdict": "a function that asks dtm_barrier_verdict() and acts on its answer",
    "trigger": "dtm_branch(), then a plain INSERT into a protected table",
}

# The names of enumerate.cpp. {x} is the op of s1, {y} that of s2. [again] is there only where s2 may
# be told to try again (40001): above READ COMMITTED.
WORLDS = {
    "committed": "s1_calls_{x} s1_commits s2_calls_{y} s2_commits",
    "rolled back": "s1_calls_{x} s1_rolls_back s2_calls_{y} s2_commits",
    "committed, looked before": "s2_looks s1_calls_{x} s1_commits s2_calls_{y} s2_commits [again]",
    "rolled back, looked before": "s2_looks s1_calls_{x} s1_rolls_back s2_calls_{y} s2_commits",
    "open, commits": "s1_calls_{x} s2_calls_{y} s1_commits s2_commits [again]",
    "open, rolls back": "s1_calls_{x} s2_calls_{y} s1_rolls_back s2_commits",
    "open, takes it back": "s1_sets_savepoint s1_calls_{x} s2_calls_{y} s1_takes_it_back s2_commits"
                           " s1_calls_{x} s1_commits",
}
TAKES_BACK = "open, takes it back"  # the one world in which s1 calls again, in the same transaction


# XA only: s1's session is free, its transaction waits for phase two. isolationtester does not notice who
# waits for a prepared transaction, so it is told to go on: "*", and report that call after phase two.
PREPARED_WORLDS = {
    "prepared, commits": "s2_looks s1_calls_{x} s1_prepares s2_calls_{y}(*,s1_commits_prepared)"
                         " s1_commits_prepared s2_commits [again]",
    "prepared, rolls back": "s2_looks s1_calls_{x} s1_prepares s2_calls_{y}(*,s1_rolls_back_prepared)"
                            " s1_rolls_back_prepared s2_commits",
}


def worlds(trans_type):
    return {**WORLDS, **(PREPARED_WORLDS if trans_type == "xa" else {})}


def steps(pattern, x, y, level):
    """The steps of one permutation, the observer's included."""
    again = "" if level == LEVELS[0] else "s2_begins s2_calls_{y} s2_commits"
    return pattern.replace("[again]", again).format(x=x, y=y).split() + ["shows"]


def pairs(trans_type):
    """Every ordered pair of ops of one branch, an op with itself included."""
    for _, ops in TYPES[trans_type]:
        for x in ops:
            for y in ops:
                yield x, y


def spec_name(door, trans_type, level):
    return "-".join(["barrier" if door == "call" else door, trans_type, *level.split()])


def all_specs(doors=tuple(DOORS)):
    """(name, door, type, level) of every spec, in the order in which they run."""
    for door in doors:
        for trans_type in TYPES:
            for level in LEVELS:
                yield spec_name(door, trans_type, level), door, trans_type, level
