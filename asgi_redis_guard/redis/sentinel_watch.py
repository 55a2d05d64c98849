"""Listens to one sentinel at a time for `+switch-master`; goes on to the next when that one is lost.

It owns its link and one task, and decides nothing: it tells that there is news, and whom to ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hiredis

from ..errors import RedisUnavailable
from .address import Address
from .backoff import Backoff
from .link import NOTHING, Link, open_link
from .watchdog import Watchdog

_pack: Callable[[Any], bytes] = hiredis.pack_command
logger = logging.getLogger("asgi_redis_guard.redis")

_SUBSCRIBE: bytes = _pack(("SUBSCRIBE", "+switch-master"))
_PING: bytes = _pack(("PING",))

#: Seconds between attempts to find a sentinel that can be listened to.
_BACKOFF = {"first": 0.1, "most": 5.0, "steady": 5.0}


class SwitchWatch:
    """Calls `news` with the sentinel that has some: after each switch of `service`, and once it can be heard."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sentinels: Sequence[Address],
        service: str,
        news: Callable[[Address], Awaitable[None]],
        *,
        timeout: float,
    ) -> None:
        self._loop = loop
        self._sentinels = sentinels
        self._service = service.encode()
        self._news = news
        self._timeout = timeout
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._watchdog = Watchdog(
            loop,
            interval=timeout * 4,
            timeout=timeout * 2,
            silent_since=lambda: None if self._link is None else self._link.last_byte,
            ping=lambda: None if self._link is None else self._link.write(_PING),
            dead=self._hang_up,
        )

    def start(self) -> None:
        """Listen from now on; nothing happens if that is done already."""
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="asgi-redis-guard sentinel watch")

    def close(self) -> asyncio.Task[None] | None:
        """Listen no more; return the task that ends by this."""
        self._hang_up()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def abandon(self) -> Link | None:
        """Let go without I/O; return the link."""
        link, self._link = self._link, None
        return link

    # Receiver of the link.

    def readable(self, link: Link) -> None:
        """Look for the service in what was switched; everything else only shows that the sentinel lives."""
        try:
            while (reply := link.next()) is not NOTHING:
                if not isinstance(reply, list):  # an error: it does not let itself be listened to
                    self._hang_up()
                    return
                if reply[0] == b"subscribe" or (reply[0] == b"message" and self._is_ours(reply[2])):
                    self._heard.set()
        except Exception as error:  # not RESP
            self.lost(link, error)

    def writable(self, link: Link) -> None:
        """What is written always fits."""

    def lost(self, link: Link, error: Exception | None) -> None:
        """Go on to the next sentinel."""
        if link is self._link:
            self._hang_up()

    def log_in(self, login: tuple[str, str]) -> None:
        """Sentinels have a login of their own, which does not change."""

    def _is_ours(self, payload: bytes) -> bool:
        return payload.split(b" ")[0] == self._service

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        self._watchdog.stop()
        self._heard.set()
        if link is not None:
            link.abort()

    # The task.

    async def _run(self) -> None:
        backoff = Backoff(**_BACKOFF)
        turn = 0
        while True:
            sentinel = self._sentinels[turn % len(self._sentinels)]
            since = self._loop.time()
            try:
                await self._listen(sentinel)
            except RedisUnavailable as error:
                logger.debug("Sentinel %s cannot be listened to: %s", sentinel, error)
            turn += 1
            backoff.lived(self._loop.time() - since)
            await asyncio.sleep(backoff.next())

    async def _listen(self, sentinel: Address) -> None:
        """Hand on what the sentinel says, until it is lost."""
        name = "asgi-redis-guard:sentinel"
        link = self._link = await open_link(sentinel, timeout=self._timeout, name=name, protocol=2)
        link.receiver = self
        self._watchdog.wake()
        link.write(_SUBSCRIBE)
        while self._link is link:
            await self._heard.wait()
            self._heard.clear()
            if self._link is link:
                await self._news(sentinel)

    def __repr__(self) -> str:
        state: Any = "not listening" if self._link is None else "listening"
        return f"<SwitchWatch {state}>"
