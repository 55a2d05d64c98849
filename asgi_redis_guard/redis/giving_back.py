"""Giving back what may have been taken: a lock whose release did not arrive, a claim whose reply was lost.

Law: in the background, and only until its time would be up by itself.
"""

from __future__ import annotations

import asyncio
import logging

from ..core.steps import Ask
from ..errors import OperationFailed, RedisUnavailable
from .asking import send
from .backoff import Backoff
from .manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.redis")


def give_back(manager: RedisManager, ask: Ask, seconds: float) -> None:
    """Have `ask` done in the background; where Redis is away again and again, for `seconds` at most.

    It is sent before anything that the caller sends after this, as far as it can be sent now.
    """
    loop = asyncio.get_running_loop()
    try:
        sent = send(manager, ask)
    except RedisUnavailable:
        sent = None
    manager.spawn(_see_to(manager, ask, sent, loop.time() + seconds))


async def _see_to(manager: RedisManager, ask: Ask, sent: asyncio.Future[object] | None, until: float) -> None:
    backoff = Backoff(first=0.05, most=1.0, steady=10.0)
    loop = asyncio.get_running_loop()
    while True:
        try:
            await (send(manager, ask) if sent is None else sent)
        except OperationFailed as error:
            logger.debug("what was taken cannot be given back: %s", error)
            return
        except RedisUnavailable as error:
            left = until - loop.time()
            if left <= 0:
                logger.debug("what was taken was not given back before its time was up: %s", error)
                return
            await asyncio.sleep(min(backoff.next(), left))
            sent = None
        else:
            return
