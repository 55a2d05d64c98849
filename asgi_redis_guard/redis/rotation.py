"""New credentials on links that live: every event loop of the process logs in again, each in its own thread.

It owns nothing; a provider that announces is held by its own reference to a weak one.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import RedisUnavailable

if TYPE_CHECKING:
    from .links import Links
    from .manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.redis")


async def rotate(links: Mapping[asyncio.AbstractEventLoop, Links]) -> None:
    """Log in again in every loop that runs; raises what the first of them raises, after all are done."""
    here = asyncio.get_running_loop()
    waits = [
        each.log_in() if loop is here else asyncio.wrap_future(asyncio.run_coroutine_threadsafe(each.log_in(), loop))
        for loop, each in list(links.items())
        if loop is here or loop.is_running()
    ]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def follow(manager: RedisManager) -> None:
    """Log in again whenever the manager's provider announces new credentials, for as long as the manager lives."""
    if manager.address.provider is None:
        return
    alive = weakref.ref(manager)

    def changed() -> None:
        here = alive()
        for loop, links in [] if here is None else list(here._links_by_loop.items()):
            if loop.is_running():
                loop.call_soon_threadsafe(_start, links)

    manager.address.provider.tell(changed)


def _start(links: Links) -> None:
    links.spawn(_announced(links))


async def _announced(links: Links) -> None:
    try:
        await links.log_in()
    except RedisUnavailable as error:
        logger.warning("Redis at %s refused the new credentials (%s); links keep the former", links.address, error)
