"""A user's refresh families in plain Python: what their operations say, and what they leave in Redis.

Times are in µs where they are called `now`, else in ms. Keys are gone as the server has it: alive up to and including
their last millisecond.
"""

from dataclasses import dataclass, field

from asgi_redis_guard.jwt.service.families import FamilyLimits
from tests.conformance.clockwork import PASSED, Said

UNKNOWN, ROTATED, SAME, REUSED, REVOKED, EXPIRED = range(6)


@dataclass
class Family:
    """One record; a character of a text is a byte."""

    standing: str
    number: int
    gen: int
    born: int  # µs
    ends: int
    due: int
    turned: int
    replays: int
    by: str
    owner: str
    device: str
    session: str
    note: str
    why: str = ""
    expiry: int = 0

    def text(self) -> bytes:
        since = self.born // 1000
        era = "" if self.gen == self.born else self.gen
        numbers = [self.number, era, self.born, self.ends - since, self.due - since, self.turned - since, self.replays]
        words = [self.by, self.owner, self.device, self.session, len(self.note), self.note + self.why]
        return ":".join(map(str, [self.standing, *numbers, *words])).encode("latin-1")


@dataclass
class UserModel:
    """The families of one user, by their names."""

    families: dict[str, Family] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    index_expiry: int = 0
    gen: tuple[int, str, int] | None = None  # the generation, who made it, when it is forgotten

    def look(self, now: int) -> None:
        """Let go what is over."""
        stamp = now // 1000
        self.families = {name: one for name, one in self.families.items() if stamp <= one.expiry}
        if stamp > self.index_expiry:
            self.index = {}
        if self.gen is not None and stamp > self.gen[2]:
            self.gen = None

    @property
    def current(self) -> int:
        return 0 if self.gen is None else self.gen[0]

    def enter(self, name: str, stamp: int, life: int) -> None:
        expiry = self.index_expiry if self.index else 0
        self.index[name] = stamp + life
        self.index = {one: ends for one, ends in self.index.items() if ends >= stamp}
        self.index_expiry = max(expiry, stamp + life)
        self.families[name].expiry = stamp + life

    def begin(self, now: int, name: str, attempt: str, limits: FamilyLimits, family: Family) -> Said:
        """`family` has what does not depend on time."""
        self.look(now)
        found, stamp = self.families.get(name), now // 1000
        if found is not None:
            again = found.standing == "a" and found.by == attempt
            return Said(PASSED, (1, found.gen, found.due, found.ends) if again else (0, 0, 0, 0))
        family.gen = now if self.gen is None else self.current
        family.born, family.turned, family.by = now, stamp, attempt
        family.ends = stamp + limits.lifetime
        family.due = min(stamp + limits.idle, family.ends)
        self.families[name] = family
        self.enter(name, stamp, family.due - stamp)
        return Said(PASSED, (1, family.gen, family.due, family.ends))

    def rotate(self, now: int, name: str, presented: int, attempt: str, limits: FamilyLimits) -> Said:
        self.look(now)
        one, stamp = self.families.get(name), now // 1000
        if one is None:
            return Said(PASSED, (UNKNOWN, *[0] * 10))
        was, ends = one.due, min(one.ends, one.born // 1000 + limits.lifetime)
        till = min(was, one.turned + limits.idle, ends)
        verdict = self._verdict(one, presented, attempt, limits, stamp, till)
        over = (one.standing.encode(), one.why.encode()) if one.standing != "a" else (0, 0)
        if verdict == ROTATED and presented >= one.number:
            till = min(stamp + limits.idle, ends)
            one.number, one.replays, one.turned, one.by = presented + 1, 0, stamp, attempt
            one.ends, one.due = ends, till
            self.enter(name, stamp, till - stamp)
        elif verdict == SAME:
            one.replays, one.ends, one.due = one.replays + 1, ends, till
            self.enter(name, stamp, till - stamp)
        elif verdict == REUSED and one.standing == "a":
            one.standing, one.by = "x", attempt
            self.enter(name, stamp, limits.keep)
        elif verdict == EXPIRED:
            del self.families[name]
            self.index.pop(name, None)
        return Said(
            PASSED,
            (verdict, one.number, one.gen, was, till, ends, one.born, one.replays, one.note.encode("latin-1"), *over),
        )

    def _verdict(self, one: Family, presented: int, attempt: str, limits: FamilyLimits, stamp: int, till: int) -> int:
        if one.standing == "x" and one.by == attempt:
            return REUSED
        if one.standing != "a" or self.current > one.gen:
            return REVOKED
        if stamp >= till:
            return EXPIRED
        if presented >= one.number or (presented == one.number - 1 and one.by == attempt):
            return ROTATED
        in_time = stamp - one.turned < limits.grace and one.replays < limits.most_replays
        return SAME if presented == one.number - 1 and in_time else REUSED

    def revoke(self, now: int, name: str, attempt: str, limits: FamilyLimits, why: str) -> Said:
        self.look(now)
        one = self.families.get(name)
        if one is None or (one.standing != "a" and one.by != attempt):
            return Said(PASSED, (0, 0, 0))
        if one.standing == "a":
            one.standing, one.by, one.why = "f", attempt, why
            self.enter(name, now // 1000, limits.keep)
        return Said(PASSED, (1, one.due, one.note.encode("latin-1")))

    def sweep(self, now: int, cause: str, what: str, attempt: str, limits: FamilyLimits, why: str) -> Said:
        self.look(now)
        stamp, handles, before, latest = now // 1000, [], [], max(now, self.current)
        marked = []
        for name, _ in sorted(self.index.items(), key=lambda pair: (pair[1], pair[0].encode())):
            one = self.families.get(name)
            if one is None or self.index[name] < stamp:
                continue
            latest = max(latest, one.gen)
            meant = {"u": True, "d": one.device == what, "s": one.session == what, "o": name != what}[cause]
            if one.standing == "a" and meant:
                one.standing, one.by, one.why = cause, attempt, why
                marked.append(name)
            elif (one.standing, one.by) != (cause, attempt):
                before += [name.encode()] * (one.standing == cause and meant)
                continue
            handles += [name.encode(), one.due]
        if cause == "u" and (self.gen is None or self.gen[1] != attempt):
            self.gen = (latest + 1, attempt, stamp + limits.lifetime + limits.keep)
        for name in marked:
            self.enter(name, stamp, limits.keep)
        return Said(PASSED, (self.current, handles, before))

    def content(self) -> dict[str, bytes]:
        """The records that are there."""
        return {name: one.text() for name, one in self.families.items()}
