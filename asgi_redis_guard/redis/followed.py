"""redis-py's connections to a primary that moves: each asks where it is before it connects.

They own nothing; `sentinel.py` knows the place, the pool keeps the connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis import exceptions
from redis.asyncio import Connection, SSLConnection

from ..errors import RedisUnavailable
from .whereabouts import Whereabouts


class FollowedConnection(Connection):
    """A connection to the primary, wherever that is when it connects."""

    def __init__(self, *, where: Whereabouts, **options: Any) -> None:
        self._where = where
        super().__init__(redis_connect_func=_greet_primary, **options)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self.socket_connect_timeout):
                address = await self._where.find()
        except RedisUnavailable as error:
            raise exceptions.ConnectionError(str(error)) from error
        self.host, self.port = address.host, address.port
        await super()._connect()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one reply; a refusal to write shows that the primary is elsewhere."""
        try:
            return await super().read_response(*args, **options)
        except exceptions.ReadOnlyError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError("READONLY: the server became a replica") from error


class FollowedSSLConnection(FollowedConnection, SSLConnection):
    """The same over TLS."""


async def _greet_primary(connection: Any) -> None:
    """Greet as redis-py does, and refuse a replica: sentinels may name a primary that is none any more."""
    await connection.on_connect()
    await connection.send_command("ROLE", check_health=False)
    try:
        role, *_ = await connection.read_response()
    except exceptions.ResponseError:
        return  # it may not be asked
    if role not in (b"master", "master"):
        raise exceptions.ConnectionError(f"{connection.host}:{connection.port} is a replica, not the primary")
