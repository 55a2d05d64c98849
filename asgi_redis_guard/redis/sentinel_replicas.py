"""The replicas that sentinels know, asked for now and then, in the background, while somebody wants to know.

Law: what is known is told at once; nobody waits for a sentinel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .looking import converse
from .slots import Place

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds between two questions; half as many where nobody has answered.
_APART = 5.0

#: What a replica is said to be that is not there.
_AWAY = frozenset(("s_down", "o_down", "disconnected"))


class SentinelReplicas:
    """Knows where the replicas of the service of an address are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, timeout: float) -> None:
        self._loop = loop
        self._sentinels = address.of_sentinels()
        self._service = "" if address.sentinels is None else address.sentinels.service
        self._timeout = timeout
        self._known: tuple[Place, ...] = ()
        self._due = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._closed = False

    def places(self) -> Sequence[Place]:
        """Return where they are, as far as is known; ask anew if that was long ago."""
        if self._loop.time() >= self._due and not self._closed and (self._asking is None or self._asking.done()):
            self._asking = self._loop.create_task(self._ask(), name="asgi-redis-guard sentinel replicas")
        return self._known

    async def _ask(self) -> None:
        """Ask one sentinel after the other until one answers; the next time that one is asked first."""
        for number, sentinel in enumerate(self._sentinels):
            command = ("SENTINEL", "REPLICAS", self._service)
            try:
                (reply,) = await converse(sentinel, [command], self._timeout, self._timeout)
            except RedisUnavailable as error:
                logger.debug("sentinel %s: %s", sentinel, error)
                continue
            if isinstance(reply, OperationFailed):
                logger.debug("sentinel %s: %s", sentinel, reply)
                continue
            self._known = tuple(_read(reply))
            self._sentinels = [*self._sentinels[number:], *self._sentinels[:number]]
            self._due = self._loop.time() + _APART
            return
        self._due = self._loop.time() + _APART / 2

    def close(self) -> list[asyncio.Task[Any]]:
        """Ask no more; return the task that ends by this."""
        self._closed = True
        if self._asking is None:
            return []
        self._asking.cancel()
        return [self._asking]

    def __repr__(self) -> str:
        return f"<SentinelReplicas of {self._service}: {', '.join(map(str, self._known)) or 'none known'}>"


def _read(reply: Sequence[Sequence[bytes]]) -> list[Place]:
    """Read the reply to SENTINEL REPLICAS: for each, names and values in turns."""
    found = []
    for one in reply:
        words = [word.decode() for word in one]
        fields = dict(zip(words[::2], words[1::2], strict=True))
        if not _AWAY & {*fields["flags"].split(",")}:
            found.append(Place(fields["ip"], int(fields["port"])))
    return found
