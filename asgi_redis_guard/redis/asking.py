"""A round of one ask, sent apart from any request: what services of features do."""

from __future__ import annotations

import asyncio
from typing import Any

from ..core.rounds import clock_of, read_replies
from ..core.script import Replies
from ..core.steps import Ask
from ..errors import OperationFailed, RedisUnavailable
from .manager import RedisManager
from .program import program_of


def send(redis: RedisManager, ask: Ask) -> asyncio.Future[Any]:
    """Send what `ask` wants now; the future is the raw reply. Raises `RedisUnavailable`, as the future may."""
    return redis.evaluate(program_of((ask.place,)), (ask.batch,))


async def carry_out(redis: RedisManager, ask: Ask) -> Replies:
    """Do what `ask` wants, in one round trip. Raises `RedisUnavailable`."""
    return replies_of(ask, await send(redis, ask))


def replies_of(ask: Ask, raw: Any) -> Replies:
    """Read what answers `ask`, which stands first in its round; raises `OperationFailed`, `RedisUnavailable`."""
    if not isinstance(raw, list) or len(raw) <= ask.place.width:
        raise RedisUnavailable("a reply to something else", maybe_executed=True)
    replies = read_replies(ask, raw[: ask.place.width], clock_of(raw, 0))
    if not isinstance(replies, Replies):
        raise replies or OperationFailed("ERR the operations were not run")
    return replies
