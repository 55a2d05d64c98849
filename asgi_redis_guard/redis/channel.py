"""The multiplexed connection to one Redis node: every caller of one event loop shares it.

It owns the link and its reconnection. State changes are plain methods; the only coroutine is the reconnecting task.
User tasks never touch the socket, so that cancelling one disturbs nobody.

Commands issued in one turn of the loop leave in one write. A handler that blocks the loop is not a dead server: that
time does not count, and a deadline that expires gives the loop one more pass to read what has arrived. A link is
dropped after `timeout` seconds without a byte and a PING unanswered for as long.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import hiredis

from ..core.script import Batch
from ..errors import OperationFailed, RedisTimeout, RedisUnavailable
from .address import Address
from .breaker import SERVER_DOWN, Breaker
from .link import NOTHING, AuthenticationFailed, Link, Push, open_link
from .pipeline import Loadable, Pipeline, Slot
from .program import Program

_PING = hiredis.pack_command(("PING",))

#: Seconds before the first, and at most between, attempts to reconnect while callers wait.
_RETRY_FIRST, _RETRY_MOST = 0.02, 0.5


class Channel:
    """Submit commands from any task of `loop`; get a future each."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
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
        self._address = address
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
        self._sweeper: asyncio.TimerHandle | None = None
        self._ping: Slot | None = None
        self._pinged = 0.0
        self._closed = False

    @property
    def link(self) -> Link | None:
        """The link in use, or None while there is none."""
        return self._link

    @property
    def in_flight(self) -> int:
        """Commands queued or owed a reply, tombstones included."""
        return len(self._pipeline)

    def submit(
        self,
        args: tuple[Any, ...],
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        script: Loadable | None = None,
    ) -> asyncio.Future[Any]:
        """Queue one command and return the future of its reply.

        The future fails with `OperationFailed` for an error reply, else with another `RedisUnavailable`. `timeout`
        is in seconds. `repeatable` commands are sent once more after a link that broke while they were in flight.
        Raises `RedisUnavailable` at once while the breaker is open, `RedisOverloaded` past the bound.
        """
        return self._send(hiredis.pack_command(args), repeatable, self._timeout if timeout is None else timeout, script)

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Queue one round, as `submit` does; the future is the program's raw reply."""
        timeout = self._timeout if timeout is None else timeout
        return self._send(program.payload(batches), program.repeatable, timeout, program)

    def _send(self, payload: bytes, repeatable: bool, timeout: float, script: Loadable | None) -> asyncio.Future[Any]:
        if self._breaker.is_open or self._closed:
            raise RedisUnavailable("closed" if self._closed else self._breaker.reason)
        loop = self._loop
        future: asyncio.Future[Any] = loop.create_future()
        self._pipeline.submit(Slot(payload, future, timeout, loop.time() + timeout, repeatable, script))
        if self._link is None:
            self._reconnect()
        elif not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._timeout / 8, self._sweep)
        return future

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
        pipeline = self._pipeline
        next_reply = link.next
        served = False
        try:
            while (reply := next_reply()) is not NOTHING:
                if reply.__class__ is Push:
                    continue
                slot = pipeline.answer()
                if slot is None:
                    raise RedisUnavailable("a reply that nobody asked for")
                if isinstance(reply, OperationFailed):
                    served = self._refused(slot, reply) or served
                else:
                    future = slot.future
                    if future is not None and not future.done():
                        future.set_result(reply)
                        served = True
        except Exception as error:  # not RESP, or out of step: nothing after this byte can be trusted
            self._broke(f"broken reply: {type(error).__name__}")
            return
        if served and self._breaker.failures:  # a late reply serves nobody
            self._breaker.succeeded()

    def writable(self, link: Link) -> None:
        self._schedule_flush()

    def lost(self, link: Link, error: Exception | None) -> None:
        if link is self._link:
            self._broke(f"connection lost: {error or 'closed by the server'}")

    # Writing.

    def _schedule_flush(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        link = self._link
        if link is None or link.paused:
            self._pipeline.hold()
        elif self._pipeline.waiting:
            chunks = self._pipeline.take(self._loop.time())
            if chunks:
                link.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    # Faults.

    def _refused(self, slot: Slot, error: OperationFailed) -> bool:
        """Give an error reply to its caller, or act on it; tell whether the server serves."""
        code = error.code
        if code in SERVER_DOWN:
            slot.fail(RedisUnavailable(str(error)))
            self._breaker.failed(str(error))
            if code == "READONLY":  # a replica now: the name may lead to the new primary
                self._loop.call_soon(self.drop, "the server became a replica")
            return False
        if code == "NOSCRIPT" and self._pipeline.missing_script(slot):
            self._schedule_flush()
        else:
            slot.fail(error)
        return True

    def _broke(self, reason: str) -> None:
        self._breaker.failed(reason)
        self.drop(reason)

    def _fail_waiting(self, reason: str) -> None:
        for slot in self._pipeline.drop_waiting():
            slot.fail(RedisUnavailable(reason, maybe_executed=slot.sent))

    # Connecting.

    def _open(self) -> Any:
        return open_link(
            self._address,
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
        pause = _RETRY_FIRST
        while self._link is None and not self._closed:
            try:
                await self.connect()
            except RedisUnavailable as error:
                self._breaker.failed(str(error), fatal=isinstance(error, AuthenticationFailed))
                if self._breaker.is_open or not any(not slot.abandoned for slot in self._pipeline.waiting):
                    self._fail_waiting(str(error))
                    return
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (jitter)
                pause = min(pause * 2, _RETRY_MOST)

    # Deadlines.

    def _sweep(self) -> None:
        """Run while anything is queued or owed: notice expired deadlines and a silent link."""
        sweeper, self._sweeper = self._sweeper, None
        if not len(self._pipeline) or sweeper is None:
            return
        now, interval = self._loop.time(), self._timeout / 8
        if (deaf := now - sweeper.when()) > interval:
            self._forgive(now, deaf)
        self._loop.call_later(0.001, self._judge, now)
        self._sweeper = self._loop.call_later(interval, self._sweep)

    def _forgive(self, now: float, deaf: float) -> None:
        """The loop was held up for the last `deaf` seconds, and nobody could listen: they count for no deadline."""
        self._pipeline.forgive(now, deaf)
        if self._ping in self._pipeline.inflight:
            self._pinged += min(deaf, now - self._pinged)

    def _judge(self, now: float) -> None:
        """Look at how things were at `now`, after the pass of the loop that has read what had arrived by then."""
        if not self._closed:
            self._expire(now)
            self._watch(now)

    def _expire(self, cutoff: float) -> None:
        """Fail what was expired at `cutoff` and has not been answered by the bytes read since."""
        silent = self._link is None or self._loop.time() - self._link.last_byte >= self._timeout
        for slot in self._pipeline.expired(cutoff):
            slot.fail(RedisTimeout(f"no answer from Redis within {slot.timeout:g} s", maybe_executed=slot.sent))
            if silent or not self._patient:
                self._breaker.failed("timeout")

    def _watch(self, now: float) -> None:
        link, inflight = self._link, self._pipeline.inflight
        if link is None or not inflight:
            return
        oldest = inflight[0].deadline - inflight[0].timeout
        if now - max(link.last_byte, oldest) < self._timeout:
            return
        if self._ping not in inflight:
            self._ping, self._pinged = Slot(_PING, None, self._timeout, now + self._timeout), now
            inflight.append(self._ping)
            link.write(_PING)
        elif now - self._pinged >= self._timeout:
            self._broke("no sign of life from the server")

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self._link is not None else "not connected"
        return f"<Channel {self._name} to {self._address}: {state}, {self.in_flight} in flight>"
