"""The pub/sub hub of one event loop: every subscription of the process shares one connection.

This file is the public face and owns only the listeners. `switchboard.py` speaks to the server, `wire.py` keeps the
connection, `subscriptions.py` the books, `subscription.py` is what a subscriber holds. Sharded channels of a cluster
have a connection for each node that serves one: `shards.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import OperationFailed
from .feed import Feed
from .inbox import Inbox, Overflow
from .listener import Callback, Listener, finish
from .messages import to_bytes
from .shards import Shards
from .subscription import OnGap, Subscription
from .subscriptions import CHANNEL, PATTERN, SHARDED, Key
from .switchboard import Switchboard, Times, needs_sharding

if TYPE_CHECKING:
    from ..redis.manager import RedisManager

Name = str | bytes


class Hub:
    """Subscribe, listen and publish; `manager.pubsub` is the one of the running loop.

    Redis delivers at most once: what is published while the connection is away is lost, and every subscriber gets a
    `Gap` when it is back. After `ping_interval` seconds of silence (by default four times the manager's timeout) the
    server is pinged; a link without an answer for `ping_timeout` (by default twice the timeout) is dropped. Without
    subscriptions the connection is closed after `idle` seconds.
    """

    def __init__(
        self,
        manager: RedisManager,
        *,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        idle: float = 30.0,
    ) -> None:
        timeout = manager.settings.timeout
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._times: Times = {
            "idle": idle,
            "ping_interval": timeout * 4 if ping_interval is None else ping_interval,
            "ping_timeout": timeout * 2 if ping_timeout is None else ping_timeout,
        }
        self._board = Switchboard(manager, self._loop, **self._times)
        self._shards: Shards | None = None
        self._listeners: set[Listener] = set()
        self._feed: Feed | None = None

    @property
    def feed(self) -> Feed:
        """Who holds something open under a key, and is told when that key ends."""
        if self._feed is None:
            self._feed = Feed(self._manager)
        return self._feed

    @property
    def connected(self) -> bool:
        """True while there is a connection, to some node at least; there is none without a subscription."""
        return self._board.wire.up or (self._shards is not None and self._shards.up)

    def subscribe(
        self,
        *channels: Name,
        patterns: Name | Iterable[Name] = (),
        sharded: bool = False,
        json: bool = False,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        on_gap: OnGap | None = None,
    ) -> Subscription:
        """Return a subscription: `async with` enters and leaves it, `async for` yields its events.

        With `json`, data is decoded. `maxsize` messages wait for a slow iterator; then `overflow` drops the oldest or
        the newest, or ends the subscription, and a `Gap` tells so. `on_gap(gap)` is called as well, at once and for
        every loss, however much is queued before it; it must not block. Entering raises `RedisUnavailable` if the
        server does not confirm within the manager's timeout, `OperationFailed` if it refuses a channel.

        `sharded` channels (SSUBSCRIBE; Redis 7.0, Valkey) are others than those of the same names without it. In a
        cluster each is heard at the node of its slot, over one connection to every node that has some, and followed
        where the slot goes: nothing is heard twice, and a `Gap` stands where something may have been missed.
        """
        self._check_loop()
        if sharded:
            if patterns:
                raise ValueError("a pattern cannot be sharded: it would match channels of every node")
            board, keys = self._sharded(), _keys(SHARDED, channels)
        else:
            board, keys = self._board, [*_keys(CHANNEL, channels), *_keys(PATTERN, patterns)]
        return Subscription(board, keys, Inbox(maxsize, overflow), json=json, on_gap=on_gap)

    def listen(
        self,
        channels: Name | Iterable[Name],
        callback: Callback,
        *,
        patterns: Name | Iterable[Name] = (),
        sharded: bool = False,
        json: bool = False,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        on_gap: OnGap | None = None,
    ) -> Listener:
        """Call `callback(event)`, plain or async, for each event that an iterator would yield, one after another.

        Returns a handle at once, also while Redis is away: `await handle.ready()` waits for the server's confirmation,
        `await handle.aclose()` ends it. Options as in `subscribe`.
        """
        if not callable(callback):
            raise TypeError(f"callback is {type(callback).__name__}; it must be callable")
        names = (channels,) if isinstance(channels, str | bytes) else channels
        subscription = self.subscribe(
            *names, patterns=patterns, sharded=sharded, json=json, maxsize=maxsize, overflow=overflow, on_gap=on_gap
        )
        listener = Listener(subscription, callback, patience=self._board.timeout * 2)
        self._listeners.add(listener)
        listener.task.add_done_callback(lambda _: self._listeners.discard(listener))
        return listener

    async def publish(self, channel: Name, data: Any, *, json: bool = False, sharded: bool = False) -> int:
        """Send `data` (bytes or text; with `json` any value) to everyone who hears `channel`.

        With `sharded` those who hear the sharded channel of that name: in a cluster it is sent to the nodes of its slot
        alone, and not to all. Returns the number of connections that it reached, in a cluster those of one node; this
        hub counts as one. Raises `RedisUnavailable`.
        """
        if json:
            data = orjson.dumps(data)
        elif not isinstance(data, str | bytes):
            raise TypeError(f"data is {type(data).__name__}; allowed are bytes and str, or any value with json=True")
        if not sharded:
            return int(await self._manager.execute(b"PUBLISH", to_bytes(channel), data))
        try:
            return int(await self._manager.execute(b"SPUBLISH", to_bytes(channel), data))
        except OperationFailed as error:
            raise needs_sharding(error) from None

    async def aclose(self) -> None:
        """End every iterator, listener and task, and close the connection; a closed hub stays closed."""
        if self._loop.is_closed():
            self.abandon()
            return
        self._check_loop()
        listeners = list(self._listeners)
        for listener in listeners:
            listener.stop()
        self._board.close()
        if self._shards is not None:
            self._shards.close()
        if self._feed is not None:
            self._feed.close()
        await finish(listeners, self._board.timeout * 2)
        await self._board.wire.aclose()
        if self._shards is not None:
            await self._shards.aclose()

    def abandon(self) -> list[Any]:
        """Let go without I/O, after the loop has closed or in a forked child; return what must not be finalised yet."""
        return [self._board.wire.abandon(), *(() if self._shards is None else self._shards.abandon())]

    def _sharded(self) -> Switchboard | Shards:
        """Return the board of sharded channels: of a single server, its one connection serves them too."""
        topology = self._manager.links.topology
        if topology is None:
            return self._board
        if self._shards is None:
            self._shards = Shards(self._manager, self._loop, topology, **self._times)
        return self._shards

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this hub belongs to another event loop; manager.pubsub is the one of the running loop")

    def __repr__(self) -> str:
        return f"<Hub {self._board!r}>"


def _keys(kind: int, names: Name | Iterable[Name]) -> list[Key]:
    return [(kind, to_bytes(name)) for name in ((names,) if isinstance(names, str | bytes) else names)]
