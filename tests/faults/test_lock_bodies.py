"""Bodies of `async with lock` when it is lost: ended with LockLost; nothing else is cancelled or swallowed by that."""

import asyncio
from contextlib import suppress

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import LockLost, LockNotOwnedError
from tests.faults.locks import TTL, for_ever, nobody_is_cancelled, take_away
from tests.redis.tools import within
from tests.servers import Server


async def test_flushall_under_a_held_lock_cancels_its_holder(redis: RedisManager, valkey: Server) -> None:
    done = []
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL) as lock:
            valkey.command("FLUSHALL")
            try:
                await within(for_ever())
            finally:
                done.append(lock.lost.is_set())
    assert done == [True]
    nobody_is_cancelled()
    await asyncio.sleep(0)
    async with redis.lock("job", ttl=TTL, wait=0) as lock:
        assert lock.remaining() > 0


async def test_a_body_that_ends_before_the_cancellation_arrives_is_told_all_the_same(
    redis: RedisManager, valkey: Server
) -> None:
    """It was done without the lock, so that it must not count as done under it."""
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL) as lock:
            take_away(valkey)
            await within(lock.lost.wait())
    nobody_is_cancelled()
    await asyncio.sleep(0.01)  # where a cancellation that came too late would be felt


async def test_a_body_that_notices_nothing_is_told_when_it_ends(redis: RedisManager, valkey: Server) -> None:
    """Nothing was renewed in between: the release finds that it is another's, or nobody's."""
    with pytest.raises(LockNotOwnedError):
        async with redis.lock("job", ttl=30):
            take_away(valkey)


async def test_what_the_body_raised_is_not_hidden_by_the_loss(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(ZeroDivisionError):
        async with redis.lock("job", ttl=30):
            take_away(valkey)
            raise ZeroDivisionError


async def test_a_body_that_swallows_the_cancellation_is_told_when_it_ends(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            with suppress(asyncio.CancelledError):
                await within(for_ever())
            await asyncio.sleep(0.01)  # it goes on as if nothing had been
    nobody_is_cancelled()


async def test_a_body_that_fails_because_it_was_cancelled_says_both(redis: RedisManager, valkey: Server) -> None:
    """The loss is the reason, and the failure of the cleaning up is not forgotten."""
    with pytest.raises((LockLost, ValueError)) as caught:
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            try:
                await within(for_ever())
            except asyncio.CancelledError:
                raise ValueError("cleaning up has failed") from None
    told = caught.value
    chain = [told, told.__cause__, told.__context__]
    assert any(isinstance(error, ValueError) for error in chain)
    nobody_is_cancelled()


async def test_told_and_not_cancelled_where_that_is_asked_for(redis: RedisManager, valkey: Server) -> None:
    finished = []
    with pytest.raises(LockNotOwnedError):
        async with redis.lock("job", ttl=TTL, on_lost="tell") as lock:
            take_away(valkey)
            await within(lock.lost.wait())
            await asyncio.sleep(0.05)
            finished.append(True)
    assert finished


async def test_the_callers_own_cancellation_is_not_taken_for_the_loss(redis: RedisManager, valkey: Server) -> None:
    """A server that ends a request just when the lock is lost: the request ends as cancelled, not with LockLost."""
    cleaning = asyncio.Event()

    async def work() -> None:
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            try:
                await for_ever()
            finally:
                cleaning.set()
                await for_ever()

    task = asyncio.ensure_future(work())
    await within(cleaning.wait())
    task.cancel("the server's own")
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_cancelled_by_the_caller_before_the_loss_it_stays_cancelled(redis: RedisManager, valkey: Server) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with redis.lock("job", ttl=TTL) as lock:
            inside.set()
            try:
                await for_ever()
            finally:
                take_away(valkey)
                await lock.lost.wait()

    task = asyncio.ensure_future(work())
    await within(inside.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
