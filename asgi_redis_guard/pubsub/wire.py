"""A connection that is listened to (the hub's, a stream's): opened when somebody wants it, watched for silence, opened
again when it is lost.

It owns the link and the timers, and never looks into what it reads or writes. State changes are plain methods; the
only coroutine is the one that opens a link. One log line when the connection is lost for somebody, one when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from ..redis.backoff import Backoff
from ..redis.link import NOTHING, AuthenticationFailed, Receiver
from ..redis.watchdog import Watchdog

logger = logging.getLogger("asgi_redis_guard.pubsub")

#: Seconds between attempts to connect.
_BACKOFF = {"first": 0.05, "most": 2.0, "steady": 2.0}

#: Seconds between two looks at whether attempts are allowed again; no look touches the network.
_LOOK_AGAIN = 0.1


class Line(Protocol):
    """What the wire needs of a link."""

    receiver: Receiver | None
    last_byte: float

    @property
    def next(self) -> Callable[..., Any]: ...
    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


class Owner(Protocol):
    """Whoever speaks over the wire; `open` connects or raises, an exception in `received` drops the link."""

    @property
    def wanted(self) -> bool:
        """True while the connection should exist."""

    @property
    def allowed(self) -> bool:
        """True unless the server is known to be away."""

    @property
    def longest_pause(self) -> float:
        """The most seconds between two attempts now; short while somebody waits for one."""

    def open(self) -> Awaitable[Line]: ...
    def opened(self) -> None: ...
    def received(self, reply: Any) -> None: ...
    def dropped(self) -> None: ...
    def ping(self) -> None: ...
    def log_in(self, login: tuple[str, str]) -> None: ...


class Wire:
    """Keeps a connection while `owner.wanted`; closes it after `idle` seconds without."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: Owner,
        target: str,
        *,
        idle: float,
        ping_interval: float,
        ping_timeout: float,
        what: str = "Pub/sub",
    ) -> None:
        self._loop = loop
        self._what = what
        self._owner = owner
        self._target = target
        self._idle = idle
        self._watchdog = Watchdog(
            loop,
            interval=ping_interval,
            timeout=ping_timeout,
            silent_since=lambda: None if self._line is None else self._line.last_byte,
            ping=owner.ping,
            dead=lambda: self._drop("no sign of life from the server"),
        )
        self._line: Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._backoff = Backoff(**_BACKOFF)
        self._since = 0.0  # when the link was made, or the last attempt at one
        self._away = False
        self.reason = "not connected"
        self.closed = False

    @property
    def up(self) -> bool:
        """True while there is a link."""
        return self._line is not None

    def want(self) -> None:
        """Connect, unless that is done or under way; an attempt that is due later may be brought forward."""
        if not self._owner.wanted:
            return
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._line is not None or self._opening is not None or self.closed:
            return
        if self._retry is None:
            self._attempt()
        elif self._retry.when() > (earliest := self._since + self._backoff.limit(self._owner.longest_pause)):
            self._try_at(earliest)

    def rest(self) -> None:
        """Nobody wants the connection now: close it if that stays so."""
        if self._rest is None and self._line is not None:
            self._rest = self._loop.call_later(self._idle, self._rested)

    def send(self, data: bytes) -> None:
        """Write to the link; lost if there is none."""
        if self._line is not None and data:
            self._line.write(data)

    def leave(self, reason: str) -> None:
        """Give up the link, and look for another."""
        if self._line is not None:
            self._drop(reason)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a part of the connection that `aclose` cancels and waits for."""
        task = self._loop.create_task(work, name="asgi-redis-guard pubsub")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Let go of the link and of all timers, for good."""
        self.closed = True
        self.reason = f"{self._what} is closed"
        self._hang_up()
        for timer in (self._retry, self._rest):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Close, and wait until nothing of it runs any more."""
        self.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # the pass of the loop in which the transport closes its socket

    def abandon(self) -> Line | None:
        """Let go without I/O (the loop is closed, or belongs to the parent process); return the link."""
        self.closed = True
        line, self._line = self._line, None
        self._owner.dropped()
        return line

    # Receiver of the link.

    def readable(self, link: Line) -> None:
        try:
            while link is self._line and (reply := link.next()) is not NOTHING:
                self._owner.received(reply)
        except Exception as error:  # not RESP, or out of step: nothing after this byte can be trusted
            self._drop(f"broken reply: {type(error).__name__}: {error}")

    def writable(self, link: Line) -> None:
        """The transport keeps what does not fit."""

    def lost(self, link: Line, error: Exception | None) -> None:
        if link is self._line:
            self._drop(f"connection lost: {error or 'closed by the server'}")

    def log_in(self, login: tuple[str, str]) -> None:
        """Send AUTH again; one that is refused changes nothing."""
        self._owner.log_in(login)

    # Connecting.

    def _attempt(self) -> None:
        self._retry = None
        if not self._owner.wanted or self.closed:
            return
        if not self._owner.allowed:
            self._try_at(self._loop.time() + _LOOK_AGAIN)
            return
        self._since = self._loop.time()
        self._opening = self.spawn(self._open())

    async def _open(self) -> None:
        try:
            line = await self._owner.open()
        except Exception as error:
            self._opening = None
            self._backoff.locked_out = isinstance(error, AuthenticationFailed)
            self._failed(str(error) or type(error).__name__)
        else:
            self._opening = None
            self._backoff.locked_out = False
            self._adopt(line)

    def _adopt(self, line: Line) -> None:
        if self.closed:
            line.abort()
            return
        self._line = line
        line.receiver = self
        self._since = self._loop.time()
        if self._away:
            self._away = False
            logger.warning("%s at %s is back", self._what, self._target)
        self._watchdog.wake()
        self._owner.opened()
        if not self._owner.wanted:
            self.rest()

    def _drop(self, reason: str) -> None:
        self._backoff.lived(self._loop.time() - self._since)
        self._hang_up()
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        """Note that there is no link, and try again later if somebody wants one."""
        self.reason = reason
        if not self._owner.wanted or self.closed:
            return
        if not self._away:
            self._away = True
            logger.warning("%s at %s is away (%s); messages may be missed", self._what, self._target, reason)
        self._try_at(self._loop.time() + self._backoff.next(self._owner.longest_pause))

    def _try_at(self, when: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.call_at(when, self._attempt)

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        self._watchdog.stop()
        if line is not None:
            line.abort()
            self._owner.dropped()

    def _rested(self) -> None:
        self._rest = None
        if not self._owner.wanted:
            self._hang_up()

    def __repr__(self) -> str:
        state = (
            "closed" if self.closed else "connected" if self.up else "connecting" if self._opening else "not connected"
        )
        return f"<Wire to {self._target}: {state}>"
