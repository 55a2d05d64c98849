"""Round trips of one exchange: a round becomes one call of the stack's program, within the exchange's time budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ..core.guard import Ask, Asking
from ..core.rounds import Round, read_replies
from ..errors import GuardProtocolError, RedisTimeout, RedisUnavailable
from ..redis.manager import RedisManager
from ..redis.program import program_of


class RoundTrips:
    """What an exchange may still spend on Redis: all rounds of its admission together last at most the timeout."""

    __slots__ = ("_started", "late", "manager")

    def __init__(self, manager: RedisManager) -> None:
        self.manager = manager
        self._started = 0.0
        #: The reply to a round whose caller was cancelled, where operations hold something.
        self.late: asyncio.Future[Any] | None = None

    async def run(self, wanted: Round, *, budgeted: bool = True) -> Any:
        """Run a round in one round trip and return the program's raw reply; raises `RedisUnavailable`."""
        timeout = self._left() if budgeted else None
        program = program_of(wanted.shape)
        future = self.manager.evaluate(program, program.call(wanted.operations), timeout)
        if not program.holds:
            return await future
        self.late = future
        reply = await asyncio.shield(future)
        self.late = None
        return reply

    async def ask(self, asks: Sequence[Ask]) -> list[Any]:
        """Carry out what responders ask, together; return for each its replies or the error. Never raises for Redis."""
        shape = tuple((place, False, operation.kind) for place, ask in enumerate(asks) for operation in ask.operations)
        operations = [operation for ask in asks for operation in ask.operations]
        try:
            raw = await self.run(Round(shape, operations), budgeted=False)
        except RedisUnavailable as error:
            return [error] * len(asks)
        results, at = [], 0
        for ask in asks:
            replies, at = read_replies(ask.operations, raw, at)
            results.append(replies)
        return results

    def _left(self) -> float | None:
        """Seconds left, None for the whole timeout (the first round)."""
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

        A generator that asks nothing is through and is left out.
        """
        asks = [(flow, ask) for flow in flows if (ask := _first(flow)) is not None]
        if not asks:
            return []
        results = await self.ask([ask for _, ask in asks])
        return [(flow, result) for (flow, _), result in zip(asks, results, strict=True)]


def _first(flow: Asking) -> Ask | None:
    try:
        return next(flow)
    except StopIteration:
        return None


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
