"""Filling a cache before there are requests: jobs side by side, and one line of progress."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .filling import called

logger = logging.getLogger("asgi_redis_guard.cache")


class Warmed(NamedTuple):
    """How far warming has come: `done` jobs, `failed` ones among them, of `total`, after `seconds`."""

    done: int
    failed: int
    total: int
    seconds: float

    def __str__(self) -> str:
        return f"warmed {self.done} of {self.total}, {self.failed} failed, after {self.seconds:.1f} s"


#: Is told after each job.
Progress = Callable[[Warmed], Any]


async def warm(jobs: Iterable[Callable[[], Any]], concurrency: int, progress: Progress | None) -> Warmed:
    """Run all jobs, `concurrency` at a time; one that fails is logged, and the others go on."""
    listed = list(jobs)
    warming = _Warming(len(listed), progress)
    waiting = iter(listed)
    async with asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(listed))):
            workers.create_task(warming.work(waiting))
    if progress is None:
        logger.info("%s", warming.now())
    return warming.now()


class _Warming:
    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = self._failed = 0
        self._began = time.monotonic()

    async def work(self, waiting: Iterator[Callable[[], Any]]) -> None:
        for job in waiting:
            try:
                await called(job)
            except Exception:
                self._failed += 1
                logger.exception("warming: %r failed", job)
            self._done += 1
            if self._progress is not None:
                self._progress(self.now())

    def now(self) -> Warmed:
        return Warmed(self._done, self._failed, self._total, time.monotonic() - self._began)
