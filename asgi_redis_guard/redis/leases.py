"""The leases of one event loop, kept alive: concurrency limits, locks, fills and idempotent requests hold one each.

Law: one timer for all of them, no task, and none of both while there is no lease; nothing here awaits. A lease stands
at one moment at a time, the next at which something is to be done for it: its renewal at a third of its ttl, another
try after one that failed, or its end while one is on its way. Moments that are nearly the same are taken as one, so
that renewals leave in one write. Each is a program of its own, of which there is one a kind: 16 in one would cost a
third of the 5 µs that this takes here and two thirds of the 6 µs at the server, for many more shapes of programs.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..core.script import PASSED, STOPPED, Batch, Operation, place_of
from ..errors import RedisUnavailable
from .program import Program, program_of

logger = logging.getLogger("asgi_redis_guard.redis")

#: Renewals on their way at a time: guards wait for replies on the same lane.
_AT_ONCE = 64

#: Parts of a ttl that count as one moment, for renewals and for further tries.
_RENEWALS, _TRIES = 32, 128

#: Seconds; a shorter lease would be lost to a pause of the garbage collector.
_SHORTEST = 0.1


class Lease:
    """One lease; `drop` ends it."""

    __slots__ = ("_home", "batch", "ends", "lost", "moment", "operation", "ttl")

    def __init__(
        self, home: Leases, operation: Operation, ttl: float, lost: Callable[[], None] | None, ends: float
    ) -> None:
        self._home = home
        self.operation = operation
        self.ttl = ttl
        self.lost = lost
        #: When it is over unless it is renewed, by the loop's clock.
        self.ends = ends
        #: When something is to be done for it; None once it was dropped or lost.
        self.moment: float | None = None
        self.batch: Batch | None = None  # most leases never live so long

    def drop(self) -> None:
        """Renew it no more; `lost` will not be called. One that is lost or dropped already is no fault."""
        self.lost = None
        self._home.take_out(self)

    def end_at(self, ends: float) -> None:
        """Note when it is over unless it is renewed, by the loop's clock: its holder has set that in Redis."""
        self.ends = ends
        self._home.move_up(self)

    def __repr__(self) -> str:
        return f"<Lease {self.operation!r}, {'over' if self.moment is None else f'for {self.ttl:g} s'}>"


class Leases:
    """Renews leases until they are dropped; `evaluate` sends a round, as the lane of the guards does."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        evaluate: Callable[[Program, Sequence[Batch]], asyncio.Future[Any]],
    ) -> None:
        self._loop = loop
        self._evaluate = evaluate
        self._moments: dict[float, set[Lease]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._waiting: deque[Lease] = deque()
        self._in_flight = 0

    def time(self) -> float:
        """Return the present time, by the loop's clock."""
        return self._loop.time()

    def keep(self, operation: Operation, ttl: float, lost: Callable[[], None], since: float | None = None) -> Lease:
        """Keep a lease of `ttl` seconds that was taken just now, until it is dropped.

        `since` is when that was sent, by the loop's clock, for whoever must not believe for longer that it is held.

        The check of `operation` passes while the lease is held, and its commit prolongs it; a check that stops says
        that it is lost. So it is as well when Redis could not be asked until the ttl was over, counted from before the
        last renewal that succeeded was sent. `lost` is called once, in the loop, and must not block. Raises ValueError
        for a ttl under 0.1 s.
        """
        if not _SHORTEST <= ttl < math.inf:
            raise ValueError(f"a lease of {ttl!r} s; allowed are {_SHORTEST} and more")
        taken = self._loop.time() if since is None else since
        lease = Lease(self, operation, ttl, lost, taken + ttl)
        self._put(lease, _renewal(taken, ttl))
        return lease

    def close(self) -> None:
        """Renew nothing more; who holds a lease still is told that it is lost."""
        left = [lease for leases in self._moments.values() for lease in leases]
        self.abandon()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for lease in left:
            _lose(lease)

    def abandon(self) -> None:
        """Forget everything; touches no loop."""
        for leases in self._moments.values():
            for lease in leases:
                lease.moment = None
        self._moments.clear()
        self._waiting.clear()

    # Moments.

    def _put(self, lease: Lease, moment: float) -> None:
        lease.moment = moment
        leases = self._moments.get(moment)
        if leases is not None:
            leases.add(lease)
            return
        self._moments[moment] = {lease}
        self._wake_by(moment)

    def take_out(self, lease: Lease) -> None:
        """Have nothing more to do for a lease. For `Lease` alone."""
        moment, lease.moment = lease.moment, None
        if moment is not None:
            leases = self._moments[moment]
            leases.discard(lease)
            if not leases:
                del self._moments[moment]  # the timer stays: the next lease may want it at the same moment

    def move_up(self, lease: Lease) -> None:
        """Have nothing to do for a lease any later than it is over. For `Lease` alone."""
        if lease.moment is not None and lease.moment > lease.ends:
            self.take_out(lease)
            self._put(lease, lease.ends)

    def _wake_by(self, moment: float) -> None:
        if self._timer is not None:
            if self._wakes_at <= moment:
                return
            self._timer.cancel()
        self._wakes_at = moment
        self._timer = self._loop.call_at(moment, self._wake)

    def _wake(self) -> None:
        """Do what is due; a loop that was held up finds leases that are over."""
        self._timer = None
        now = max(self._loop.time(), self._wakes_at)  # timers may be early by the clock's resolution
        due = [lease for moment in self._moments if moment <= now for lease in self._moments[moment]]
        over = []
        for lease in sorted(due, key=lambda lease: lease.ends):
            self.take_out(lease)
            if lease.ends <= now:
                over.append(lease)
            else:
                self._put(lease, lease.ends)
                self._waiting.append(lease)
        self._send()
        if self._moments:
            self._wake_by(min(self._moments))
        for lease in over:
            _lose(lease)

    # Renewals.

    def _send(self) -> None:
        while self._waiting and self._in_flight < _AT_ONCE:
            lease = self._waiting.popleft()
            if lease.moment is None:
                continue  # dropped, or over, while it waited
            lease.batch = batch = lease.batch or Batch((lease.operation,))
            sent = self._loop.time()
            try:
                reply = self._evaluate(program_of((place_of(False, batch.kinds),)), (batch,))
            except RedisUnavailable:
                self._put_off(lease)
            else:
                self._in_flight += 1
                reply.add_done_callback(partial(self._heard, lease, sent))

    def _heard(self, lease: Lease, sent: float, reply: asyncio.Future[Any]) -> None:
        self._in_flight -= 1
        failed = reply.cancelled() or reply.exception() is not None
        if lease.moment is not None:
            status = None if failed else reply.result()[0]
            if status == PASSED:
                self.take_out(lease)
                lease.ends = max(lease.ends, sent + lease.ttl)  # its holder may know of a later end
                self._put(lease, _renewal(sent, lease.ttl))
            elif status == STOPPED:
                self.take_out(lease)
                _lose(lease)
            else:  # no answer, or the operation itself failed: full memory, say
                self._put_off(lease)
        self._send()

    def _put_off(self, lease: Lease) -> None:
        """Try again later, the sooner the nearer the end is: an outage that is shorter than the ttl loses nothing."""
        now = self._loop.time()
        grain = lease.ttl / _TRIES
        pause = max(grain, min(lease.ttl / 12, (lease.ends - now) / 4))
        self.take_out(lease)
        self._put(lease, min(lease.ends, math.ceil((now + pause) / grain) * grain))

    def __len__(self) -> int:
        return sum(map(len, self._moments.values()))

    def __repr__(self) -> str:
        return f"<Leases: {len(self)} kept, {self._in_flight} being renewed>"


def _renewal(since: float, ttl: float) -> float:
    """When a lease is to be renewed that was taken or renewed at `since`."""
    grain = ttl / _RENEWALS
    return int((since + ttl / 3) / grain) * grain


def _lose(lease: Lease) -> None:
    lost, lease.lost = lease.lost, None
    if lost is not None:  # not dropped by what another's loss has led to
        try:
            lost()
        except Exception:
            logger.exception("who held a lease failed when it was lost")
