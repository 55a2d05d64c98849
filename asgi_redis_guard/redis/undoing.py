"""Undoing what was committed in one slot and would not have been, had another one answered before.

Law: in the background, for a bounded time, and never twice where twice is more than once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..core.script import Batch, Operation, place_of
from ..errors import RedisUnavailable
from .backoff import Backoff
from .cutting import Send
from .program import program_of

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds after which it is given up: what was counted too much is forgotten by itself.
_PATIENCE = 30.0


class Undoing:
    """Has operations done that undo others, by `send`; `spawn` runs work that the links wait for when they end."""

    __slots__ = ("_send", "_spawn", "_timeout")

    def __init__(self, send: Send, spawn: Callable[[Coroutine[Any, Any, Any]], object], timeout: float) -> None:
        self._send = send
        self._spawn = spawn
        self._timeout = timeout

    def __call__(self, slot: Any, operation: Operation) -> None:
        """Have it done in the background; it is sent before anything that the caller sends after this, if it can be."""
        try:
            sent = self._sent(slot, operation)
        except RedisUnavailable:
            sent = None
        self._spawn(self._see_to(slot, operation, sent))

    def _sent(self, slot: Any, operation: Operation) -> asyncio.Future[Any]:
        batch = Batch([operation])
        return self._send(slot, program_of((place_of(False, batch.kinds),)), [batch], self._timeout)

    async def _see_to(self, slot: Any, operation: Operation, sent: asyncio.Future[Any] | None) -> None:
        backoff = Backoff(first=0.05, most=1.0, steady=10.0)
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            try:
                reply = await (self._sent(slot, operation) if sent is None else sent)
            except RedisUnavailable as error:
                left = until - loop.time()
                if left <= 0 or (error.maybe_executed and not operation.kind.repeatable):
                    logger.debug("%r was given up: %s", operation, error)
                    return
                await asyncio.sleep(min(backoff.next(), left))
                sent = None
            else:
                if reply[0].__class__ is not int:
                    logger.debug("%r has failed: %r", operation, reply[0])
                return
