"""All connections of one manager in one event loop: two lanes, the breaker with its probe, the pool, leases,
flights, background work.

Lane 1 is the guards' alone; lane 2 carries what the app sends. Both belong to one node and share its breaker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from redis.asyncio import ConnectionPool, Redis

from ..errors import RedisUnavailable
from .address import Address
from .backoff import Backoff
from .breaker import Breaker
from .channel import Channel
from .dedicated import make_pool
from .flight import Flights
from .lane import Lane
from .leases import Leases
from .loop_end import AtLoopEnd
from .memory import MemoryChannel, fake_client
from .sentinel import SentinelWhereabouts
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds between the probes of an open breaker. A server that comes back and does not serve goes on where it was.
_BACKOFF = {"first": 0.1, "most": 2.0, "steady": 10.0}


class Resident(Protocol):
    """What a feature keeps in a loop, with connections of its own: closed with the others."""

    def warnings(self) -> Mapping[str, str]:
        """What `health()` is to say of it: named sentences."""

    async def aclose(self) -> None:
        """End it."""

    def abandon(self) -> Any:
        """Let go without I/O; return what must not be finalised yet."""


class Links:
    """The connections of one event loop, opened when they are first needed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, address: Address, settings: Settings, memory: Any = None
    ) -> None:
        self.loop = loop
        #: What this loop's claims in Redis are known by.
        self.identity = os.urandom(8).hex().encode()
        self.address = address
        self.breaker = Breaker(str(address), on_open=self._start_probe)
        self._settings = settings
        self._moved = asyncio.Event()  # there is a new primary
        self.where = self._whereabouts()
        self._memory = memory
        self.at_loop_end: AtLoopEnd | None = None
        self.lane1: Lane = self._lane("guards", patient=False, protocol=3)
        self.lane2: Lane = self._lane("app", patient=True, protocol=2)
        self.leases = Leases(loop, lambda program, batches: self.lane1.evaluate(program, batches))
        self.flights = Flights(loop)
        self._memory_client: Redis | None = None
        self._pool: ConnectionPool | None = None
        self._probe: asyncio.Task[None] | None = None
        self._backoff = Backoff(**_BACKOFF)
        self._back_since = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Each by what it stands for.
        self.residents: dict[object, Resident] = {}

    def _whereabouts(self) -> Whereabouts:
        if self.address.sentinels is None:
            return Whereabouts(self.address)
        return SentinelWhereabouts(
            self.loop, self.address, timeout=self._settings.connection_timeout, on_move=self._follow
        )

    def _lane(self, name: str, *, patient: bool, protocol: int) -> Lane:
        if self._memory is not None:
            return MemoryChannel(self.loop, self._memory)
        settings = self._settings
        return Channel(
            self.loop,
            self.where,
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
            self._pool = make_pool(self.address, self._settings, self.where)
        return self._pool

    @property
    def memory_client(self) -> Redis:
        """The client of redis-py's API on the data of this process."""
        if self._memory_client is None:
            self._memory_client = fake_client(self._memory, decode_responses=self._settings.decode_responses)
        return self._memory_client

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

    async def drain(self) -> None:
        """Let background work finish, for at most twice the timeout; what is late is cancelled."""
        deadline = self.loop.time() + self._settings.timeout * 2
        while self._tasks and (left := deadline - self.loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        await _cancel(self._tasks, self._settings.timeout)

    async def aclose(self) -> None:
        """Close everything; nothing of it runs any more."""
        if self.at_loop_end is not None:
            self.at_loop_end.cancel()
        self.leases.close()
        self.flights.close()
        for resident in [*self.residents.values()]:
            await resident.aclose()
        self.residents.clear()
        closing = [self._probe, self.where.close(), self.lane1.close(), self.lane2.close()]
        await _cancel(closing, self._settings.timeout)
        if self._pool is not None:
            await self._pool.disconnect()
        if self._memory_client is not None:
            await self._memory_client.aclose()
        await asyncio.sleep(0)  # the pass of the loop in which transports close their sockets

    def abandon(self) -> list[Any]:
        """Let go without I/O, after the loop has closed or in a forked child; return what must not be finalised yet."""
        if self.at_loop_end is not None:
            self.at_loop_end.cancel()
        self.leases.abandon()
        self.flights.abandon()
        left = [resident.abandon() for resident in self.residents.values()]
        self.residents.clear()
        return [self.where.abandon(), self.lane1.abandon(), self.lane2.abandon(), self._pool, *left]

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = self.loop.create_task(self._probe_until_back(), name="asgi-redis-guard probe")

    async def _probe_until_back(self) -> None:
        refuses_writes = self.breaker.reason.startswith("READONLY")
        self.lane1.drop(self.breaker.reason)
        self.lane2.drop(self.breaker.reason)
        self._backoff.lived(self.loop.time() - self._back_since)
        while self.breaker.is_open:
            await self._pause(self._backoff.next())
            try:
                link = await self.lane1.connect()
                if refuses_writes and link is not None and link.server.get("role") == "replica":
                    self.lane1.drop("the server is a replica")
                    raise RedisUnavailable("READONLY: the server is a replica")
            except RedisUnavailable as error:
                self.breaker.reason = str(error)
                logger.debug("Redis at %s is still away: %s", self.address, error)
            else:
                self._back_since = self.loop.time()
                self.breaker.close()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until there is a new primary."""
        self._moved.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()

    def _follow(self) -> None:
        """The primary moved: the multiplexed links know; the dedicated ones lead to the former."""
        self._moved.set()
        if self._pool is not None:
            self.spawn(self._pool.disconnect())

    def __repr__(self) -> str:
        return f"<Links to {self.address}: {self.lane1!r}, {self.lane2!r}, {self.breaker!r}>"


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None], patience: float) -> None:
    """Cancel tasks and wait until they have ended, for at most `patience` seconds."""
    ending = [task for task in tasks if task is not None and not task.done()]
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=patience)
