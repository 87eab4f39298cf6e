"""What goes wrong with a call. Drawn from the seed and the call, not from the order in which calls arrive."""
import random

# Before the effect, after it, instead of the answer; the number is how often among 1000 calls.
WEIGHTS = {
    "none": 725,
    "late effect": 25,      # comes when the caller has given up
    "late answer": 25,
    "twice": 50,            # delivered twice at the same time
    "again": 35,            # delivered once more, seconds later
    "500 before": 15,
    "500 after": 20,
    "garbage": 15,          # 200 and bytes that mean nothing
    "huge": 4,
    "truncated": 15,
    "reset before": 12,
    "reset after": 12,
    "closed after": 8,
    "409": 14,
    "200 FAILURE": 4,
    "409 after": 4,         # a lie: the effect is there
    "425": 12,
    "200 ONGOING": 4,
    "dies": 1,              # SIGKILL between effect and answer
}


def draw(seed, call, life, attempt):
    """(kind, a generator for its details)."""
    chosen = random.Random(f"{seed}/{call.gid}/{call.branch_id}/{call.op}/{life}/{attempt}")
    return chosen.choices(list(WEIGHTS), list(WEIGHTS.values()))[0], chosen
