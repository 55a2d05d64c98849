"""Route functions that are generators: their guards decide before the head is sent, or before the first item is made.

Frameworks call them without awaiting, some in a thread, and iterate when the head is out already, or even before it: so
the running exchange knows of the decision that is due, and makes it with the head at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing
from typing import Any

from anyio.from_thread import run as run_in_loop

from .deciding import Route


class _Due:
    """A decision that is still to be made, once, by whoever comes first."""

    def __init__(self, route: Route, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._route, self._run = route, route.running()
        self._args, self._kwargs = args, kwargs
        self._lock = asyncio.Lock()
        self.made = False
        self._run.due = (*self._run.due, self.make)

    async def make(self) -> None:
        """Decide, if that was not done; raises `RouteRefused`."""
        async with self._lock:
            if not self.made or self._run.refusal is not None:
                await self._route.admit(self._run, self._args, self._kwargs)
                self.made = True


def stream(route: Route, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generator[Any, Any, Any]:
    """Return the generator of a route behind its guards. To be iterated in a thread, of anyio if before the head."""
    items = route.function(*args, **kwargs)
    return _stream(_Due(route, args, kwargs), items)


def _stream(due: _Due, items: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    if not due.made:
        run_in_loop(due.make)
    return (yield from items)


def async_stream(route: Route, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AsyncGenerator[Any, Any]:
    """Return the generator of a route behind its guards."""
    items = route.function(*args, **kwargs)
    return _async_stream(_Due(route, args, kwargs), items)


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
