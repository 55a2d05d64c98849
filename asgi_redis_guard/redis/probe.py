"""Looks, while a breaker is open, whether its Redis is back: in the background, one attempt after the other.

It owns one task and the pauses; what an attempt is, and what is cut before the first, its owner knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ..errors import RedisUnavailable
from .backoff import Backoff
from .breaker import Breaker

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds between the probes of an open breaker. A server that comes back and does not serve goes on where it was.
_BACKOFF = {"first": 0.1, "most": 2.0, "steady": 10.0}


class Probe:
    """Begins when the breaker opens. `attempt` raises `RedisUnavailable`, or the breaker is closed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: str,
        *,
        cut: Callable[[str], None],
        attempt: Callable[[], Awaitable[None]],
    ) -> None:
        self.breaker = Breaker(target, on_open=self._start)
        self._loop = loop
        self._cut = cut
        self._attempt = attempt
        self._backoff = Backoff(**_BACKOFF)
        self._back_since = 0.0
        self._news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def hurry(self) -> None:
        """There is reason to think that it is back: try now."""
        self._news.set()

    def _start(self) -> None:
        if self.task is None or self.task.done():
            self.task = self._loop.create_task(self._until_back(), name="asgi-redis-guard probe")

    async def _pause(self, seconds: float) -> None:
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _until_back(self) -> None:
        self._cut(self.breaker.reason)
        self._backoff.lived(self._loop.time() - self._back_since)
        while self.breaker.is_open:
            await self._pause(self._backoff.next())
            try:
                await self._attempt()
            except RedisUnavailable as error:
                self.breaker.reason = str(error)
                logger.debug("Redis at %s is still away: %s", self.breaker.target, error)
            else:
                self._back_since = self._loop.time()
                self.breaker.close()
