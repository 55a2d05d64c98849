"""How late the event loop itself is: on a busy machine that is nobody's fault, and is taken off what is measured."""

from __future__ import annotations

import asyncio
import time
from typing import Self

#: Seconds between two looks.
EVERY = 0.005


class Lag:
    """The seconds by which the loop has been late so far, all together."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._due = time.perf_counter()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def total(self) -> float:
        """Return that sum, with what it is late by right now."""
        return self._sum + max(0.0, time.perf_counter() - self._due)

    async def _watch(self) -> None:
        while True:
            self._due = time.perf_counter() + EVERY
            await asyncio.sleep(EVERY)
            self._sum += max(0.0, time.perf_counter() - self._due)
