"""What the campaign's load runs on: one server, a cluster, or a pair that sentinels watch, each with its proxies.

Law: real processes only, made and ended together; whatever a fault has done to one of them, all end with the world.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import redis

from asgi_redis_guard.testing import FaultProxy
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
    """Servers, and what stands before them. `servers` keep data; `victim` is who a fault befalls."""

    kind = ""

    def __init__(self) -> None:
        self.url = ""
        self.servers: list[Server] = []
        self.proxies: list[FaultProxy] = []
        self.provider = Provider()

    @property
    def primaries(self) -> list[Server]:
        """The servers that serve writes now."""
        return self.servers

    @property
    def victim(self) -> Server:
        """The server that is to fail."""
        return self.primaries[0]

    async def change_password(self, password: str) -> None:
        """Have another password from now on, on all servers, and cut all connections."""
        for server in self.servers:
            await asyncio.to_thread(_change, server, password)

    async def until_well(self) -> None:
        """Wait until all serve again as they should."""

    async def connections(self) -> int:
        """Count the package's connections to all servers."""
        return sum([await asyncio.to_thread(_connections, server) for server in self.servers])

    async def keys(self) -> dict[bytes, int]:
        """Return all keys with the ms that they are to live."""
        found: dict[bytes, int] = {}
        for server in self.primaries:
            found |= await asyncio.to_thread(lambda server=server: dict(_keys(server)))
        return found


class SingleNode(World):
    """One server, behind a proxy if asked for."""

    kind = "single"


@asynccontextmanager
async def single_node(*, proxied: bool = False, **options: Option) -> AsyncIterator[World]:
    """Run one server."""
    world = SingleNode()
    async with AsyncExitStack() as stack:
        server = Server(valkey9(), tcp=True, requirepass=PASSWORD, **options)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        world.servers.append(server)
        port = server.port
        if proxied:
            world.proxies.append(await stack.enter_async_context(FaultProxy(("127.0.0.1", port))))
            port = world.proxies[0].port
        world.url = f"redis://127.0.0.1:{port}"
        yield world


WORLDS: dict[str, Callable[..., Any]] = {"single": single_node}


def _change(server: Server, password: str) -> None:
    server.command("CONFIG", "SET", "masterauth", password)
    server.command("CONFIG", "SET", "requirepass", password)
    server.options["requirepass"] = server.options["masterauth"] = password
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _connections(server: Server) -> int:
    clients: bytes = server.command("CLIENT", "LIST")
    return len(re.findall(rb" name=asgi", clients))


def _keys(server: Server) -> Iterator[tuple[bytes, int]]:
    with redis.Redis.from_url(server.url) as client:
        for key in client.scan_iter(count=1000):
            left = client.pttl(key)
            if left != -2:  # it has ended in between
                yield key, left
