"""What is sent by a manager: rounds, scripts, commands, redis-py's whole API.

Law: nothing of a connection's life is here; each call finds the connections of the loop that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, cast

import orjson
from redis.asyncio import Redis

from ..core.script import Batch
from .client import GuardClient
from .dedicated import make_pool
from .memory import fake_client
from .program import Program, Script

if TYPE_CHECKING:
    from ..settings import Settings
    from .address import Address
    from .links import Links


class Commands:
    """The half of `RedisManager` that is called, for whoever has connections."""

    settings: Settings
    address: Address
    _memory: Any
    _client: Redis | None = None

    @property
    def links(self) -> Links:
        """The connections of the running loop."""
        raise NotImplementedError

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Run a round on lane 1. For the engine alone."""
        return self.links.lane1.evaluate(program, batches, timeout)

    async def run_script(
        self, script: Script, keys: tuple[bytes, ...] = (), args: tuple[Any, ...] = (), *, repeatable: bool = False
    ) -> Any:
        """Run a service's script on lane 2; raises `RedisUnavailable`."""
        call = ("EVALSHA", script.sha, len(keys), *keys, *args)
        return await self.links.lane2.submit(call, repeatable=repeatable, script=script)

    def execute(self, *args: Any) -> Awaitable[Any]:
        """Send one command; await its raw reply. Raises `RedisUnavailable`, `OperationFailed` for an error reply.

        Not for commands that block or change the connection: `client` handles those.
        """
        if not args:
            raise ValueError("execute() needs a command")
        return self.links.lane2.submit(args)

    @property
    def client(self) -> Redis:
        """redis-py's whole asyncio API on this manager's connections; on a cluster its own `RedisCluster`.

        That has connections of its own to each node, and belongs to the running loop.
        """
        if self._memory is not None:
            return self._memory_client()
        if self.address.cluster:
            return cast(Redis, self.links.cluster_client)
        if self._client is None:
            template = make_pool(self.address, self.settings)
            self._client = GuardClient(template, lambda: self.links.pool, lambda: self.links.lane2)
        return self._client

    def _memory_client(self) -> Redis:
        """The client of the running loop; outside of any, one that is nobody else's."""
        try:
            return self.links.memory_client
        except RuntimeError:
            client: Redis = fake_client(self._memory, decode_responses=self.settings.decode_responses)
            return client

    async def get_json(self, key: str) -> Any:
        """Return the decoded JSON value of `key`, None if there is none."""
        raw = await self.execute("GET", key)
        return None if raw is None else orjson.loads(raw)

    async def set_json(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store `value` as JSON under `key`, for `ttl` seconds (at least a millisecond) or without end."""
        expiry = () if ttl is None else ("PX", max(1, round(ttl * 1000)))
        await self.execute("SET", key, orjson.dumps(value), *expiry)
