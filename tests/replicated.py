"""A server with a replica that a test can hold back: what is written reaches it through a proxy, or does not.

Law: like the servers that it consists of, a pair never outlives the test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch
from asgi_redis_guard.testing import FaultProxy
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, eventually, mark
from tests.servers import Server


class Replicated:
    """A `primary`, and a `replica` that hears of it through `between`."""

    def __init__(self, primary: Server, replica: Server, between: FaultProxy) -> None:
        self.primary = primary
        self.replica = replica
        self.between = between

    def lag(self) -> None:
        """Let the replica hear of nothing that is written from now on, without its noticing."""
        self.between.black_hole()

    async def catch_up(self) -> None:
        """Let it hear of everything, from the beginning, and wait until it has."""
        self.between.heal()
        port = str(self.between.port)
        for primary in (("NO", "ONE"), ("127.0.0.1", port)):  # a resumed stream is not always applied by Valkey 9.1
            await asyncio.to_thread(self.replica.command, "REPLICAOF", *primary)
        await self.agreed()

    async def agreed(self) -> None:
        """Wait until the replica has what the primary has."""
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(self._agree):  # noqa: ASYNC110  (no event tells of it)
                await asyncio.sleep(0.01)

    def _agree(self) -> bool:
        mine = self.replica.command("INFO", "replication")
        its = self.primary.command("INFO", "replication")
        return bool(
            mine["role"] == "slave"
            and mine["master_link_status"] == "up"
            and mine["master_repl_offset"] == its["master_repl_offset"]
        )

    @asynccontextmanager
    async def manager(self, **options: Any) -> AsyncIterator[RedisManager]:
        """A manager that reads from the replica, once it is known to follow."""
        named = (f"127.0.0.1:{self.replica.port}",)
        given = {"timeout": PATIENCE, "read_from_replicas": True, "replicas": named, **options}
        async with RedisManager(self.primary.url, **given) as redis:
            await read_from(redis)
            yield redis

    def runs(self) -> int:
        """Programs that the replica has run."""
        return runs_of(self.replica)


def runs_of(server: Server) -> int:
    """Programs that a server has run."""
    return int(server.command("INFO", "commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


async def read_from(redis: RedisManager, *keys: bytes) -> None:
    """Wait until replicas are read from where these keys are."""
    replicas = redis.links.replicas
    assert replicas is not None
    batch = Batch([mark(key) for key in keys or (b"any",)])
    await eventually(lambda: replicas.reads(batch))


@asynccontextmanager
async def replicated(make_server: MakeServer, kind: str = "valkey9") -> AsyncIterator[Replicated]:
    """Such a pair, which agrees."""
    primary = make_server(kind, tcp=True, repl_diskless_sync_delay=0)
    async with FaultProxy(primary.url) as between:
        port = str(between.port)
        replica = make_server(kind, tcp=True, replicaof=["127.0.0.1", port])
        pair = Replicated(primary, replica, between)
        await pair.agreed()
        yield pair
