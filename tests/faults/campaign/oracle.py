"""What callers were told, and whether what they are told later agrees with it: no wrong answer, whatever happens.

Law: judges what can be seen from outside alone. What a fault may take away is named before (`excused`) and counted
apart; nothing else is ever forgiven.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import inf

#: The kinds of wrong answers, as the table of a run names them.
TOKEN, OTHER, LIMIT, SESSION, FENCE, LOCK, TWICE = (
    "a revoked token accepted",
    "an answer that is not one's own",
    "a limit exceeded",
    "an acknowledged write gone",
    "two holders with one fence",
    "two holders at a time",
    "a payment taken twice",
)


#: Seconds after which a replica surely has what its primary has acknowledged.
REPLICATED = 1.0


class Oracle:
    """The records of all callers, and what was found wrong. `recent`: of what is lost, only the last can be excused.

    `stale`: seconds within which what a mirror says may be what was so before.
    """

    def __init__(self, excused: Iterable[str] = (), *, recent: bool = False, stale: float = 0.0) -> None:
        self._stale = stale
        self.excused = frozenset(excused)
        self.wrong: list[str] = []
        self.lost: Counter[str] = Counter()
        #: Tokens whose revocation was acknowledged, and when.
        self.revoked: dict[str, float] = {}
        self._recent = recent
        self._began = self._ended = inf
        self._fences: defaultdict[str, list[int]] = defaultdict(list)
        self._inside: defaultdict[str, set[int]] = defaultdict(set)
        self._payments: defaultdict[str, int] = defaultdict(int)
        self._receipts: dict[str, bytes] = {}

    def fault_begins(self) -> None:
        """From now on something may be lost."""
        self._began = time.monotonic()

    def fault_ends(self) -> None:
        """What is acknowledged from now on must last."""
        self._ended = time.monotonic()

    def found(self, kind: str, what: str, known: float | None = None) -> None:
        """Note a wrong answer; `known` is when that was acknowledged which it contradicts."""
        now = time.monotonic()
        if kind == TOKEN and known is not None and now - known < self._stale:
            return
        first = self._began - REPLICATED if self._recent else -inf
        excused = kind in self.excused and now > self._began and (known is None or first < known < self._ended)
        if excused:
            self.lost[kind] += 1
        else:
            since = "" if known is None else f", acknowledged {now - known:.2f} s ago, {self._phase(now)}"
            self.wrong.append(f"{kind}: {what}{since}")

    def _phase(self, now: float) -> str:
        if now < self._began:
            return "before the fault"
        when, since = ("after its end", self._ended) if now > self._ended else ("into the fault", self._began)
        return f"{now - since:.2f} s {when}"

    # Locks.

    def enters(self, lock: str, fence: int) -> None:
        """Note that a handler runs under a lock, with its fence."""
        if fence in self._fences[lock]:
            self.found(FENCE, f"{lock} with {fence}")
        elif self._fences[lock] and fence < max(self._fences[lock]):
            self.found(FENCE, f"{lock}: {fence} after {max(self._fences[lock])}")
        if self._inside[lock]:
            self.found(LOCK, f"{lock}: {fence} beside {sorted(self._inside[lock])}")
        self._fences[lock].append(fence)
        self._inside[lock].add(fence)

    def leaves(self, lock: str, fence: int) -> None:
        """Note that it has ended."""
        self._inside[lock].discard(fence)

    # Payments under an idempotency key.

    def pays(self, key: str) -> int:
        """Note that a payment is carried out; return which one it is."""
        self._payments[key] += 1
        if key in self._receipts:
            self.found(TWICE, f"{key} after its receipt")
        return self._payments[key]

    def receipt(self, key: str, body: bytes) -> None:
        """Note a receipt; all for one key must be the same."""
        first = self._receipts.setdefault(key, body)
        if first != body:
            self.found(TWICE, f"{key}: {body!r} after {first!r}")


class Allowance:
    """What a limit of `burst` at once and one more each `every` seconds lets through, `times` over.

    `times` is its stated bound: 1 where requests are refused while Redis is away, 2 where the process counts by itself.
    """

    def __init__(self, oracle: Oracle, name: str, *, burst: int, every: float, times: int) -> None:
        self._oracle, self._name, self._burst, self._every, self._times = oracle, name, burst, every, times
        self._began = time.monotonic()
        self._passed = 0

    def passes(self) -> None:
        """Note one that got through."""
        self._passed += 1
        most = self._times * (self._burst + (time.monotonic() - self._began) / self._every + 1)
        if self._passed > most:
            self._oracle.found(LIMIT, f"{self._name}: {self._passed} passed where {most:.0f} may")
