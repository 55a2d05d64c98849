"""What the campaign's load runs on: one server, a cluster, or a pair that sentinels watch, each with its proxies.

Law: real processes only, made and ended together; whatever a fault has done to one of them, all end with the world.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import redis

from asgi_redis_guard import RedisManager
from asgi_redis_guard.testing import FaultProxy
from tests.cluster import Cluster, until
from tests.sentinels import SERVICE, Service
from tests.servers import Option, Server, valkey9

#: The first password; a fault changes it.
PASSWORD = "first"


class Provider:
    """What the manager asks for credentials; it gives those that are right, unless somebody forgot to tell it."""

    def __init__(self) -> None:
        self.password = PASSWORD

    async def get_credentials_async(self) -> tuple[str, str]:
        """Return user and password."""
        return "default", self.password


class World:
    """Servers, and what stands before them. `servers` keep data, `primaries` are those that took writes at first."""

    replicas = 0  # of each primary

    def __init__(self, servers: Iterable[Server]) -> None:
        self.url = ""
        self.servers = list(servers)
        self.primaries: list[Server] = []
        self.proxies: list[FaultProxy] = []
        self.provider = Provider()
        self.managers: list[RedisManager] = []

    @property
    def victim(self) -> Server:
        """The server that is to fail."""
        return self.primaries[0]

    async def stand_before(self, stack: AsyncExitStack) -> list[int]:
        """Put a proxy before each server; return their ports."""
        for server in self.servers:
            self.proxies.append(await stack.enter_async_context(FaultProxy(("127.0.0.1", server.port))))
        return [proxy.port for proxy in self.proxies]

    async def look(self) -> None:
        """Find out who takes writes now."""
        roles = [await asyncio.to_thread(server.command, "ROLE") for server in self.servers]
        self.primaries = [server for server, role in zip(self.servers, roles, strict=True) if role[0] == b"master"]

    async def change_password(self, password: str) -> None:
        """Have another password from now on, on all servers, and cut all connections."""
        for server in self.servers:
            await asyncio.to_thread(_change, server, password)

    async def fail_over(self) -> None:
        """Have a replica of the victim take over, in order."""
        raise NotImplementedError

    async def empty(self) -> None:
        """Let the victim crash, and come back at once without its data."""
        await asyncio.to_thread(self.victim.kill)
        await asyncio.to_thread(self.victim.start)

    async def until_well(self) -> None:
        """Wait until all serve again as they should."""
        await self.look()

    async def connections(self) -> int:
        """Count the package's connections to all servers."""
        return sum([await asyncio.to_thread(_connections, server) for server in self.servers])

    async def keys(self) -> dict[bytes, int]:
        """Return all keys with the ms that they are to live."""
        await self.look()
        found: dict[bytes, int] = {}
        for server in self.primaries:
            found |= await asyncio.to_thread(lambda server=server: dict(keys_of(server)))
        return found


@asynccontextmanager
async def single_node(*, proxied: bool = False, **options: Option) -> AsyncIterator[World]:
    """Run one server."""
    async with AsyncExitStack() as stack:
        server = Server(valkey9(), tcp=True, requirepass=PASSWORD, **options)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        world = World([server])
        ports = await world.stand_before(stack) if proxied else [server.port]
        world.url = f"redis://127.0.0.1:{ports[0]}"
        await world.look()
        yield world


class OfCluster(World):
    """Three primaries with a replica each."""

    replicas = 1

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.servers)
        self.cluster = cluster

    async def fail_over(self) -> None:
        place = self.cluster.primaries.index(self.victim)
        await asyncio.to_thread(self.cluster.failover, self.cluster.replicas[place])
        await self.until_well()

    async def empty(self) -> None:
        for replica in self.cluster.replicas:  # or the one of the victim takes over, where the machine is slow
            await asyncio.to_thread(replica.command, "CONFIG", "SET", "cluster-replica-no-failover", "yes")
        await super().empty()

    async def until_well(self) -> None:
        await asyncio.to_thread(self.cluster.until_well)
        await self.look()


@asynccontextmanager
async def cluster(*, proxied: bool = False, **options: Option) -> AsyncIterator[World]:
    """Run a cluster; its nodes announce their proxies, so that clients know no other way."""
    async with AsyncExitStack() as stack:
        cluster = Cluster(3, 1, node_timeout=1000, requirepass=PASSWORD, masterauth=PASSWORD, **options)
        stack.push_async_callback(asyncio.to_thread, cluster.stop)
        await asyncio.to_thread(cluster.start)
        world = OfCluster(cluster)
        await world.look()
        ports = [server.port for server in world.servers]
        if proxied:
            ports = await world.stand_before(stack)
            for server, port in zip(world.servers, ports, strict=True):
                await asyncio.to_thread(server.command, "CONFIG", "SET", "cluster-announce-port", port)
            await asyncio.to_thread(until, lambda: all(_announced(one) == {*ports} for one in world.servers), "told")
        world.url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports)}"
        yield world


#: For sentinels that are not to think that a server is down.
PATIENT = ("down-after-milliseconds", 60_000)


class OfSentinels(World):
    """A primary, its replica, and three sentinels."""

    replicas = 1

    def __init__(self, service: Service) -> None:
        super().__init__(service.servers)
        self.service = service

    async def change_password(self, password: str) -> None:
        for sentinel in self.service.sentinels:  # or they would think it down before they have heard of it
            await asyncio.to_thread(sentinel.command, "SENTINEL", "SET", SERVICE, *PATIENT)
        await super().change_password(password)
        for sentinel in self.service.sentinels:
            await asyncio.to_thread(sentinel.command, "SENTINEL", "SET", SERVICE, "auth-pass", password)

    async def fail_over(self) -> None:
        victim = self.victim
        await asyncio.to_thread(until, self.service.failover, "a failover is begun")
        await asyncio.to_thread(until, lambda: self.service.primary is not victim, "it is done")
        await self.until_well()

    async def until_well(self) -> None:
        if not self.proxies:
            await asyncio.to_thread(until, lambda: self.service.ready, "sentinels agree")
        await self.look()


@asynccontextmanager
async def sentinels(*, proxied: bool = False, **options: Option) -> AsyncIterator[World]:
    """Run a pair and its sentinels; behind proxies the sentinels know the primary by its proxy, too."""
    async with AsyncExitStack() as stack:
        service = await asyncio.to_thread(Service, stack, requirepass=PASSWORD, **options)
        service.servers[0].options["masterauth"] = PASSWORD  # for when it comes back as the other's replica
        world = OfSentinels(service)
        await world.until_well()
        if proxied:
            port = (await world.stand_before(stack))[0]
            for sentinel in service.sentinels:
                await asyncio.to_thread(_monitor, sentinel, port)
        world.url = re.sub(r"//.*@|[?].*", lambda found: "//" if found[0][0] == "/" else "", service.url)
        yield world


WORLDS: dict[str, Callable[..., Any]] = {"single": single_node, "cluster": cluster, "sentinel": sentinels}


def _monitor(sentinel: Server, port: int) -> None:
    """Have a sentinel watch a primary by another port."""
    sentinel.command("SENTINEL", "REMOVE", SERVICE)
    sentinel.command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", port, 2)
    sentinel.command("SENTINEL", "SET", SERVICE, "auth-pass", PASSWORD)
    sentinel.command("SENTINEL", "SET", SERVICE, *PATIENT)


def _announced(server: Server) -> set[int]:
    """The ports by which a server of a cluster knows the others, and itself."""
    return {node[1] for _, _, *nodes in server.command("CLUSTER", "SLOTS") for node in nodes}


def _change(server: Server, password: str) -> None:
    server.command("CONFIG", "SET", "masterauth", password)
    server.command("CONFIG", "SET", "requirepass", password)
    server.options["requirepass"] = server.options["masterauth"] = password
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _connections(server: Server) -> int:
    clients: bytes = server.command("CLIENT", "LIST")
    return len(re.findall(rb" name=asgi", clients))


def keys_of(server: Server) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of a server, with the ms that they are to live."""
    with redis.Redis.from_url(server.url) as client:
        for key in client.scan_iter(count=1000):
            left = client.pttl(key)
            if left != -2:  # it has ended in between
                yield key, left
