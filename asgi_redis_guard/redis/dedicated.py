"""Connections that one user of `manager.client` has alone: the bounded pool of them, and redis-py's users of it.

Whatever happens to a task, its connection goes back. Some versions of redis-py await other things first, and a task
that is cancelled there keeps the connection for ever; so what waits is done before, or goes on by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.client import Monitor, Pipeline, PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .address import Address
from .followed import FollowedConnection, FollowedSSLConnection
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings

_CONNECTION_CLASSES: dict[str, type[Any]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}

#: Options of the pool that a URL may not change.
_OWN = frozenset(
    ("max_connections", "timeout", "socket_timeout", "socket_connect_timeout", "protocol", "decode_responses", "retry")
)


class RenewedPool(BlockingConnectionPool):
    """redis-py's pool, whose connections can be made anew once nobody uses them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._former: WeakSet[Any] = WeakSet()

    async def renew(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        self._former.update(self._in_use_connections)
        await self.disconnect(inuse_connections=False)

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        try:
            if connection in self._former:
                self._former.discard(connection)
                await connection.disconnect(nowait=True)
        finally:
            await super().release(connection)


async def renew_cluster(client: RedisCluster) -> None:
    """Close the idle connections of a cluster's client, and mark those in use to be closed when they are given back.

    Versions of redis-py that cannot mark them let them live as they are.
    """
    for node in client.nodes_manager.nodes_cache.values():
        idle = {*node._free}
        for connection in node._connections:
            if connection in idle:
                await connection.disconnect(nowait=True)
            elif hasattr(connection, "mark_for_reconnect"):
                connection.mark_for_reconnect()


def make_pool(address: Address, settings: Settings, where: Whereabouts | None = None) -> RenewedPool:
    """Build the bounded pool of dedicated connections; a caller waits at most the connection timeout for a free one.

    With sentinels, each asks `where` to connect; without that, the pool only tells encodings.
    """
    options = {key: value for key, value in address.usable.items() if key not in _OWN}
    connection = _CONNECTION_CLASSES.get(address.scheme, Connection)
    if address.sentinels is not None and where is not None:
        connection = FollowedSSLConnection if address.tls else FollowedConnection
        options["where"] = where
    return RenewedPool(
        max_connections=settings.max_connections,
        timeout=settings.connection_timeout,
        connection_class=connection,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.connection_timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=settings.decode_responses,
        **options,
    )


def make_cluster_client(address: Address, settings: Settings) -> RedisCluster:
    """Build redis-py's own client of a cluster, with at most `max_connections` to each node."""
    options = {name: value for name, value in address.options.items() if name not in _OWN | {"host", "port", "db"}}
    return RedisCluster(
        startup_nodes=[ClusterNode(place.host, place.port) for place in address.nodes],
        max_connections=settings.max_connections,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.connection_timeout,
        require_full_coverage=False,
        retry=Retry(NoBackoff(), 3),
        decode_responses=settings.decode_responses,
        ssl=address.tls,
        **options,
    )


def cancellations() -> int:
    """How often the running task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _cut(pool: ConnectionPool, connection: Any) -> None:
    """Close `connection` without waiting for that, and let it have the pool's timeout again."""
    connection.socket_timeout = pool.connection_kwargs.get("socket_timeout")
    await connection.disconnect(nowait=True)


class PatientPubSub(PubSub):
    """redis-py's PubSub without a read timeout: silence is normal for a subscriber."""

    async def connect(self) -> None:
        await super().connect()
        if self.connection is not None:
            self.connection.socket_timeout = None

    async def aclose(self) -> None:
        if self.connection is not None:
            await _cut(self.connection_pool, self.connection)
        await asyncio.shield(super().aclose())


class PatientMonitor(Monitor):
    """redis-py's Monitor, likewise."""

    async def connect(self) -> None:
        await super().connect()
        if self.connection is not None:
            self.connection.socket_timeout = None

    async def __aenter__(self) -> PatientMonitor:
        cancelled = cancellations()
        try:
            await super().__aenter__()
            if cancellations() > cancelled:  # redis-py sends with `wait_for`, which swallows that on Python 3.11
                raise asyncio.CancelledError
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            await _cut(self.connection_pool, connection)
            await asyncio.shield(self.connection_pool.release(connection))


class TidyPipeline(Pipeline):
    """redis-py's Pipeline, which gives its connection back also when it is cancelled while it ends a WATCH."""

    async def reset(self) -> None:  # type: ignore[override]  # a pipeline's reset is not the command
        try:
            if self.watching and self.connection is not None:
                await self._unwatch(self.connection)
        finally:
            self.watching = False
            await asyncio.shield(super().reset())

    async def _unwatch(self, connection: Any) -> None:
        try:
            await connection.send_command("UNWATCH")
            await connection.read_response()
        except BaseException as error:
            await _cut(self.connection_pool, connection)  # which ends the WATCH too
            if not isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
                raise


class SingleClient(Redis):
    """redis-py's client on one connection of the pool, given back by `aclose` or at the end of `async with`."""

    async def __aenter__(self) -> SingleClient:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:  # closed: its user may have changed its state (SELECT, CLIENT SETNAME …)
            await _cut(self.connection_pool, connection)
            await asyncio.shield(self.connection_pool.release(connection))
