"""Callers of one lock, and who judges what they are told.

Judged is what holders may rely on: of those who hold it by their own clock there is one, unless the server has lost its
data; whoever came later has the greater fence, so that a store that refuses older ones never takes writes in the wrong
order; and whoever certainly holds it is not told that he does not.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asgi_redis_guard.errors import LockNotOwnedError, RedisUnavailable
from asgi_redis_guard.locks.lock import Lock
from asgi_redis_guard.locks.lock_options import LockOptions
from tests.faults.locks import Process, outcome, steps
from tests.redis.tools import within

#: Seconds: a ttl that runs out within a history, and one that does not.
SHORT, LONG = 0.4, 300.0

#: Seconds by which the clocks of the server and of this process may differ in what they call a millisecond.
GRAIN = 0.005


class Caller:
    """One who wants the lock, again and again, by one object; does one thing at a time."""

    def __init__(self, judge: Judge, process: Process, ttl: float, renew: bool) -> None:
        self.judge = judge
        self.process = process
        options: LockOptions = {"renew": renew, "on_lost": "tell"}
        self.lock: Lock = (
            process.redis.lock("job", ttl=ttl, **options)
            if judge.permits is None
            else process.redis.semaphore("places", judge.permits, ttl=ttl, **options)
        )
        self.held = False  # by what it was told, until it released it
        self.era = 0  # how often the server had lost its data when it asked for the lock
        judge.callers.append(self)

    @property
    def believes(self) -> bool:
        """True if it may go on, as far as it can know."""
        return self.held and not self.lock.lost.is_set() and self.lock.remaining() > GRAIN

    @property
    def certain_until(self) -> float:
        """Until when nobody may tell it that it does not hold the lock, by the loop's clock."""
        if not self.believes or self.era != self.judge.era:
            return 0.0
        return asyncio.get_running_loop().time() + self.lock.remaining() - GRAIN

    async def acquire(self, wait: float | None) -> bool:
        """Take the lock; what comes of it is judged. An outage is no fault."""
        era = self.judge.era
        try:
            if wait == 0:
                self.held = await self.lock.acquire(blocking=False)
            else:
                self.held = await self.lock.acquire(blocking_timeout=wait)
        except RedisUnavailable:
            return False
        if self.held:
            self.era = era  # what was lost since may have been his
            self.judge.granted(self.lock.fence, era, certain=era == self.judge.era)
            self.judge.look()
        return self.held

    async def release(self, cancelled_after: int | None = None) -> None:
        """Give it back, perhaps cancelled after so many passes of the loop."""
        until = self.certain_until
        task = asyncio.ensure_future(self.lock.release())
        if cancelled_after is not None:
            await steps(cancelled_after)
            task.cancel()
        ended = await outcome(within(task))
        if isinstance(ended, asyncio.CancelledError) and self.lock.token is not None:
            return  # it was cancelled before it began
        self.held = False
        if not isinstance(ended, asyncio.CancelledError):
            self._judge(None, ended, until)

    async def extend(self, seconds: float, *, replace: bool) -> None:
        """Hold it for longer."""
        until = self.certain_until
        self._judge(True, await outcome(within(self.lock.extend(seconds, replace))), until)

    def write(self) -> None:
        """Write what the lock is for, if it may go on."""
        if self.believes:
            self.judge.written(self.lock.fence, certain=self.era == self.judge.era)

    def _judge(self, expected: object, ended: Any, until: float) -> None:
        if isinstance(ended, LockNotOwnedError):
            late = asyncio.get_running_loop().time() >= until
            assert late or self.era != self.judge.era, "it was held, as far as anybody knows"
        else:
            assert ended is expected or isinstance(ended, RedisUnavailable), repr(ended)


class Judge:
    """What all have been told. `era` is how often the server has lost its data; with `permits` it is a semaphore."""

    def __init__(self, permits: int | None = None) -> None:
        self.permits = permits
        self.era = 0
        self.callers: list[Caller] = []
        self.eras: dict[int, int] = {}  # of each fence
        self._last = 0  # the greatest fence that has written

    def granted(self, fence: int | None, era: int, *, certain: bool) -> None:
        """Somebody was told that the lock is his; `certain` if the server has lost nothing since he asked."""
        assert fence is not None
        assert fence not in self.eras, "a fence is given once"
        if certain and not self.permits:  # of several who hold it at a time, one may hear of it later than another
            assert all(other < fence for other, then in self.eras.items() if then == era), "the later has the greater"
        self.eras[fence] = era

    def written(self, fence: int | None, *, certain: bool) -> None:
        """Take what a holder writes, unless a later one has written before: then he must be in doubt."""
        assert fence is not None
        assert fence >= self._last or not certain or self.permits, "who certainly holds it is refused"
        self._last = max(self._last, fence)

    def look(self) -> None:
        """Look who holds it."""
        holders = [caller for caller in self.callers if caller.believes and caller.era == self.era]
        assert len(holders) <= (self.permits or 1), f"{len(holders)} hold it"
