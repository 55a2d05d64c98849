"""A plan: the limits that some requests are decided by together, and what is the same for all of these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core.asgi import Headers
from ..core.keys import Keys
from ..core.script import Operation, Replies
from .headers import HeaderStyle, limit_headers, passed_headers, policy_field, state_template
from .policy import Limit, LimitState, read_states


class Plan:
    """`limits`, decided all or nothing. `pattern` is that of the rule they stand under, None for those of all paths."""

    __slots__ = ("delays", "is_calendar", "is_fast", "key", "limits", "pattern", "policy", "style", "template")

    def __init__(self, limits: Sequence[Limit], style: HeaderStyle, pattern: str | None = None) -> None:
        self.limits = tuple(limits)
        self.pattern = pattern
        self.style = style
        #: What is the same for plans that share their counts.
        self.key = tuple(limit.key_name for limit in limits)
        #: Whether the time of the app is needed to tell which periods count.
        self.is_calendar = any(limit.zone is not None for limit in limits)
        #: The places of leaky buckets, whose requests wait for their turn.
        self.delays = tuple(place for place, limit in enumerate(limits) if limit.algorithm == "leaky")
        self.policy = policy_field(self.limits)
        self.template = state_template(self.limits)
        self.is_fast = style.is_default

    def operations(self, keys: Keys, identity: bytes, cost: int, now: float) -> list[Operation]:
        """Return what counts a request of so many units."""
        return [limit.operation(keys, identity, cost, now) for limit in self.limits]

    def headers(self, states: Sequence[LimitState], now: float) -> Headers:
        """Return the header fields for a response at `now` (seconds since the epoch)."""
        return limit_headers(self.policy, states, self.style, now)

    def passed_headers(self, flat: Sequence[int], now: float) -> Headers:
        """Return the same where all passed, from the program's own numbers."""
        if self.is_fast:
            return passed_headers(self.policy, self.template, flat)
        return self.headers(self.passed_states(flat), now)

    def passed_states(self, flat: Sequence[int]) -> list[LimitState]:
        """Return how the limits stand where all passed, from the program's own numbers."""
        return [LimitState(limit, True, *flat[4 * n + 1 : 4 * n + 4]) for n, limit in enumerate(self.limits)]

    def delay(self, states: Sequence[LimitState], cost: int) -> float:
        """Return the seconds until a request that passed has its turn in the slowest of its leaky buckets."""
        if not cost:  # it only looks
            return 0
        waits = [states[place].reset_after - states[place].limit.step * cost for place in self.delays]
        return max([0, *waits]) / 1_000_000

    def __repr__(self) -> str:
        limits = ", ".join(f"{limit.amount} per {limit.unit or f'{limit.period} s'}" for limit in self.limits)
        return limits if self.pattern is None else f"{self.pattern} {limits}"


class Asked(NamedTuple):
    """What a guard wants to find again about an ask: whose request is counted, and as what.

    `identity` are the parts of the key, `hashed` is their digest. `when` is the app's time, for calendars alone. In
    front of the limits' operations stand `before` others, with `width` values in the reply, and behind them those that
    tell what is `owed` for each limit.
    """

    plan: Plan
    keys: Keys
    identity: tuple[str | bytes, ...]
    hashed: bytes
    cost: int
    when: float
    before: int = 0
    width: int = 0
    owed: tuple[int, ...] = ()

    def states(self, replies: Replies) -> list[LimitState]:
        """Return how the limits stand."""
        limits = self.plan.limits
        return read_states(limits, list(replies)[self.before : self.before + len(limits)], self.cost)

    def is_told(self, replies: Replies) -> bool:
        """Tell whether Redis has taken what stands behind the limits: another guard's refusal may hold these back."""
        behind = list(replies)[self.before + len(self.plan.limits) :]
        return bool(behind) and behind[0].passed and behind[0].committed

    def passed_headers(self, replies: Replies, now: float) -> Headers:
        """Return the header fields for a response where all passed."""
        plan, flat = self.plan, replies.flat
        if self.width or self.owed:
            flat = flat[self.width : self.width + 4 * len(plan.limits)]
        return plan.passed_headers(flat, now)

    def settle(self, taken: int, actual: int) -> list[Operation]:
        """Return what makes `actual` units of those that were counted at `taken` (µs, server's clock)."""
        return self._settle(taken, self.cost, [actual] * len(self.plan.limits))

    def charge(self, units: Iterable[int]) -> list[Operation]:
        """Return what counts so many units for each limit, whether they fit or not."""
        return self._settle(0, 0, units)

    def _settle(self, taken: int, reserved: int, actual: Iterable[int]) -> list[Operation]:
        return [
            limit.settle(self.keys, self.hashed, taken, reserved, units, self.when)
            for limit, units in zip(self.plan.limits, actual, strict=True)
        ]
