"""The multiplexed connection to one Redis node: every caller of one event loop shares it.

It owns the commands: whose each reply is, and how long a caller waits; `keeper.py` owns the link under it. User tasks
never await the socket, so that cancelling one disturbs nobody.

Commands issued in one turn of the loop leave in one write, or in several of `_BATCH` commands: the server works on the
first while the others are made. While callers come one at a time, a command leaves at once, which saves the loop a
pass. A handler that blocks the loop is not a dead server: that time does not count, and a deadline that expires gives
the loop one more pass to read what has arrived. A link is dropped after `timeout` seconds without a byte and a PING
unanswered for as long.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import hiredis

from ..core.script import Batch
from ..errors import OperationFailed, RedisTimeout, RedisUnavailable
from .breaker import SERVER_DOWN
from .keeper import Keeper
from .kept import Kept, KeptFuture
from .link import NOTHING, Link, Push
from .pipeline import Loadable, Slot, Waiter
from .program import Program

W = TypeVar("W", bound=Waiter)

#: What Redis 6.2 puts before the error of a command inside of a script; later servers give the error itself.
_IN_SCRIPT = re.compile(
    r"^ERR Error running script \(call to \w+\): @user_script:\d+: (@user_script: \d+: -)?(?=[A-Z]+ )"
)

#: Where a turn issues more, these leave before its end: a write costs about what making two commands does, and without
#: it client and server wait for each other in turns (64 callers got half as many replies).
_BATCH = 32


class Channel(Keeper):
    """Submit commands from any task of `loop`; get a future each."""

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
        timeout = self._timeout if timeout is None else timeout
        return self._send(hiredis.pack_command(args), repeatable, timeout, script, self._loop.create_future())

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Queue one round, as `submit` does; the future is the program's raw reply.

        Where the program takes something that must be given back, that is a `KeptFuture`.
        """
        timeout = timeout or self._timeout
        payload = program.payload(batches)
        if not program.holds:
            return self._send(payload, program.repeatable, timeout, program, self._loop.create_future())
        future = KeptFuture(loop=self._loop)
        self._send(payload, program.repeatable, timeout, program, Kept(future))
        return future

    def _send(
        self,
        payload: bytes,
        repeatable: bool,
        timeout: float,
        script: Loadable | None,
        future: W,
        asking: bool = False,
    ) -> W:
        if self._breaker.is_open or self._closed:
            raise RedisUnavailable("closed" if self._closed else self._breaker.reason)
        loop = self._loop
        self._pipeline.submit(Slot(payload, future, timeout, loop.time() + timeout, repeatable, script, asking))
        if self._link is None:
            self._reconnect()
        elif not self._flushing:
            if self._lone and not self._pipeline.inflight:
                self._flush()
            else:
                self._schedule_flush()
        elif len(self._pipeline.waiting) >= _BATCH and not self._link.paused:
            self._write()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._timeout / 8, self._sweep)
        return future

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

    # Faults.

    def _refused(self, slot: Slot, error: OperationFailed) -> bool:
        """Give an error reply to its caller, or act on it; tell whether the server serves."""
        if slot.script is not None and error.code == "ERR":
            error = OperationFailed(_IN_SCRIPT.sub("", str(error)))
        code = error.code
        if code in SERVER_DOWN:
            slot.fail(RedisUnavailable(str(error)))
            self._breaker.failed(str(error))
            if code == "READONLY":  # a replica now: the name may lead to the new primary
                self._lone = False  # what comes before the link is dropped waits for the next one
                self._loop.call_soon(self.drop, "the server became a replica")
            return False
        if code == "NOSCRIPT" and self._pipeline.missing_script(slot):
            self._schedule_flush()
        else:
            slot.fail(error)
        return True

    # Deadlines.

    def _sweep(self) -> None:
        """Run while anything is queued or owed: notice expired deadlines."""
        sweeper, self._sweeper = self._sweeper, None
        if not len(self._pipeline) or sweeper is None:
            return
        now, interval = self._loop.time(), self._timeout / 8
        if (deaf := now - sweeper.when()) > interval:
            self._pipeline.forgive(now, deaf)  # held up, and nobody could listen: that counts for no deadline
        self._loop.call_later(0.001, self._expire, now)  # after the pass that reads what has arrived by now
        self._sweeper = self._loop.call_later(interval, self._sweep)

    def _expire(self, cutoff: float) -> None:
        """Fail what was expired at `cutoff` and has not been answered by the bytes read since."""
        if self._closed:
            return
        silent = self._link is None or self._loop.time() - self._link.last_byte >= self._timeout
        for slot in self._pipeline.expired(cutoff):
            slot.fail(RedisTimeout(f"no answer from Redis within {slot.timeout:g} s", maybe_executed=slot.sent))
            if silent or not self._patient:
                self._breaker.failed("timeout")
