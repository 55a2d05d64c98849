"""Replies that are kept although their caller was cancelled, on a real server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch, Operation, OperationKind, place_of
from asgi_redis_guard.errors import RedisTimeout
from asgi_redis_guard.redis.kept import Kept, KeptFuture
from asgi_redis_guard.redis.program import program_of

TAKE = OperationKind.parse(
    "-- name: test.take\n-- keys: key\n-- holds: yes\n-- @check\n-- @commit\ncall('SET', key, 'taken', 'PX', 60000)\n"
)


def take(redis: RedisManager) -> asyncio.Future[Any]:
    """Send a round that takes something."""
    batch = Batch([Operation(TAKE, (b"kept",))])
    return redis.evaluate(program_of((place_of(False, batch.kinds),)), [batch])


async def test_the_reply_to_a_round_that_takes_something_is_there_although_its_caller_was_cancelled(
    redis_url: str,
) -> None:
    async with RedisManager(redis_url) as redis:
        future = take(redis)
        assert isinstance(future, KeptFuture)
        assert future.cancel()
        assert (await future.kept)[0] == 1
        assert await redis.execute("GET", b"kept") == b"taken"


async def test_whoever_is_not_cancelled_gets_it_as_ever(redis_url: str) -> None:
    async with RedisManager(redis_url) as redis:
        future = take(redis)
        assert (await future)[0] == 1
        assert isinstance(future, KeptFuture)
        assert future.kept.done()
        assert (await future.kept)[0] == 1


@pytest.mark.parametrize("asks_first", [True, False])
@pytest.mark.parametrize("ends", [lambda kept: kept.set_result(7), lambda kept: kept.set_exception(RedisTimeout("x"))])
async def test_it_is_heard_whether_it_comes_before_or_after_somebody_asks(
    ends: Callable[[Kept], None], asks_first: bool
) -> None:
    future = KeptFuture()
    kept = Kept(future)
    future.cancel()
    assert not kept.done()
    asking = None
    if asks_first:
        asking = asyncio.ensure_future(_hear(kept))
        await asyncio.sleep(0)
    ends(kept)
    assert kept.done()
    heard = await (asking or _hear(kept))
    assert heard == 7 or isinstance(heard, RedisTimeout)


async def _hear(kept: Kept) -> Any:
    try:
        return await kept
    except RedisTimeout as error:
        return error
