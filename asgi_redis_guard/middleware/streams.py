"""Route functions that are generators: their guards decide before the head is sent, or before the first item is made.

Frameworks call them without awaiting, some in a thread, and iterate when the head is out already, or even before it: so
the running exchange knows of the decision that is due, and makes it with the head at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

from anyio.from_thread import run as run_in_loop

from .deciding import Route
from .routed import RoutedHandling


class _Due:
    """A decision that is still to be made, once, by whoever comes first."""

    def __init__(self, route: Route, run: RoutedHandling) -> None:
        self._route, self._run = route, run
        self._lock = asyncio.Lock()
        self.made = False
        run.due = (*run.due, self.make)

    async def make(self) -> None:
        """Decide, if that was not done; raises `RouteRefused`."""
        async with self._lock:
            if not self.made or self._run.refusal is not None:
                await self._route.admit(self._run)
                self.made = True


def stream(route: Route, items: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Return `items` behind the guards of `route`. To be iterated in a thread, of anyio if before the head."""
    return _stream(_Due(route, route.running()), items)


def _stream(due: _Due, items: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    if not due.made:
        run_in_loop(due.make)
    return (yield from items)


def async_stream(route: Route, items: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """Return `items` behind the guards of `route`."""
    return _async_stream(_Due(route, route.running()), items)


async def _async_stream(due: _Due, items: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    await due.make()
    async with aclosing(items):
        step = items.asend(None)
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as error:
                step = items.athrow(error)
            else:
                step = items.asend(sent)
