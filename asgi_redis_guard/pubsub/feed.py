"""What has ended, told to all processes: one subscription for each topic of a process, however many watch it.

A topic is a channel below the prefix; a message on it names keys, separated by spaces. Whoever holds something open
under a key (a socket under a session) is called when the key is named. Messages may be missed: after a gap every
watcher is asked to look for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .listener import Listener
from .messages import Event, Gap, Message

if TYPE_CHECKING:
    from ..redis.manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.pubsub")

#: Watchers that look for themselves at a time after a gap.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """One watcher of one key: `ended` is called once at most; `lives` tells after a gap whether the key still does."""

    topic: str
    key: bytes
    ended: Callable[[], None]
    lives: Callable[[], Awaitable[bool]]


class Feed:
    """The watchers of one event loop."""

    def __init__(self, manager: RedisManager) -> None:
        self._manager = manager
        self._watches: dict[tuple[str, bytes], set[Watch]] = {}
        self._listeners: dict[str, Listener] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def watch(self, watch: Watch) -> None:
        """Begin to watch; `unwatch` ends it, and so does its key's end."""
        self._watches.setdefault((watch.topic, watch.key), set()).add(watch)
        if watch.topic not in self._listeners:
            self._listeners[watch.topic] = self._manager.pubsub.listen(
                self._channel(watch.topic), lambda event: self._hear(watch.topic, event), maxsize=10_000
            )

    def unwatch(self, watch: Watch) -> None:
        """End a watch; one that has ended is no fault."""
        place = (watch.topic, watch.key)
        watches = self._watches.get(place)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[place]

    async def tell(self, topic: str, keys: Iterable[bytes]) -> None:
        """Tell all processes that `keys` have ended. Raises `RedisUnavailable`."""
        named = b" ".join(keys)
        if named:
            await self._manager.pubsub.publish(self._channel(topic), named)

    def _channel(self, topic: str) -> str:
        return f"{self._manager.keys.prefix}{topic}"

    def _hear(self, topic: str, event: Event) -> None:
        if isinstance(event, Message):
            for key in bytes(event.data).split():
                for watch in self._watches.pop((topic, key), ()):
                    self._end(watch)
        elif isinstance(event, Gap):
            for watch in [watch for watches in self._watches.values() for watch in watches if watch.topic == topic]:
                self._manager.spawn(self._look(watch))

    async def _look(self, watch: Watch) -> None:
        """Ask whether a watched key still lives; one that cannot be told counts as alive until the next gap."""
        async with self._gate:
            try:
                lives = await watch.lives()
            except Exception as error:
                logger.debug("whether %s is still there cannot be told: %s", watch.key, error)
                return
        if not lives and watch in self._watches.get((watch.topic, watch.key), ()):
            self.unwatch(watch)
            self._end(watch)

    def _end(self, watch: Watch) -> None:
        try:
            watch.ended()
        except Exception:
            logger.exception("the watcher of a key failed when it ended")

    def __repr__(self) -> str:
        return f"<Feed of {', '.join(self._listeners) or 'nothing'}, {len(self._watches)} keys watched>"
