"""Reads what isolationtester printed back into a table of outcomes and holds it against two judges: the
enumeration of core (enumerate.cpp), line by line, and promises that need no knowledge of the rule."""
import os
import re
from collections import Counter
from dataclasses import dataclass

import generate
from worlds import LEVELS, TAKES_BACK, all_specs, pairs, steps, worlds

HERE = os.path.dirname(os.path.abspath(__file__))

# isolationtester prints the message of an error, not its SQLSTATE.
SQLSTATES = (
    ("40001", r"could not serialize access due to .+"),
    ("TDF00", r'message "g" was given up before its local transaction committed'),
    ("TD002", r'the local transaction of message "g" has passed the barrier already'),
)
# Every other thing that a call may be told is an error.
ANSWERS = ("ran", "skipped", "run", "duplicate", "hanging", "empty", "true", "false")
# The op that an op undoes; stated here again because core is one of those that are judged.
UNDOES = {"compensate": "action", "cancel": "try", "rollback": "action"}


class Unreadable(Exception):
    pass


@dataclass
class Outcome:
    door: str
    trans_type: str
    level: str
    world: str
    x: str
    first: str    # what s1 was told
    y: str
    second: str   # what s2 was told
    waited: bool  # s2 had to wait for s1
    third: str    # what s2 (TAKES_BACK: s1) was told when it tried again, or "-"
    effects: list
    barrier: str

    def line(self):
        return " | ".join((
            self.door, self.trans_type, self.level, f"{self.x} {self.first}", self.world,
            f"{self.y}{' waits' if self.waited else ''} {self.second}", f"again {self.third}",
            "effects " + " ".join(self.effects), "barrier " + self.barrier))

    def said(self):
        """(op, answer) of the calls whose transaction committed."""
        calls = [(self.y, self.second),
                 (self.x if self.world == TAKES_BACK else self.y, self.third)]
        if "commit" in self.world:
            calls.append((self.x, self.first))
        return [(op, answer) for op, answer in calls
                if answer in ANSWERS]


def told(chunk):
    """What the caller of a branch call was told, from the text below its step."""
    error = re.search(r"^ERROR:  (.*)$", chunk, re.MULTILINE)
    if error:
        for sqlstate, message in SQLSTATES:
            if re.fullmatch(message, error.group(1)):
                return sqlstate
        return "error: " + error.group(1)
    tables = re.findall(r"^(\w+) *\n-+\n(?:(\w*) *\n)?\((\d) rows?\)$", chunk, re.MULTILINE)
    if len(tables) != 1:
        raise Unreadable("no single result: " + chunk)
    [(column, value, rows)] = tables
    if column == "effect":
        return "ran" if rows == "1" else "skipped"
    if column == "verdict":
        return value
    words = {"ran": {"t": "ran", "f": "skipped"}, "committed": {"t": "true", "f": "false"}}
    try:
        return words[column][value]
    except KeyError:
        raise Unreadable(f"{column}: {value!r}") from None


def outcome(door, trans_type, level, permutations, text):
    """The outcome of one permutation."""
    title, _, text = text.partition("\n")
    if title not in permutations:
        raise Unreadable("an unknown permutation")
    world, x, y = permutations[title]
    answers, waited, shown = [], False, None
    for name, chunk in re.findall(r"^step (\w+): (.*?)(?=^step |\Z)", text, re.MULTILINE | re.DOTALL):
        if chunk.rstrip().endswith("<waiting ...>"):
            if not name.startswith("s2_calls_"):
                raise Unreadable(f"{name} waits")
            waited = not world.startswith("prepared")  # there it is only told to say so
        elif name.startswith(("s1_calls_", "s2_calls_")):
            answers.append(told(chunk))
        elif name == "shows":
            shown = re.search(r"^effects *\|barrier *\n-+\+-+\n(.*?) *\|(.*?) *\n\(1 row\)$", chunk,
                              re.MULTILINE)
        elif re.search(r"^(ERROR|FATAL)", chunk, re.MULTILINE):
            raise Unreadable(f"{name}: {chunk}")
    if shown is None or len(answers) != title.count("_calls_"):
        raise Unreadable("steps are missing")
    return Outcome(door, trans_type, level, world, x, answers[0], y, answers[1], waited,
                   answers[2] if len(answers) > 2 else "-", shown.group(1).split(), shown.group(2))


def read(path, door, trans_type, level):
    """The outcomes in one result file, in its order."""
    permutations = {re.sub(r"\(.*?\)", "", " ".join(steps(pattern, x, y, level))): (world, x, y)
                    for x, y in pairs(trans_type)
                    for world, pattern in worlds(trans_type).items()}
    with open(path) as file:
        head, *parts = file.read().split("\nstarting permutation: ")
    if head.strip() != "Parsed test spec with 3 sessions":
        raise Unreadable(head)
    for part in parts:
        try:
            yield outcome(door, trans_type, level, permutations, part)
        except Unreadable as fault:
            raise Unreadable(f"{part.splitlines()[0]}: {fault}") from None


def agrees(observed, expected):
    """Faults: lines of one side only. Counted, for no line may be there twice either."""
    mine, theirs = Counter(o.line() for o in observed), Counter(expected)
    for line in sorted((theirs - mine).elements()):
        yield "core:       " + line
    for line in sorted((mine - theirs).elements()):
        yield "PostgreSQL: " + line
    if not expected:
        yield "the enumeration has no line for it"


# Promises about every world. Each yields the outcomes that break it.

def an_effect_happens_at_most_once(outcomes):
    return (o for o in outcomes if max(Counter(o.effects).values(), default=0) > 1)


def an_effect_is_there_exactly_when_its_caller_was_told_so(outcomes):
    for o in outcomes:
        told_so = Counter(op for op, answer in o.said() if answer in ("ran", "run"))
        if told_so != Counter(o.effects):
            yield o


def no_undone_effect_stays_or_comes_back(outcomes):
    for o in outcomes:
        undone = [op for op, _ in o.said() if op in UNDOES]
        if any(UNDOES[op] in o.effects and op not in o.effects for op in undone):
            yield o


def nothing_is_undone_that_was_not_done(outcomes):
    return (o for o in outcomes
            if any(UNDOES[op] not in o.effects for op in o.effects if op in UNDOES))


def a_message_is_what_dtm_was_told(outcomes):
    for o in outcomes:
        answers = {answer for op, answer in o.said() if op == "query"}
        if answers and answers != {"true" if "msg" in o.effects else "false"}:
            yield o


def read_committed_never_has_to_try_again(outcomes):
    return (o for o in outcomes if o.level == LEVELS[0] and "40001" in (o.first, o.second, o.third))


def trying_again_after_40001_succeeds(outcomes):
    return (o for o in outcomes if o.world != TAKES_BACK and
            ("40001" in (o.first, o.third) or (o.second == "40001" and o.third == "-")))


def worlds_that_wait_and_that_fail_were_seen(outcomes):
    """Guards the promises above against tests that test nothing."""
    outcomes = list(outcomes)
    for level in LEVELS:
        here = [o for o in outcomes if o.level == level]
        if not any(o.waited for o in here):
            yield f"nobody waited at {level}"
        if level != LEVELS[0] and not any(o.second == "40001" for o in here):
            yield f"no 40001 at {level}"


PROMISES = (an_effect_happens_at_most_once, an_effect_is_there_exactly_when_its_caller_was_told_so,
            no_undone_effect_stays_or_comes_back, nothing_is_undone_that_was_not_done,
            a_message_is_what_dtm_was_told, read_committed_never_has_to_try_again,
            trying_again_after_40001_succeeds, worlds_that_wait_and_that_fail_were_seen)


def specs_are_generated():
    for name, door, trans_type, level in all_specs(["call"]):
        try:
            with open(os.path.join(HERE, "specs", name + ".spec")) as file:
                if file.read() != generate.spec(door, trans_type, level):
                    yield f"specs/{name}.spec is not what generate.py writes"
        except OSError as error:
            yield str(error)


def report(name, faults):
    """Prints a TAP line; returns whether it held."""
    try:
        faults = [f.line() if isinstance(f, Outcome) else f for f in faults]
    except (Unreadable, OSError) as error:
        faults = [str(error)]
    print(f"{'not ok' if faults else 'ok'} - {name}", flush=True)
    for fault in faults[:20]:
        print("    " + fault)
    return not faults


def check(results, specs, enumeration, label):
    """Holds the result files of these specs against both judges; returns whether all held."""
    good, outcomes = True, []
    for name, door, trans_type, level in specs:
        prefix = f"{door} | {trans_type} | {level} | "
        try:
            observed = list(read(os.path.join(results, name + ".out"), door, trans_type, level))
        except (Unreadable, OSError) as error:
            good &= report(f"{label}: {name} can be read", [str(error)])
            continue
        outcomes += observed
        expected = [line for line in enumeration if line.startswith(prefix)]
        good &= report(f"{label}: {name}: {len(expected)} worlds as core enumerates them",
                       agrees(observed, expected))
    if len(specs) > 1:
        for promise in PROMISES:
            good &= report(f"{label}: {promise.__name__.replace('_', ' ')}, "
                           f"{len(outcomes)} worlds", promise(outcomes))
    return good
