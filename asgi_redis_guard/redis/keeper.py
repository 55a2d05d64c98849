"""Keeps a pipeline on a link: opens one when somebody waits, writes, watches for signs of life, replaces what broke.

It owns the link and everything about it but the meaning of what is read. State changes are plain methods; the only
coroutines are those that open a link.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis

from ..errors import RedisUnavailable
from .backoff import Backoff
from .breaker import Breaker
from .credentials import login_words
from .link import AuthenticationFailed, Link
from .pipeline import Pipeline, Slot
from .watchdog import Watchdog
from .whereabouts import Whereabouts

_PING = hiredis.pack_command(("PING",))

#: Seconds between attempts to reconnect while callers wait.
_BACKOFF = {"first": 0.02, "most": 0.5, "steady": 0.5}


class Keeper:
    """What a channel stands on. A link is dropped after `timeout` seconds of silence and a PING unanswered as long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: Whereabouts,
        breaker: Breaker,
        *,
        name: str,
        timeout: float,
        connect_timeout: float,
        limit: int,
        patient: bool = False,
        protocol: int = 3,
    ) -> None:
        self._loop = loop
        self._where = where
        self._breaker = breaker
        self._name = name
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._patient = patient
        self._protocol = protocol
        self._pipeline = Pipeline(limit)
        self._link: Link | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._flushing = False
        self._lone = False  # the last write was of one command: callers come one at a time
        self._sweeper: asyncio.TimerHandle | None = None  # the subclass's: runs while anything waits
        self._ping: Slot | None = None
        self._watchdog = Watchdog(
            loop,
            interval=timeout,
            timeout=timeout,
            silent_since=self._silent_since,
            ping=self._send_ping,
            dead=lambda: self._broke("no sign of life from the server"),
        )
        self._closed = False

    @property
    def link(self) -> Link | None:
        """The link in use, or None while there is none."""
        return self._link

    @property
    def in_flight(self) -> int:
        """Commands queued or owed a reply, tombstones included."""
        return len(self._pipeline)

    async def connect(self) -> Link:
        """Return the link, opened if there is none; raises `RedisUnavailable` after one failed attempt."""
        if self._link is None:
            link = await self._open()
            if self._closed or self._link is not None:
                link.abort()
            else:
                self._adopt(link)
        if self._link is None:
            raise RedisUnavailable("closed")
        return self._link

    def drop(self, reason: str) -> None:
        """Cut the link: fail what may have run, keep what can be sent again, and reconnect if anything waits."""
        link, self._link = self._link, None
        self._watchdog.stop()
        if link is not None:
            link.abort()
        for slot in self._pipeline.broken():
            slot.fail(RedisUnavailable(reason, maybe_executed=True))
        if self._breaker.is_open or self._closed:
            self._fail_waiting(reason)
        elif self._pipeline.waiting:
            self._reconnect()

    def close(self) -> asyncio.Task[None] | None:
        """Fail every caller and forget the link, for good; return a task that is cancelled by this, and ends soon."""
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.drop("closed")
        return self._reconnecting

    def abandon(self) -> Link | None:
        """Let go of everything without touching the socket (its loop is closed, or belongs to the parent process)."""
        self._closed = True
        link, self._link = self._link, None
        return link

    # Receiver of the link.

    def readable(self, link: Link) -> None:
        """Replies have arrived; the subclass knows what they mean."""
        raise NotImplementedError

    def writable(self, link: Link) -> None:
        self._schedule_flush()

    def lost(self, link: Link, error: Exception | None) -> None:
        if link is self._link:
            self._broke(f"connection lost: {error or 'closed by the server'}")

    def log_in(self, login: tuple[str, str]) -> asyncio.Future[Any] | None:
        """Send AUTH among the commands: what comes before it runs as the former account."""
        return self.submit(login_words(login))

    def submit(self, args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Queue one command; the subclass does."""
        raise NotImplementedError

    # Writing.

    def _schedule_flush(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._write()

    def _write(self) -> None:
        link = self._link
        if link is None or link.paused:
            self._pipeline.hold()
        elif self._pipeline.waiting:
            chunks = self._pipeline.take(self._loop.time())
            self._lone = len(chunks) == 1 == len(self._pipeline.inflight)
            if chunks:
                link.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
                self._watchdog.wake()

    # Connecting.

    def _open(self) -> Any:
        return self._where.open(
            timeout=self._connect_timeout,
            name=self._name,
            protocol=self._protocol,
        )

    def _adopt(self, link: Link) -> None:
        self._link = link
        link.receiver = self
        if self._pipeline.waiting:
            self._pipeline.hold()
            self._schedule_flush()

    def _reconnect(self) -> None:
        if self._reconnecting is None or self._reconnecting.done():
            self._reconnecting = self._loop.create_task(self._keep_connecting(), name="asgi-redis-guard connect")

    async def _keep_connecting(self) -> None:
        """Try until connected, nobody waits any more, or the breaker opens."""
        backoff = Backoff(**_BACKOFF)
        while self._link is None and not self._closed:
            try:
                await self.connect()
            except RedisUnavailable as error:
                self._breaker.failed(str(error), fatal=isinstance(error, AuthenticationFailed))
                if self._breaker.is_open or not any(not slot.abandoned for slot in self._pipeline.waiting):
                    self._fail_waiting(str(error))
                    return
                await asyncio.sleep(backoff.next())

    def _broke(self, reason: str) -> None:
        self._breaker.failed(reason)
        self.drop(reason)

    def _fail_waiting(self, reason: str) -> None:
        for slot in self._pipeline.drop_waiting():
            slot.fail(RedisUnavailable(reason, maybe_executed=slot.sent))

    # Signs of life.

    def _silent_since(self) -> float | None:
        inflight = self._pipeline.inflight
        if self._link is None or not inflight:
            return None
        return max(self._link.last_byte, inflight[0].deadline - inflight[0].timeout)

    def _send_ping(self) -> None:
        inflight = self._pipeline.inflight
        if self._link is not None and self._ping not in inflight:
            self._ping = Slot(_PING, None, self._timeout, self._loop.time() + self._timeout)
            inflight.append(self._ping)
            self._link.write(_PING)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self._link is not None else "not connected"
        return f"<{type(self).__name__} {self._name} to {self._where.address}: {state}, {self.in_flight} in flight>"
