"""Callbacks: a task that iterates one subscription. A callback that fails is logged and disturbs nobody."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable

from ..errors import RedisUnavailable
from .messages import Event
from .subscription import Subscription

logger = logging.getLogger("asgi_redis_guard.pubsub")

Callback = Callable[[Event], object]


class Listener:
    """The handle that `Hub.listen` returns. Events are given to the callback one after another, in order."""

    def __init__(self, subscription: Subscription, callback: Callback, *, patience: float) -> None:
        self._subscription = subscription
        self._callback = callback
        self._patience = patience
        subscription.start()
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"asgi-redis-guard listen {callback!r}")

    @property
    def live(self) -> bool:
        """True while the server has confirmed every channel: nothing published now will be missed."""
        return self._subscription.live

    async def ready(self) -> None:
        """Wait until the server has confirmed, no longer than the manager's timeout.

        Raises `RedisUnavailable`, after which the listener goes on trying all the same, and gets a `Gap` when it is
        there.
        """
        await self._subscription.wait_until_live()

    def stop(self) -> None:
        """Call no callback any more; one that runs goes on."""
        self._subscription.leave()

    async def aclose(self) -> None:
        """Stop, and wait for a callback that runs; one that takes too long is cancelled."""
        self.stop()
        await finish([self], self._patience)

    async def _run(self) -> None:
        try:
            async for event in self._subscription:
                await self._call(event)
        except RedisUnavailable as error:
            logger.error("%r ended: %s", self, error)
        finally:
            self._subscription.leave()

    async def _call(self, event: Event) -> None:
        try:
            result = self._callback(event)
            if inspect.isawaitable(result):
                await result
        except Exception:
            logger.exception("%r failed", self)

    def __repr__(self) -> str:
        return f"<Listener {getattr(self._callback, '__qualname__', self._callback)} on {self._subscription!r}>"


async def finish(listeners: Iterable[Listener], patience: float) -> None:
    """Wait `patience` seconds for the callbacks of stopped listeners, then cancel them."""
    # A callback that closes its own listener, or the hub, must not wait for itself.
    tasks = {listener.task for listener in listeners} - {asyncio.current_task()}
    if not tasks:
        return
    try:
        _, late = await asyncio.wait(tasks, timeout=patience)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
