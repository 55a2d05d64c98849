"""Replies that must be heard although nobody waits any more: something was taken, and is to be given back.

`asyncio.shield` does the same, for two futures more and another pass of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any


class KeptFuture(asyncio.Future[Any]):
    """The future of such a reply; whoever awaits it may be cancelled. `kept` has the reply then."""

    kept: Kept


class Kept:
    """Takes the reply in the place of its future, and keeps it where that was cancelled. May be awaited once."""

    __slots__ = ("_future", "_late", "_outcome")

    def __init__(self, future: KeptFuture) -> None:
        #: None once it was told: the two would be a cycle, which only the collector of garbage ends.
        self._future: KeptFuture | None = future
        self._late: asyncio.Future[Any] | None = None
        self._outcome: tuple[Any, BaseException | None] | None = None
        future.kept = self

    def done(self) -> bool:
        """Tell whether the reply is there; that nobody waits for it is no reason to drop it."""
        future = self._future
        return future is None or (future.done() and not future.cancelled())

    def set_result(self, result: Any, /) -> None:
        """Take the reply."""
        self._tell(result, None)

    def set_exception(self, exception: BaseException, /) -> None:
        """Take what came instead of it."""
        self._tell(None, exception)

    def _tell(self, result: Any, exception: BaseException | None) -> None:
        self._outcome = (result, exception)
        first, self._future = self._future, None
        future = self._late if first is None or first.done() else first
        if future is None or future.done():
            return
        if exception is None:
            future.set_result(result)
        else:
            future.set_exception(exception)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._outcome is None:
            self._late = asyncio.get_running_loop().create_future()
            return (yield from self._late)
        result, exception = self._outcome
        if exception is not None:
            raise exception
        return result
