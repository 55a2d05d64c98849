"""Round trips of one exchange: a round becomes one call of the stack's program, within the exchange's time budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..core.guard import Ask, Asking
from ..core.rounds import Round, read_replies
from ..errors import GuardProtocolError, RedisTimeout, RedisUnavailable
from ..redis.manager import RedisManager
from ..redis.program import program_of


class RoundTrips:
    """What an exchange may still spend on Redis: all rounds of its admission together last at most the timeout."""

    #: The reply to a round that takes something, until it has been heard.
    late: asyncio.Future[Any] | None = None
    _started = 0.0

    def __init__(self, manager: RedisManager) -> None:
        self.manager = manager

    def send(self, wanted: Round, timeout: float | None = None) -> asyncio.Future[Any]:
        """Send a round; the future is the program's raw reply and may fail with `RedisUnavailable`, as this may.

        Where the round takes something that must be given back, cancelling the caller does not cancel it: `late` is
        its reply until somebody has heard it.
        """
        program = program_of(wanted.shape)
        future = self.manager.evaluate(program, wanted.batches, timeout)
        if not program.holds:
            return future
        self.late = future
        return asyncio.shield(future)

    async def ask(self, asks: Sequence[Ask]) -> list[Any]:
        """Carry out what responders ask, together; return for each its replies or the error. Never raises for Redis."""
        shape = tuple([(place, False, ask.batch.kinds) for place, ask in enumerate(asks)])
        try:
            raw = await self.send(Round(shape, [ask.batch for ask in asks]))
        except RedisUnavailable as error:
            return [error] * len(asks)
        results, at = [], 0
        for ask in asks:
            replies, at = read_replies(ask.batch.kinds, raw, at)
            results.append(replies)
        return results

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take what happens meanwhile (a wait, the reading of a body) off the time that Redis has used up."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self._started:
                self._started += time.monotonic() - began

    def left(self) -> float | None:
        """Seconds left for rounds of the admission, None for the whole timeout (the first); raises `RedisTimeout`."""
        now = time.monotonic()
        if not self._started:
            self._started = now
            return None
        left = self.manager.settings.timeout - (now - self._started)
        if left <= 0:
            raise RedisTimeout("the time for Redis is used up")
        return left

    async def converse(self, flows: Sequence[Asking]) -> list[tuple[Asking, Any]]:
        """Ask what responders' generators want, in one round trip; return each with its replies or the error.

        A generator that asks nothing is through and is left out. One that fails before it asks has its own error.
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
        results = await self.ask(asks) if asks else []
        return [*failed, *zip(asking, results, strict=True)]


def _first(flow: Asking) -> Ask | None:
    try:
        ask = next(flow)
    except StopIteration:
        return None
    if ask.__class__ is not Ask:
        raise GuardProtocolError(f"{flow!r} yielded {ask!r}; a responder may yield an Ask")
    return ask


def finish(flow: Asking, result: Any) -> None:
    """Give a responder's generator its result; it must be through with it."""
    try:
        if isinstance(result, Exception):
            flow.throw(result)
        else:
            flow.send(result)
    except StopIteration:
        return
    raise GuardProtocolError(f"{flow!r} asks twice; a responder has one round trip")
