"""All connections of one manager in one event loop: two lanes, the breaker, the pool, leases, flights, background work.

Lane 1 is the guards' alone; lane 2 carries what the app sends. Both belong to one node and share its breaker, or to the
nodes of one cluster.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from redis.asyncio import ConnectionPool, Redis, RedisCluster

from ..core.keys import Keys
from ..errors import RedisUnavailable
from .address import Address
from .breaker import Breaker
from .cluster import ClusterLane
from .dedicated import RenewedPool, make_cluster_client, make_pool, renew_cluster
from .flight import Flights
from .lane import Lane
from .leases import Leases
from .link import Link
from .loop_end import AtLoopEnd
from .losses import Losses
from .memory import MemoryChannel, fake_client
from .node import Node, cancel
from .reading import ReadingLane
from .replica_set import ReplicaSet
from .sentinel import SentinelWhereabouts
from .sentinel_replicas import SentinelReplicas
from .slots import slot_of
from .topology import Topology
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings


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
        self._settings = settings
        #: Where single connections lead, asked before each is made.
        self.where = self._whereabouts()
        self._memory = memory
        self.at_loop_end: AtLoopEnd | None = None
        self.server: Node | Topology | None = None
        self.lane1, self.lane2, self.breaker = self._lanes()
        #: Those that are read from, if any are.
        self.replicas = self._replicas()
        if self.replicas is not None:
            self.lane1 = ReadingLane(self.lane1, self.replicas, settings.timeout)
        if self.server is not None:
            self.server.keeps = self
        #: Whether a server came back without its data.
        self.losses = Losses(loop, Keys(settings.prefix), self.lane1, self.where, self.topology)
        self.leases = Leases(loop, lambda program, batches: self.lane1.evaluate(program, batches))
        self.flights = Flights(loop)
        self._memory_client: Redis | None = None
        self._cluster_client: RedisCluster | None = None
        self._pool: RenewedPool | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Each by what it stands for.
        self.residents: dict[object, Resident] = {}

    def _whereabouts(self) -> Whereabouts:
        if self.address.sentinels is None:
            return Whereabouts(self.address)
        return SentinelWhereabouts(
            self.loop, self.address, timeout=self._settings.connection_timeout, on_move=self._follow
        )

    def _follow(self) -> None:
        """The primary moved: the multiplexed links know; a probe need not wait; dedicated links lead to the former."""
        if self.server is not None:
            self.server.probe.hurry()
        if self._pool is not None:
            self.spawn(self._pool.disconnect())

    async def log_in(self) -> None:
        """Log in again on every live link, by the credentials of now; raises `RedisUnavailable` where that is refused.

        Dedicated connections are closed: idle ones now, those in use when they are given back.
        """
        login = await self.address.login()
        if login is None:
            return
        nodes: list[Node] = [] if self.topology is None else [*self.topology.nodes.values()]
        nodes += () if self.replicas is None else self.replicas.nodes
        links = [link for where in (self.where, *(node.where for node in nodes)) for link in list(where.links)]
        asked = [link.receiver.log_in(login) for link in links if link.receiver is not None]
        if self._pool is not None:
            await self._pool.renew()
        if self._cluster_client is not None:
            await renew_cluster(self._cluster_client)
        replies = await asyncio.gather(*(reply for reply in asked if reply is not None), return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply

    def _lanes(self) -> tuple[Lane, Lane, Breaker]:
        settings = self._settings
        if self._memory is not None:
            memory = self._memory
            return MemoryChannel(self.loop, memory), MemoryChannel(self.loop, memory), Breaker(str(self.address))
        if self.address.cluster:
            self.server = cluster = Topology(self.loop, self.address, settings)
            one, two = (ClusterLane(cluster, lane, settings, self.spawn) for lane in ("lane1", "lane2"))
            return one, two, cluster.breaker
        self.server = node = Node(self.loop, self.where, settings)
        return node.lane1, node.lane2, node.breaker

    def _replicas(self) -> ReplicaSet | None:
        settings, address = self._settings, self.address
        if not settings.read_from_replicas or self._memory is not None or address.path is not None:
            return None
        sentinels = None
        if address.sentinels is not None:
            sentinels = SentinelReplicas(self.loop, address, settings.connection_timeout)
        return ReplicaSet(self.loop, address, settings, topology=self.topology, sentinels=sentinels)

    @property
    def probing(self) -> asyncio.Task[None] | None:
        """The task that looks whether Redis is back, where there is one."""
        return None if self.server is None else self.server.probe.task

    @property
    def topology(self) -> Topology | None:
        """The nodes of the cluster, where there is one."""
        return self.server if isinstance(self.server, Topology) else None

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

    @property
    def cluster_client(self) -> RedisCluster:
        """The client of redis-py's API on the cluster."""
        if self._cluster_client is None:
            self._cluster_client = make_cluster_client(self.address, self._settings)
        return self._cluster_client

    async def open(self, name: str, *, key: bytes | None = None, protocol: int = 3) -> Link:
        """Open a link for somebody alone; in a cluster to the node of a key, or to any. Raises `RedisUnavailable`."""
        topology, where = self.topology, self.where
        if topology is not None:
            if not topology.known:
                await topology.connect()
            where = topology.node_for(None if key is None else slot_of(key)).where
        name = f"asgi-redis-guard:{name}:{os.getpid()}"
        try:
            return await where.open(timeout=self._settings.connection_timeout, name=name, protocol=protocol)
        except RedisUnavailable:
            if topology is not None:
                topology.trouble()
            raise

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
        await cancel(self._tasks, self._settings.timeout)

    async def aclose(self) -> None:
        """Close everything; nothing of it runs any more."""
        if self.at_loop_end is not None:
            self.at_loop_end.cancel()
        self.losses.close()
        self.leases.close()
        self.flights.close()
        for resident in [*self.residents.values()]:
            await resident.aclose()
        self.residents.clear()
        ending = [self.where.close(), self.lane1.close(), self.lane2.close()]
        ending += () if self.replicas is None else self.replicas.close()
        await cancel([*ending, *(() if self.server is None else self.server.close())], self._settings.timeout)
        if self._pool is not None:
            await self._pool.disconnect()
        if self._memory_client is not None:
            await self._memory_client.aclose()
        if self._cluster_client is not None:
            await self._cluster_client.aclose()
        await asyncio.sleep(0)  # the pass of the loop in which transports close their sockets

    def abandon(self) -> list[Any]:
        """Let go without I/O, after the loop has closed or in a forked child; return what must not be finalised yet."""
        if self.at_loop_end is not None:
            self.at_loop_end.cancel()
        self.losses.close()
        self.leases.abandon()
        self.flights.abandon()
        left = [resident.abandon() for resident in self.residents.values()]
        self.residents.clear()
        links = [self.where.abandon(), self.lane1.abandon(), self.lane2.abandon(), self._pool, self._cluster_client]
        links += () if self.replicas is None else self.replicas.abandon()
        return [*links, *(() if self.server is None else self.server.abandon()), *left]

    def __repr__(self) -> str:
        return f"<Links to {self.address}: {self.lane1!r}, {self.lane2!r}, {self.breaker!r}>"
