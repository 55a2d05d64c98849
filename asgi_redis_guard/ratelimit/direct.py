"""Limits asked directly, outside of requests: a look that counts nothing. What counts goes by `redis/asking.py`.

`hit`s that all fit have a way of their own in `limiter.py`, for speed.
"""

from __future__ import annotations

from ..core.script import Batch, Operation, Replies, place_of, stopping
from ..core.steps import Ask
from ..redis.asking import replies_of
from ..redis.manager import RedisManager
from ..redis.program import program_of
from .refusals import GROUP

#: What holds back the limits in front of it.
_STOP = place_of(False, (stopping(GROUP),))
_STOP_BATCH = Batch([Operation(stopping(GROUP), ())])


async def look(redis: RedisManager, ask: Ask) -> Replies:
    """Tell what the limits would say, and count nothing. Raises `RedisUnavailable`."""
    return replies_of(ask, await redis.evaluate(program_of((ask.place, _STOP)), (ask.batch, _STOP_BATCH)))
