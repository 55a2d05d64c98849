"""What a limit is: so many requests in such a time, counted by one of the algorithms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from ..core.keys import Keys
from ..core.script import Operation, OperationKind, Reply
from .calendar import borders

Algorithm = Literal["gcra", "leaky", "fixed", "counter", "log", "calendar"]


def _kind(name: str) -> OperationKind:
    return OperationKind.load(__package__, f"{name}.lua")


#: How a request is counted, and how what it was counted as is set right later. A leaky bucket is a GCRA that waits.
KINDS: dict[str, OperationKind] = {name: _kind(name) for name in ("gcra", "fixed", "counter", "log", "calendar")}
SETTLES: dict[str, OperationKind] = {name: _kind(f"{name}_settle") for name in KINDS}
KINDS["leaky"], SETTLES["leaky"] = KINDS["gcra"], SETTLES["gcra"]

#: Which of a limit's numbers it takes to settle.
_SETTLED_BY = {
    "gcra": slice(0, 1),
    "leaky": slice(0, 1),
    "fixed": slice(1, 2),
    "counter": slice(1, 2),
    "log": slice(0, 2),
    "calendar": slice(1, 4),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` units in `period` seconds. `burst` is how many may come at once (GCRA), or wait (leaky bucket).

    `name` stands in the headers, `key_name` in the Redis key; the latter has no amount in it, so that a changed limit
    keeps what was used. A calendar quota is for a `unit` in `zone`; its period is nominal.
    """

    amount: int
    period: int
    algorithm: Algorithm
    burst: int
    name: str
    key_name: bytes
    unit: str = ""
    zone: ZoneInfo | None = None
    kind: OperationKind = field(init=False, repr=False)
    #: µs from one unit to the next at the sustained rate, rounded up (GCRA, leaky bucket).
    step: int = field(init=False, repr=False)
    _numbers: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        span = self.period * 1_000_000
        step = -(-span // self.amount)
        spaced = self.algorithm in ("gcra", "leaky")
        object.__setattr__(self, "kind", KINDS[self.algorithm])
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "_numbers", (step, step * self.burst) if spaced else (self.amount, span))

    @property
    def most(self) -> int:
        """Units that fit at most at once."""
        return self.burst if self.algorithm in ("gcra", "leaky") else self.amount

    def numbers(self, now: float) -> tuple[int, ...]:
        """Return what the script is told of the limit; `now` (seconds since the epoch) matters to calendars alone."""
        if self.zone is None:
            return self._numbers
        return (self.amount, *borders(self.unit, self.zone, now))

    def operation(self, keys: Keys, identity: bytes, cost: int = 1, now: float = 0.0) -> Operation:
        """Return the operation that counts a request of so many units for `identity`; of none, it only looks."""
        return Operation(self.kind, (keys.limit(self.key_name, identity),), (*self.numbers(now), cost))

    def settle(
        self, keys: Keys, identity: bytes, taken: int, reserved: int, actual: int, now: float = 0.0
    ) -> Operation:
        """Return what makes `actual` units of `reserved` ones that were counted at `taken` (µs, server's clock)."""
        numbers = (*self.numbers(now)[_SETTLED_BY[self.algorithm]], taken, reserved, actual)
        return Operation(SETTLES[self.algorithm], (keys.limit(self.key_name, identity),), numbers)


class LimitState(NamedTuple):
    """How one limit stands after a decision. Times in microseconds.

    `remaining` requests may come at once; in `reset_after` the quota is whole again; in `retry_after` this request
    would have fitted (0 if it did).
    """

    limit: Limit
    allowed: bool
    remaining: int
    reset_after: int
    retry_after: int


class LimitStanding(NamedTuple):
    """How one limit stands, for the app. Times in seconds.

    `remaining` units may come at once; in `reset_after` the quota is whole again; in `retry_after` a request like the
    one that was asked about would fit (0 if it does).
    """

    limit: Limit
    allowed: bool
    remaining: int
    reset_after: float
    retry_after: float


def standing(state: LimitState) -> LimitStanding:
    """Return a state as the app gets it."""
    limit, allowed, remaining, reset_after, retry_after = state
    return LimitStanding(limit, allowed, remaining, reset_after / 1_000_000, retry_after / 1_000_000)


def read_states(limits: Sequence[Limit], replies: Sequence[Reply], cost: int = 1) -> list[LimitState]:
    """Read what the program said of `limits`; what another limit's refusal kept from being counted is left over."""
    return [
        LimitState(limit, passed, values[0] + (not committed) * cost, values[1], values[2])
        for limit, (passed, committed, values) in zip(limits, replies, strict=True)
    ]


def seconds_up(microseconds: int) -> int:
    """Whole seconds, rounded up, at least 1: nobody is told to come back too early."""
    return -(-microseconds // 1_000_000) or 1


def most_restrictive(states: Sequence[LimitState]) -> LimitState:
    """Return the state that says the least: a violated limit with the longest wait, else the fewest remaining."""
    violated = [state for state in states if not state.allowed]
    if violated:
        return max(violated, key=lambda state: state.retry_after)
    return min(states, key=lambda state: state.remaining)
