"""Round trips: a round becomes one call of its program, within the time that its exchange has left for Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..core.admissions import Admissions
from ..core.guard import Guard
from ..core.rounds import Round, clock_of, read_replies
from ..core.script import place_of
from ..core.steps import Ask, Asking, Body, Sought, Wait, Waitable
from ..errors import GuardProtocolError, OperationFailed, RedisTimeout, RedisUnavailable
from ..pubsub.turns import Turn
from ..redis.flight import Flights
from ..redis.giving_back import give_back
from ..redis.kept import KeptFuture
from ..redis.leases import Leases
from ..redis.manager import RedisManager
from ..redis.program import program_of
from .waits import Fetch, Gone, share

#: How often a responder may ask for one response; a conflict that lasts longer is a fault.
_MOST_ASKS = 100

#: The most that rounds use up of an exchange's time for Redis, in parts of it, where all of them were answered.
_ANSWERED = 0.75


class RoundTrips:
    """What the exchanges of one stack ask of Redis. Stateless: what concerns one exchange stands in its admissions."""

    __slots__ = ("clock", "keys", "manager")

    def __init__(self, manager: RedisManager, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.manager = manager
        self.keys = manager.keys

    @property
    def identity(self) -> bytes:
        """What tells the running loop from all others."""
        return self.manager.links.identity

    @property
    def flights(self) -> Flights:
        """What is being worked out in the running loop."""
        return self.manager.flights

    @property
    def cuts(self) -> bool:
        """True on a cluster."""
        return self.manager.is_cluster

    @property
    def data_lost(self) -> bool:
        """True while a server has not all that it should have; looked at from the first time on."""
        return self.manager.links.losses.heed()

    def fetch(self, key: bytes, replica: bool = False) -> Waitable:
        """Return what waits for the value of a string key, which comes on the second lane, of a replica if it may."""
        return Fetch(self.manager, key, replica)

    def hears(self, topic: str) -> bool:
        """Tell whether words on a topic that is followed are heard now."""
        return self.manager.pubsub.feed.hears(topic)

    def wake(self, topic: str, word: bytes) -> None:
        """Let those of this process go on who wait for `word` by `gone`."""
        self.manager.pubsub.feed.wake(topic, word)

    def gone(self, topic: str, word: bytes, key: bytes) -> Waitable:
        """Return what waits until `key` is gone."""
        return Gone(self.manager, topic, word, key)

    @property
    def leases(self) -> Leases:
        """The leases of the running loop."""
        return self.manager.leases

    def turn(self, sought: Sought) -> Turn:
        """Return what waits for a turn at what others hold."""
        return Turn(self.manager, sought)

    def share(self, key: Hashable, work: Callable[[], Awaitable[None]]) -> Waitable:
        """Have work done in the background, once for all of the running loop."""
        return share(self.manager, key, work)

    def give_back(self, ask: Ask, seconds: float) -> None:
        """Have what was taken given back, in the background."""
        give_back(self.manager, ask, seconds)

    def admit(self, admissions: Admissions, wanted: Round) -> asyncio.Future[Any]:
        """Send a round of an admission; all of them together last at most the timeout, apart from pauses.

        The future is the program's raw reply and may fail with `RedisUnavailable`, as this may. Where the round takes
        something that must be given back, cancelling the caller does not cancel it: `admissions.late` is its reply
        until somebody has heard it.
        """
        program = program_of(wanted.shape)
        future = self.manager.evaluate(program, wanted.batches, self.left(admissions))
        if not program.holds:
            return future
        if isinstance(future, KeptFuture):
            admissions.late = future.kept
            return future
        admissions.late = future
        return asyncio.shield(future)

    def left(self, admissions: Admissions) -> float | None:
        """Seconds left for rounds of the admission, None for the whole timeout (the first); raises `RedisTimeout`."""
        if not admissions.began:
            admissions.began = time.monotonic()
            return None
        return _left(admissions.began + self.manager.settings.timeout)

    def spent(self, admissions: Admissions) -> float:
        """Seconds that the rounds of an admission have used up of what its exchange has for Redis.

        Where all of them were answered, Redis is there, and most of what went by may be this process's own: for what is
        written before the head, some is left in any case.
        """
        if not admissions.began:
            return 0.0
        went = time.monotonic() - admissions.began
        return went if admissions.degraded else min(went, self.manager.settings.timeout * _ANSWERED)

    def began(self, spent: float) -> float:
        """When the rounds of an exchange began that has used up so many seconds; 0 for one that has used none."""
        return time.monotonic() - spent if spent else 0.0

    def deadline(self, spent: float) -> float:
        """When an exchange gives up that has used so much of its time, by `time.monotonic`."""
        return time.monotonic() + self.manager.settings.timeout - spent

    @contextmanager
    def paused(self, admissions: Admissions, step: Wait | Body) -> Iterator[None]:
        """Take a step off the time that Redis has used up: a wait, the reading of a body, but no value of Redis."""
        if isinstance(step, Wait) and isinstance(step.what, Fetch):
            yield
            return
        began = time.monotonic()
        try:
            yield
        finally:
            if admissions.began:
                admissions.began += time.monotonic() - began

    def follow(self, guard: Guard) -> None:
        """Let a guard hear what is said on its topic, in the running loop, from now on."""
        self.manager.pubsub.feed.follow(guard.topic, guard, lambda: _Follower(guard, self))

    async def perform(self, asks: Sequence[Ask], deadline: float | None = None) -> list[Any]:
        """Carry out what responders ask, together; return for each its replies or the error. Never raises for Redis.

        `deadline` is what `deadline` has returned, for what an exchange waits for; else there is the whole timeout.
        """
        shape = tuple([ask.place if ask.place.shadow else place_of(False, ask.batch.kinds) for ask in asks])
        try:
            program = program_of(shape)
            left = None if deadline is None else _left(deadline)
            future = self.manager.evaluate(program, [ask.batch for ask in asks], left)
            raw = await (asyncio.shield(future) if program.holds else future)
        except RedisUnavailable as error:
            return [error] * len(asks)
        results, at = [], 0
        for number, ask in enumerate(asks):
            end = at + ask.place.width
            results.append(read_replies(ask, raw[at:end], clock_of(raw, number)))
            at = end
        return results

    async def converse(self, flows: Sequence[Asking], deadline: float | None = None) -> list[tuple[Asking, Any]]:
        """Ask what responders' generators want, in one round trip; return each with its replies or the error.

        A generator that asks nothing is through and is left out. One that fails before it asks has its own error.
        `deadline` as in `perform`.
        """
        asking: list[Asking] = []
        asks: list[Ask] = []
        failed: list[tuple[Asking, Any]] = []
        for flow in flows:
            try:
                ask = _first(flow)
            except Exception as error:
                failed.append((flow, error))
            else:
                if ask is not None:
                    asking.append(flow)
                    asks.append(ask)
        results = await self.perform(asks, deadline) if asks else []
        return [*failed, *zip(asking, results, strict=True)]

    async def finish(self, flow: Asking, result: Any, deadline: float | None = None) -> None:
        """Give a responder's generator its result, and do what more it asks, one after the other, within bounds.

        `deadline` as in `perform`.
        """
        for _ in range(_MOST_ASKS):
            try:
                ask = flow.throw(result) if isinstance(result, Exception) else flow.send(result)
            except StopIteration:
                return
            if ask.__class__ is not Ask:
                raise GuardProtocolError(f"{flow!r} yielded {ask!r}; a responder may yield an Ask")
            (result,) = await self.perform([ask], deadline)
        flow.close()
        raise GuardProtocolError(f"{flow!r} has asked {_MOST_ASKS} times and is not through")


class _Follower:
    """A guard that listens to its topic."""

    def __init__(self, guard: Guard, trips: RoundTrips) -> None:
        self._guard = guard
        self._trips = trips

    def told(self, word: bytes) -> bool:
        """Pass a word on."""
        return self._guard.told(word)

    async def missed(self) -> None:
        """Let the guard look for itself. Raises `RedisUnavailable` where to ask again may help."""
        for flow, result in await self._trips.converse([self._guard.missed(self._trips.keys)]):
            await self._trips.finish(flow, result)
            if isinstance(result, RedisUnavailable) and not isinstance(result, OperationFailed):
                raise result


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise RedisTimeout("the time for Redis is used up")
    return left


def _first(flow: Asking) -> Ask | None:
    try:
        ask = next(flow)
    except StopIteration:
        return None
    if ask.__class__ is not Ask:
        raise GuardProtocolError(f"{flow!r} yielded {ask!r}; a responder may yield an Ask")
    return ask
