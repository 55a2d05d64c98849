"""What a cache tells of what it does: events for hooks, `Cache-Status` for clients, warnings for the log. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from ..core.asgi import Headers
from ..core.exchange import Exchange
from ..core.warnings import Warnings
from ..observability.events import emit
from .events import CacheEvent, CacheHook, CacheOutcome
from .policy import CachePolicy, name_of
from .status import Reason, append, forward

_warnings = Warnings(logging.getLogger("asgi_redis_guard.cache"))


class Telling:
    """How one guard tells: as `cache` in events, as `field` in `Cache-Status`, or with None in no such field."""

    __slots__ = ("_cache", "_whose", "field", "hooks")

    def __init__(self, cache: str, field: str | None, hooks: Iterable[CacheHook], whose: str) -> None:
        self._cache = cache
        self._whose = whose
        self.field = field
        self.hooks = tuple(hooks)

    def event(
        self,
        exchange: Exchange,
        outcome: CacheOutcome,
        reason: str = "",
        *,
        status: int | None = None,
        size: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Give an event to the hooks."""
        if self.hooks:
            event = CacheEvent(self._cache, outcome, exchange.method, exchange.path, reason, status, size, seconds)
            emit(self.hooks, event)

    def forwarded(self, headers: Headers, reason: Reason, *, stored: bool = False, detail: str | None = None) -> None:
        """Say in a response's head why its request went to the app, and whether the response is stored."""
        if self.field is not None:
            append(headers, forward(self.field, reason, stored=stored, detail=detail))

    def warn(self, scope: Any, sentence: str, policy: CachePolicy | None) -> None:
        """Warn once for a route; where neither a decorator nor the framework says which it is, once for all."""
        endpoint = (scope or {}).get("endpoint")
        where = policy.where if policy is not None else ""
        where = where or (self._whose if endpoint is None else name_of(endpoint))
        _warnings.tell("not-cached", f"{where}: {sentence}")
