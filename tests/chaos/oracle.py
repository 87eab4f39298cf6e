"""What must be true when all is over. Each rule yields (gid or None, what is wrong)."""
from collections import Counter, defaultdict
from datetime import datetime, timezone

from director import WEIGHTS

# How many a run must have seen to be worth its name.
ENOUGH = {("in SQL", "saga", "succeed"): 20, ("in SQL", "saga", "failed"): 20, ("in SQL", "msg", "succeed"): 20,
          ("over HTTP", "saga", "succeed"): 20, ("over HTTP", "saga", "failed"): 10,
          ("over HTTP", "msg", "succeed"): 10, ("over HTTP", "msg", "failed"): 5,
          ("over HTTP", "tcc", "succeed"): 5, ("over HTTP", "tcc", "failed"): 5}
# Seconds: what a call may take that left before an order, and what it takes to be heard by a coordinator that may be
# frozen. Some pauses of the director are longer.
LATE = 8.0
FORWARD = {"saga": "action", "msg": "action", "tcc": "try"}
BACK = {"saga": "compensate", "msg": None, "tcc": "cancel"}
# What may be called of a transaction that ends so; op msg is the question whether a message is to be sent.
OPS = {("saga", "succeed"): {"action"}, ("msg", "succeed"): {"action", "msg"}, ("msg", "failed"): {"msg"},
       ("tcc", "succeed"): {"try", "confirm"}, ("tcc", "failed"): {"try", "cancel"}}


def clock(seconds):
    """As the server log says it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%H:%M:%S.%f")


class Oracle:
    def __init__(self, town, clients, callers, director, unguarded):
        self.town, self.director, self.unguarded = town, director, unguarded
        self.status = dict(town.main.sql("select gid, status from dtm.trans"))
        self.transfers = {gid: (kind, banks, serial) for gid, kind, banks, serial in
                          town.main.sql("select gid, kind, banks, serial from transfer")}
        self.over_http = {gid for c in callers for gid in c.plans}
        self.transfers |= {gid: plan for c in callers for gid, plan in c.plans.items()}
        self.book = {gid: word for c in clients for gid, word in c.book.items()}
        self.effects = defaultdict(list)   # gid: [(bank, branch, op)], in order per bank
        self.called = defaultdict(list)    # gid: [(time, branch, op)] as they arrived
        self.handled = defaultdict(list)   # gid: [(time, branch, op)] whose work was done, or found done
        self.faults, self.verdicts, self.errors = Counter(), Counter(), Counter()
        for bank in town.banks:
            for gid, branch, op in bank.effects():
                self.effects[gid].append((bank.name, branch, op))
            self.read_trace(bank)

    def read_trace(self, bank):
        for time, gid, branch, op, what, detail in bank.records():
            if what == "arrived":
                self.called[gid].append((time, branch, op))
                self.faults[detail] += 1
            elif what == "verdict":
                self.verdicts[bank.kind, detail] += 1
                if detail != "refused":
                    self.handled[gid].append((time, branch, op))
            elif what == "error":
                self.errors[detail.split()[0]] += 1

    def rules(self):
        """Name and rule; with an unguarded bank only what does not depend on it."""
        independent = [
            ("every acknowledged submit is there and final (P1)", self.acknowledged),
            ("business row and transaction are one commit (P1, P2)", self.one_commit),
            ("what was rolled back left no row and was never called (P2)", self.rolled_back),
            ("what is decided stays decided: nothing was called that does not fit the end (P4)", self.one_decision),
            ("what a client submitted or the query confirmed is done, and nothing else (P1, P4)", self.two_phases),
            ("serial sagas go forward in order and back in reverse order (P6)", self.order),
            ("an order holds until it is taken back (P4)", self.orders_hold),
            ("nothing is paused, prepared or in need of attention", self.nothing_left),
            ("the server logs are clean (P14)", self.logs),
        ]
        if self.unguarded:
            return independent + [("double effects are found, only where the barrier is off", self.detected)]
        return independent + [
            ("an effect happens at most once per gid, branch and op (P3)", self.at_most_once),
            ("what succeeded has all its effects, what failed has undone them (P3, P6)", self.complete),
            ("the sum of money is constant", self.money),
            ("the run was worth its name", self.enough),
        ]

    # --- rules --------------------------------------------------------------------------------------

    def acknowledged(self):
        for gid, word in self.book.items():
            if word in ("acknowledged", "prepared") and self.status.get(gid) not in ("succeed", "failed"):
                yield gid, f"{word}, but {self.status.get(gid, 'vanished')}"

    def one_commit(self):
        for gid in (self.transfers.keys() ^ self.status.keys()) - self.over_http:
            yield gid, "a transaction without business row" if gid in self.status else "a business row alone"

    def rolled_back(self):
        for gid, word in self.book.items():
            if word == "rolled back" and (gid in self.status or gid in self.called or gid in self.effects):
                yield gid, "rolled back, but it is there or was called"
        for gid in (self.called.keys() | self.effects.keys()) - self.status.keys():
            yield gid, "was called, but nobody committed it"

    def one_decision(self):
        for gid, (kind, _, _) in self.transfers.items():
            status, ops = self.status.get(gid), {op for _, _, op in self.called[gid]}
            if kind == "msg" and status == "failed" and gid not in self.over_http:
                yield gid, "the message of a commit failed"
            missed = status == "succeed" and not ops & {"action", "confirm"}
            if missed or not ops <= OPS.get((kind, status), ops):
                yield gid, f"{status}, and was called with {ops}"

    def two_phases(self):
        for gid in self.over_http:
            kind, status = self.transfers[gid][0], self.status.get(gid)
            if kind != "saga" and self.book[gid] == "acknowledged" and status != "succeed":
                yield gid, f"its submit was acknowledged, but {status}"
            committed = any(op == "msg" for _, _, op in self.effects[gid])
            if kind == "msg" and committed != (status == "succeed"):
                yield gid, f"{status}, and its local transaction is {'' if committed else 'not '}there"

    def order(self):
        """Before a call of the next step first arrives, one of the step before must have been handled."""
        for gid, (_, banks, serial) in self.transfers.items():
            if not serial or gid not in self.called:
                continue
            first, done = {}, {}
            for time, branch, op in self.called[gid]:
                first[branch, op] = min(time, first.get((branch, op), time))
            for time, branch, op in self.handled[gid]:
                done[branch, op] = min(time, done.get((branch, op), time))
            branches = [f"{n:02}" for n in range(1, len(banks) + 1)]
            undone = [b for b in branches if (b, "compensate") in first]
            for op, sequence in (("action", branches), ("compensate", undone[::-1])):
                for before, after in zip(sequence, sequence[1:]):
                    if (after, op) in first and not done.get((before, op), 1e18) <= first[after, op]:
                        yield gid, f"{op} {after} was called before {before} was done"
            if undone and undone != branches[:len(undone)]:
                yield gid, f"only {undone} were undone"

    def orders_hold(self):
        for params, text in self.director.overruled:
            yield params[0] if params and params[0] in self.status else None, text
        # What had not left when a bank was paused leaves after the pause: calls under way then are over by their
        # timeout, and nothing arrives between that and the end of the pause.
        for host, begin, end in self.director.quiet:
            for bank in self.town.banks:
                if host not in (bank.host, None):
                    continue
                for time, gid, branch, op, what, _ in bank.records():
                    if what == "arrived" and op != "try" and begin + LATE < time < end:  # clients call try themselves
                        yield gid, f"{op} {branch} reached {bank.name} {time - begin:.1f} s after it was paused"

    def at_most_once(self):
        for gid, effects in self.effects.items():
            for effect, count in Counter(effects).items():
                if count > 1:
                    yield gid, f"{count} times: {effect}"

    def complete(self):
        for gid, (kind, banks, _) in self.transfers.items():
            status = self.status.get(gid)
            done = [(branch, op) for _, branch, op in self.effects[gid] if op != "msg"]
            forward, back = ({b for b, op in done if op == ops[kind]} for ops in (FORWARD, BACK))
            confirmed = {b for b, op in done if op == "confirm"}
            everything = {f"{n:02}" for n in range(1, len(banks) + 1)}
            complete = forward == everything and not back and confirmed == (everything if kind == "tcc" else set())
            if status == "succeed" and not complete:
                yield gid, f"succeeded with {sorted(done)} of {len(banks)}"
            if status == "failed" and (forward != back or confirmed):
                yield gid, f"failed and left {sorted(done)}"
            for branch in forward & back:
                if done.index((branch, FORWARD[kind])) > done.index((branch, BACK[kind])):
                    yield gid, f"{branch} had its effect after it was undone"

    def money(self):
        change = self.town.money() - self.town.start_money()
        if change:
            yield None, f"it changed by {change}"

    def detected(self):
        double = list(self.at_most_once())
        blind = [b.name for b in self.town.banks if b.kind == "none"]
        if not double:
            yield None, "no double effect was found"
        for gid, text in double:
            if not any(name in text for name in blind):
                yield gid, text

    def nothing_left(self):
        for gid, in self.town.main.sql("select gid from pg_prepared_xacts"):
            yield None, f"prepared: {gid}"
        for row in self.town.main.sql("select * from dtm.attention"):
            yield None, f"attention: {row}"
        for row in self.town.main.sql("select kind, name from dtm.control"):
            yield None, f"order: {row}"

    def logs(self):
        for line in self.town.bad_log_lines():
            yield None, line

    def enough(self):
        for (way, kind, end), least in ENOUGH.items():
            if (found := self.outcomes()[way, kind, end]) < least:
                yield None, f"only {found} times {kind} {end} {way}"
        words = Counter(word for (_, word), count in self.verdicts.items() for _ in range(count))
        for wanted in ("duplicate", "empty"):
            if not words[wanted]:
                yield None, f"no call was found to be {wanted}"
        for kind in WEIGHTS if self.director.seconds >= 120 else ():
            if not self.director.done[kind]:
                yield None, f"nothing was done under the name of: {kind}"

    # --- figures ------------------------------------------------------------------------------------

    def outcomes(self):
        """How many ended how, by the way that they came."""
        return Counter(("over HTTP" if gid in self.over_http else "in SQL", self.transfers[gid][0], status)
                       for gid, status in self.status.items() if gid in self.transfers)

    def figures(self):
        verdicts = defaultdict(dict)
        for (kind, word), count in sorted(self.verdicts.items()):
            verdicts[kind][word] = count
        for way in ("in SQL", "over HTTP"):
            yield f"transactions {way}", {f"{k} {s}": n for (w, k, s), n in sorted(self.outcomes().items()) if w == way}
            told = Counter(word for gid, word in self.book.items() if (gid in self.over_http) == (way == "over HTTP"))
            yield f"told to the clients {way}", told
        yield "calls", Counter(op for calls in self.called.values() for _, _, op in calls)
        yield "faults", dict(self.faults.most_common())
        yield from ((f"barrier {kind}", words) for kind, words in verdicts.items())
        yield "the banks' databases said no", dict(self.errors)

    def evidence(self, gids):
        for gid in gids:
            yield f"--- {gid}: {self.book.get(gid)}, {self.status.get(gid)}, {self.transfers.get(gid)}"
            yield from (str(r[0]) for r in self.town.main.sql("select dtm_explain(%s)", gid) if gid in self.status)
            lines = [(r[0], bank.name, *r[2:]) for bank in self.town.banks for r in bank.records() if r[1] == gid]
            yield from (" ".join((clock(line[0]), *line[1:])) for line in sorted(lines))
