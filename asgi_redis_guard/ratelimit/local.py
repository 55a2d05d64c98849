"""Limits inside this process, for as long as Redis is away: the `limits` package with a bound on its memory.

Each process counts for itself, in fixed windows, so that N workers admit up to N times the limit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from .policy import Limit, LimitState


class LocalLimits:
    """Decide on limits in memory; at most `max_keys` identities are remembered, the least recently seen go first."""

    def __init__(self, limits: Sequence[Limit], *, max_keys: int = 10_000) -> None:
        self._items: dict[Limit, RateLimitItem] = {
            limit: RateLimitItemPerSecond(limit.amount, limit.period, namespace=limit.key_name.decode())
            for limit in limits
        }
        self._max_keys = max_keys
        self._storage = MemoryStorage()
        self._strategy = FixedWindowRateLimiter(self._storage)
        self._seen: OrderedDict[tuple[Limit, bytes], None] = OrderedDict()

    def decide(self, wanted: Sequence[tuple[Limit, bytes]]) -> list[LimitState]:
        """Count one request against every limit of `wanted`, each with its identity: all of them or none."""
        calls = [(limit, self._items[limit], identity.decode("latin-1")) for limit, identity in wanted]
        fits = [self._strategy.test(item, identity) for _, item, identity in calls]
        if all(fits):
            for _, item, identity in calls:
                self._strategy.hit(item, identity)
        for limit, whose in wanted:
            self._remember(limit, whose)
        return [
            self._state(limit, item, identity, fit) for (limit, item, identity), fit in zip(calls, fits, strict=True)
        ]

    def _state(self, limit: Limit, item: RateLimitItem, identity: str, fits: bool) -> LimitState:
        reset_time, remaining = self._strategy.get_window_stats(item, identity)
        reset_after = max(1, round((reset_time - time.time()) * 1_000_000))  # limits counts by the wall clock
        return LimitState(limit, fits, max(0, remaining), reset_after, 0 if fits else reset_after)

    def _remember(self, limit: Limit, identity: bytes) -> None:
        self._seen[limit, identity] = None
        self._seen.move_to_end((limit, identity))
        while len(self._seen) > self._max_keys:
            (old, whose), _ = self._seen.popitem(last=False)
            self._storage.clear(self._items[old].key_for(whose.decode("latin-1")))
