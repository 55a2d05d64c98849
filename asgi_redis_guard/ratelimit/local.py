"""Limits inside this process, for as long as Redis is away. Pure: the time is given.

Each process counts for itself, in fixed windows, so that N workers admit up to N times the limit. The `limits` package
has such a storage too; it starts a thread for each guard and reads the wall clock, so only its notation is used here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .policy import Limit, LimitState


class LocalLimits:
    """Decide on limits in memory; at most `max_keys` identities are remembered, the least recently seen go first."""

    def __init__(self, limits: Sequence[Limit], *, max_keys: int = 10_000) -> None:
        self._limits = tuple(limits)
        self._max_keys = max_keys
        #: For each identity and limit the end of the window, in seconds since the epoch, and how many it has admitted.
        self._windows: OrderedDict[bytes, list[tuple[float, int]]] = OrderedDict()

    def decide(self, identity: bytes, cost: int, now: float) -> list[LimitState]:
        """Count a request of so many units of `identity` against every limit: against all of them or none."""
        held = self._windows.pop(identity, None) or [(now, 0)] * len(self._limits)
        windows = [_window(limit, end, used, now) for limit, (end, used) in zip(self._limits, held, strict=True)]
        fits = [used + cost <= limit.amount for limit, (_, used) in zip(self._limits, windows, strict=True)]
        counted = cost if all(fits) else 0
        windows = [(end, used + counted) for end, used in windows]
        self._windows[identity] = windows
        if len(self._windows) > self._max_keys:
            self._windows.popitem(last=False)
        return [
            _state(limit, end, used, fit, now)
            for limit, (end, used), fit in zip(self._limits, windows, fits, strict=True)
        ]


def _window(limit: Limit, end: float, used: int, now: float) -> tuple[float, int]:
    """The window that `now` is in; one that ends later than a new one would was begun by a clock that was wrong."""
    return (end, used) if now < end <= now + limit.period else (now + limit.period, 0)


def _state(limit: Limit, end: float, used: int, fits: bool, now: float) -> LimitState:
    reset_after = max(1, round((end - now) * 1_000_000))
    return LimitState(limit, fits, limit.amount - used, reset_after, 0 if fits else reset_after)
