"""All connections of one manager in one event loop: two lanes, the breaker with its probe, the pool, background work.

Lane 1 is the guards' alone; lane 2 carries what the app sends. Both belong to one node and share its breaker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool

from ..errors import RedisUnavailable
from .address import Address
from .breaker import Breaker
from .channel import Channel
from .client import make_pool
from .memory import MemoryChannel

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds before the first and at most between the probes of an open breaker.
_PROBE_FIRST, _PROBE_MOST = 0.1, 2.0


#: What commands are submitted to.
Lane = Channel | MemoryChannel


class Links:
    """The connections of one event loop, opened when they are first needed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, address: Address, settings: Settings, memory: Any = None
    ) -> None:
        self.loop = loop
        self.address = address
        self.breaker = Breaker(str(address), on_open=self._start_probe)
        self._settings = settings
        self._memory = memory
        self.lane1 = self._lane("guards", patient=False, protocol=3)
        self.lane2 = self._lane("app", patient=True, protocol=2)
        self._pool: ConnectionPool | None = None
        self._probe: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def _lane(self, name: str, *, patient: bool, protocol: int) -> Lane:
        if self._memory is not None:
            return MemoryChannel(self.loop, self._memory)
        settings = self._settings
        return Channel(
            self.loop,
            self.address,
            self.breaker,
            name=f"asgi-redis-guard:{name}:{os.getpid()}",
            timeout=settings.timeout,
            connect_timeout=settings.connection_timeout,
            limit=settings.max_in_flight,
            patient=patient,
            protocol=protocol,
        )

    @property
    def pool(self) -> ConnectionPool:
        """redis-py's pool of dedicated connections."""
        if self._pool is None:
            self._pool = make_pool(self.address, self._settings)
        return self._pool

    async def connect(self) -> None:
        """Open lane 1; raises `RedisUnavailable`, after which the breaker is open and its probe runs."""
        try:
            await self.lane1.connect()
        except RedisUnavailable as error:
            self.breaker.failed(str(error), fatal=True)
            raise
        self.breaker.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` apart from the caller's cancellation; `aclose` waits for it."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Let background work finish within the timeout, then close everything."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.timeout * 2)
            for task in late:
                task.cancel()
        if self._probe is not None:
            self._probe.cancel()
        self.lane1.close()
        self.lane2.close()
        if self._pool is not None:
            await self._pool.disconnect()

    def abandon(self) -> list[Any]:
        """Let go without I/O, after the loop has closed or in a forked child; return what must not be finalised yet."""
        return [self.lane1.abandon(), self.lane2.abandon(), self._pool]

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = self.loop.create_task(self._probe_until_back(), name="asgi-redis-guard probe")

    async def _probe_until_back(self) -> None:
        self.lane1.drop(self.breaker.reason)
        self.lane2.drop(self.breaker.reason)
        pause = _PROBE_FIRST
        while self.breaker.is_open:
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  (jitter)
            pause = min(pause * 2, _PROBE_MOST)
            try:
                await self.lane1.connect()
            except RedisUnavailable as error:
                self.breaker.reason = str(error)
                logger.debug("Redis at %s is still away: %s", self.address, error)
            else:
                self.breaker.close()

    def __repr__(self) -> str:
        return f"<Links to {self.address}: {self.lane1!r}, {self.lane2!r}, {self.breaker!r}>"
