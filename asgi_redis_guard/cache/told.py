"""A response that the cache had no part in says so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.responder import Head, Responder
from .status import Reason, append, forward

if TYPE_CHECKING:
    from .guard import ResponseCache


class Told(Responder):
    """Says in `Cache-Status` why the request went to the app."""

    __slots__ = ("_cache", "_detail", "_reason")

    def __init__(self, cache: ResponseCache, reason: Reason, detail: str | None) -> None:
        self._cache = cache
        self._reason = reason
        self._detail = detail

    def start(self, head: Head) -> None:
        """Add the field."""
        if self._cache.cache_status is not None:
            append(head.headers, forward(self._cache.cache_status, self._reason, detail=self._detail))
