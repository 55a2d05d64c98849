"""Limits asked directly, outside of requests: a round of one ask, and a look that counts nothing.

`hit`s that all fit have a way of their own in `limiter.py`, for speed.
"""

from __future__ import annotations

from typing import Any

from ..core.rounds import read_replies
from ..core.script import Batch, Operation, Replies, place_of, stopping
from ..core.steps import Ask
from ..errors import OperationFailed
from ..redis.manager import RedisManager
from ..redis.program import program_of
from .refusals import GROUP

#: What holds back the limits in front of it.
_STOP = place_of(False, (stopping(GROUP),))
_STOP_BATCH = Batch([Operation(stopping(GROUP), ())])


async def carry_out(redis: RedisManager, ask: Ask) -> Replies:
    """Do what `ask` wants, in one round trip. Raises `RedisUnavailable`."""
    return replies_of(ask, await redis.evaluate(program_of((ask.place,)), (ask.batch,)))


async def look(redis: RedisManager, ask: Ask) -> Replies:
    """Tell what the limits would say, and count nothing. Raises `RedisUnavailable`."""
    return replies_of(ask, await redis.evaluate(program_of((ask.place, _STOP)), (ask.batch, _STOP_BATCH)))


def replies_of(ask: Ask, raw: Any) -> Replies:
    """Read what answers `ask`, which stands first in its round; raises `OperationFailed`."""
    replies = read_replies(ask, raw[: ask.place.width], raw[-1])
    if not isinstance(replies, Replies):
        raise replies or OperationFailed("ERR the limits were not run")
    return replies
