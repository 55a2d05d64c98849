"""Work to do when an event loop ends. asyncio tells nobody of that, but it closes async generators that still wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


class AtLoopEnd:
    """Awaits `work()` when the running loop is ended in order, as `asyncio.run` does, unless it is cancelled before."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work: Callable[[], Awaitable[None]] | None = work
        self._generator = self._wait()
        with suppress(StopIteration):
            self._generator.asend(None).send(None)  # to its yield, where it stays

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            work, self._work = self._work, None
            if work is not None:
                await work()

    def cancel(self) -> None:
        """Forget the work; touches no loop."""
        if self._work is not None:
            self._work = None
            with suppress(StopIteration):
                self._generator.aclose().send(None)
