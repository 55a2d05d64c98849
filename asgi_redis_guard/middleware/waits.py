"""Waiting as guards ask for it, and what they wait for: a large value in Redis, the end of a key, work done for all.

Nothing here raises for Redis being away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any

from ..core.steps import Wait, Waitable
from ..errors import RedisUnavailable, WaitTimeout
from ..pubsub.feed import Watch
from ..redis.flight import Lead
from ..redis.manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.middleware")

#: Seconds after which a look is tried again for which Redis was away.
_LOOK_AGAIN = 1.0


class Fetch:
    """Waits for the value of a string key, on the second lane: a large one holds up no round."""

    def __init__(self, manager: RedisManager, key: bytes, replica: bool = False) -> None:
        self._manager = manager
        self._key = key
        self._replica = replica

    async def wait(self) -> Any:
        """Return the value, None if there is none or it cannot be had; a replica that has none is not believed."""
        replicas = self._manager.links.replicas if self._replica else None
        if replicas is not None:
            with suppress(RedisUnavailable):
                if (value := await replicas.get(self._key)) is not None:
                    return value
        try:
            return await self._manager.execute("GET", self._key)
        except RedisUnavailable:
            return None


class Gone:
    """Waits until a key is gone: who deletes it says `word` on `topic`, and its time may be up in silence.

    The word is said only where the key's value ends in `w`, which who comes to wait has put there. By the time that the
    word would be heard, the key may be gone and have been made anew, by somebody who knows of nobody that waits: what
    has no such end is another one, and so is what begins with this process's own token.
    """

    def __init__(self, manager: RedisManager, topic: str, word: bytes, key: bytes) -> None:
        self._manager = manager
        self._topic = topic
        self._word = word
        self._key = key

    async def wait(self) -> None:
        """Return when it is gone, as far as can be told."""
        ended = asyncio.Event()
        feed = self._manager.pubsub.feed
        watch = Watch(self._topic, self._word, ended.set, self._lives)
        feed.watch(watch)
        try:
            await ended.wait()
        finally:
            feed.unwatch(watch)

    async def _lives(self, word: bytes) -> float:
        """Return the seconds that it still lives; asked once words would come, and where some may have been missed."""
        links = self._manager.links
        try:
            asked = (self._manager.execute("GET", self._key), self._manager.execute("PTTL", self._key))
            value, left = await asyncio.gather(*asked)
        except RedisUnavailable as error:
            logger.debug("whether %s is still there cannot be told: %s", self._key, error)
            return _LOOK_AGAIN
        if value is None or left == -2 or not value.endswith(b"w") or value.startswith(links.identity):
            return 0.0
        return float("inf") if left == -1 else max(left, 1) / 1000  # 0 ms is not over yet


def share(manager: RedisManager, key: Hashable, work: Callable[[], Awaitable[None]]) -> Waitable:
    """Begin `work` in a task of its own, unless it is under way; return what waits until it is over."""
    flight, lead = manager.flights.join(key)
    if lead is not None:
        manager.spawn(_carry_out(work, lead))
    return flight


async def _carry_out(work: Callable[[], Awaitable[None]], lead: Lead) -> None:
    try:
        await work()
    except Exception:
        logger.exception("work in the background failed")
    finally:
        lead.land(None)


async def wait_for(step: Wait) -> Any:
    """Wait as a guard asked; raises `WaitTimeout`."""
    if step.what is None:
        return await asyncio.sleep(step.deadline)
    try:
        async with asyncio.timeout(step.deadline):
            return await step.what.wait()
    except TimeoutError:
        raise WaitTimeout(f"nothing within {step.deadline:g} s") from None
