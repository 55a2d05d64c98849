"""Refusals remembered for up to a second: a client that is over its limit costs no round trip meanwhile. Pure.

What is refused from here is counted, and told with the next request that asks: bans and statistics miss nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from .policy import LimitState


@dataclass(slots=True)
class Denial:
    """One refusal: at `since` (seconds, this host's clock), of a request of `cost` units, good until `until`.

    `states` are how the limits stood; None where a ban was the reason, which lasts for `wait` µs from `since`.
    """

    since: float
    until: float
    cost: int
    wait: int
    states: list[LimitState] | None
    hidden: int = 0

    def later(self, now: float) -> Denial:
        """Return it as it is by now."""
        passed = round((now - self.since) * 1_000_000)
        states = None
        if self.states is not None:
            states = [
                state._replace(
                    reset_after=max(1, state.reset_after - passed),
                    retry_after=0 if state.allowed else max(1, state.retry_after - passed),
                )
                for state in self.states
            ]
        return Denial(self.since, self.until, self.cost, max(1, self.wait - passed), states)


class Denials:
    """The refusals of one guard, by whatever they hang on; at most `most`, the oldest go first.

    How many were refused from here is known for `keep` seconds longer, for somebody's next request to tell.
    """

    def __init__(self, seconds: float, most: int, keep: float = 0) -> None:
        self._seconds = seconds
        self._most = most
        self._keep = keep
        self.held: OrderedDict[tuple[Any, bytes], Denial] = OrderedDict()

    def find(self, plan: object, hashed: bytes, cost: int, now: float) -> Denial | None:
        """Return the refusal that a request of `cost` units would meet again, counted as told of from here."""
        denial = self.held.get((plan, hashed))
        # A clock that was set back must not make a second longer.
        if denial is None or not denial.since <= now < denial.until or cost < denial.cost:
            return None
        denial.hidden += 1
        return denial.later(now)

    def add(self, plan: object, hashed: bytes, denial: Denial) -> None:
        """Remember a refusal for as long as it holds, a second at most."""
        if not self._seconds:
            return
        former = self.held.pop((plan, hashed), None)
        denial.until = denial.since + min(self._seconds, denial.wait / 1_000_000)
        denial.hidden = former.hidden if former is not None else 0
        self.held[plan, hashed] = denial
        if len(self.held) > self._most:
            self.held.popitem(last=False)

    def take(self, plan: object, hashed: bytes) -> int:
        """Forget what is remembered of somebody; return how many refusals nobody has been told of."""
        denial = self.held.pop((plan, hashed), None)
        return denial.hidden if denial is not None else 0

    def overdue(self, now: float, most: int = 50) -> list[tuple[bytes, int]]:
        """Forget what is over; return whose refusals nobody has been told of, and how many."""
        told: list[tuple[bytes, int]] = []
        while self.held and len(told) < most:
            (place, denial) = next(iter(self.held.items()))
            if denial.since <= now < denial.until + (self._keep if denial.hidden else 0):
                break
            del self.held[place]
            if denial.hidden:
                told.append((place[1], denial.hidden))
        return told

    def forget(self, hashed: bytes | None = None) -> None:
        """Forget the refusals of one identity, or all: a limit was changed, a count reset, a ban lifted."""
        for place in [place for place in self.held if hashed is None or place[1] == hashed]:
            del self.held[place]
