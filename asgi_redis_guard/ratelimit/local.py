"""Limits inside this process, for as long as Redis is away. Pure: the time is given.

Each process counts for itself, in fixed windows, its share of the limit. What it has counted is told to Redis once that
is back, so that nobody has the whole quota again. The `limits` package has such a storage too; it starts a thread for
each guard and reads the wall clock, so only its notation is used here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .plan import Plan
from .policy import Limit, LimitState

#: The end of a window, in seconds since the epoch, and how many units it has admitted.
_Window = tuple[float, int]

#: Seconds in which whoever has told Redis should have heard that it is done.
_PATIENCE = 0.5


@dataclass(slots=True)
class _Held:
    """The windows of one identity, and until when nobody else is to tell Redis of them."""

    windows: list[_Window]
    telling: float = 0.0


class LocalLimits:
    """Decide in memory; at most `max_keys` identities are remembered, the least recently seen go first.

    `workers`: how many processes share the limits; each admits that part of them, at least one unit.
    """

    def __init__(self, *, max_keys: int = 10_000, workers: int = 1) -> None:
        self._max_keys = max_keys
        self._workers = workers
        self.windows: OrderedDict[tuple[tuple[bytes, ...], bytes], _Held] = OrderedDict()

    def decide(self, plan: Plan, identity: bytes, cost: int, now: float) -> list[LimitState]:
        """Count a request of so many units of `identity` against every limit: against all of them or none."""
        windows = self._windows(plan, identity, now)
        fits = self._fit(plan, windows, cost)
        counted = cost if all(fits) else 0
        held = self.windows.pop((plan.key, identity), None) or _Held([])
        held.windows = windows = [(end, used + counted) for end, used in windows]
        self.windows[plan.key, identity] = held
        if len(self.windows) > self._max_keys:
            self.windows.popitem(last=False)
        return self._states(plan, windows, fits, now)

    def look(self, plan: Plan, identity: bytes, cost: int, now: float) -> list[LimitState]:
        """Tell what `decide` would, and count nothing; `remaining` is what is left before it."""
        windows = self._windows(plan, identity, now)
        return self._states(plan, windows, self._fit(plan, windows, cost), now)

    def settle(self, plan: Plan, identity: bytes, reserved: int, actual: int, taken: float) -> bool:
        """Make `actual` units of `reserved` ones that were counted at `taken`; false if nothing is known of them.

        A window that was begun since gets nothing back: it has not counted them.
        """
        held = self.windows.get((plan.key, identity))
        if held is not None:
            change = actual - reserved
            held.windows = [
                (end, max(0, used + change) if change > 0 or end <= taken + limit.period else used)
                for limit, (end, used) in zip(plan.limits, held.windows, strict=True)
            ]
        return held is not None

    def owed(self, plan: Plan, identity: bytes, now: float) -> list[int]:
        """Return for each limit the units to tell Redis of now; empty for none, or where somebody else is telling."""
        held = self.windows.get((plan.key, identity))
        if held is None or now < held.telling <= now + _PATIENCE:
            return []
        owed = [used if end > now else 0 for end, used in held.windows]
        if not any(owed):
            return []
        held.telling = now + _PATIENCE
        return owed

    def forget(self, hashed: Callable[[bytes], bool]) -> None:
        """Forget identities: Redis has been told, or they are to begin anew."""
        for place in [place for place in self.windows if hashed(place[1])]:
            del self.windows[place]

    def told(self, plan: Plan, identity: bytes, owed: Sequence[int] | None) -> None:
        """Forget what Redis has been told, and nothing that was counted meanwhile; None: it could not be told."""
        held = self.windows.get((plan.key, identity))
        if held is None:
            return
        held.telling = 0.0
        if owed is not None:
            held.windows = [(end, max(0, used - units)) for (end, used), units in zip(held.windows, owed, strict=True)]
            if not any(used for _, used in held.windows):
                del self.windows[plan.key, identity]

    def _windows(self, plan: Plan, identity: bytes, now: float) -> list[_Window]:
        held = self.windows.get((plan.key, identity))
        windows = held.windows if held is not None else [(now, 0)] * len(plan.limits)
        return [_window(limit, end, used, now) for limit, (end, used) in zip(plan.limits, windows, strict=True)]

    def _fit(self, plan: Plan, windows: list[_Window], cost: int) -> list[bool]:
        return [used + cost <= self._share(limit) for limit, (_, used) in zip(plan.limits, windows, strict=True)]

    def _states(self, plan: Plan, windows: list[_Window], fits: list[bool], now: float) -> list[LimitState]:
        return [
            _state(limit, self._share(limit) - used, end, fit, now)
            for limit, (end, used), fit in zip(plan.limits, windows, fits, strict=True)
        ]

    def _share(self, limit: Limit) -> int:
        return max(1, limit.amount // self._workers)


def _window(limit: Limit, end: float, used: int, now: float) -> _Window:
    """The window that `now` is in; one that ends later than a new one would was begun by a clock that was wrong."""
    return (end, used) if now < end <= now + limit.period else (now + limit.period, 0)


def _state(limit: Limit, remaining: int, end: float, fits: bool, now: float) -> LimitState:
    reset_after = max(1, round((end - now) * 1_000_000))
    return LimitState(limit, fits, remaining, reset_after, 0 if fits else reset_after)
