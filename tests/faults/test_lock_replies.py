"""Locks whose replies are lost, late or garbage: nobody's lock stays behind, and nobody believes what is not so."""

import asyncio

import pytest

from asgi_redis_guard.errors import LockLost, LockNotOwnedError, RedisTimeout, RedisUnavailable
from tests.faults.locks import FOR_LONG, TIMEOUT, held, is_attended, is_free, outcome, processes
from tests.faults.test_silence import block
from tests.redis.tools import eventually, within
from tests.servers import Server


async def test_a_reply_lost_on_acquire_is_asked_for_again_and_the_lock_is_ours(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2) as (one, other):
        lock = one.lock()
        one.proxy.cut_after_request(b"EVALSHA")
        assert await within(lock.acquire())
        assert await lock.owned()
        assert not await other.lock().acquire()
        await lock.release()
        assert not held(valkey)


async def test_a_reply_lost_on_release_is_no_error_and_the_lock_is_free(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        lock = one.lock()
        assert await lock.acquire()
        one.proxy.cut_after_request(b"EVALSHA")
        await within(lock.release())
        assert not held(valkey)
        with pytest.raises(LockNotOwnedError):
            await lock.release()


async def test_a_reply_lost_on_release_does_not_take_the_lock_of_who_came_next(valkey: Server, redis_url: str) -> None:
    """The second try finds another's lock: that is no news of ours, and no business of it."""
    async with processes(redis_url, 2) as (one, other):
        mine, theirs = one.lock(), other.lock(wait=None)
        assert await mine.acquire()
        waiting = asyncio.ensure_future(theirs.acquire())
        await is_attended(valkey)
        one.proxy.cut_after_request(b"EVALSHA")
        await within(mine.release())
        assert await within(waiting)
        assert await theirs.owned()
        await theirs.release()


async def test_a_reply_lost_on_renewal_costs_nothing(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        async with one.lock(ttl=1.5) as lock:
            for _ in range(3):
                before = one.proxy.connections
                one.proxy.cut_after_request(b"EVALSHA")
                await eventually(lambda before=before: one.proxy.connections > before)
            await asyncio.sleep(0.2)
            assert not lock.lost.is_set()
            assert lock.remaining() > 0
        assert not held(valkey)


@pytest.mark.parametrize("garbage", [b"-ERR no\r\n_\r\n:1\r\n", b"\x00\xff not a reply \r\n", b"*1\r\n:1\r\n:7\r\n"])
async def test_garbage_for_a_reply_leaves_nobodys_lock(valkey: Server, redis_url: str, garbage: bytes) -> None:
    async with processes(redis_url, 1) as (one,):
        lock = one.lock()
        one.proxy.garble(garbage)
        if await outcome(within(lock.acquire())) is True:
            await lock.release()
        await is_free(valkey)


async def test_an_acquire_that_nobody_answers_is_given_back_when_redis_answers_again(
    valkey: Server, redis_url: str
) -> None:
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        lock = one.lock()
        one.proxy.drop_replies()
        with pytest.raises(RedisUnavailable):
            await within(lock.acquire())
        assert held(valkey), "it was taken, though nobody heard"
        one.proxy.heal()
        await is_free(valkey)
        assert not lock.lost.is_set()
        assert await lock.acquire()
        await lock.release()


async def test_a_release_that_nobody_answers_is_done_when_redis_answers_again(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        lock = one.lock()
        assert await lock.acquire()
        one.proxy.black_hole()
        with pytest.raises(RedisUnavailable):
            await within(lock.release())
        assert held(valkey)
        one.proxy.heal()
        await is_free(valkey)


async def test_what_was_done_within_a_lock_is_no_failure_because_its_release_was(
    valkey: Server, redis_url: str
) -> None:
    """With `raise_on_release_error=False` an outage at the end is not told; the lock is still given back."""
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        async with one.lock(raise_on_release_error=False):
            one.proxy.black_hole()
        one.proxy.heal()
        await is_free(valkey)


async def test_an_acquire_that_came_through_later_than_its_ttl_is_no_lock(valkey: Server, redis_url: str) -> None:
    """The reply says yes, and what it says was true once."""
    async with processes(redis_url, 2) as (one, other):
        one.proxy.latency = 0.05
        acquiring = asyncio.ensure_future(one.lock(ttl=0.2).acquire())
        await eventually(lambda: held(valkey))
        block(0.3)
        with pytest.raises(RedisTimeout):
            await within(acquiring)
        theirs = other.lock(wait=None)
        assert await within(theirs.acquire())
        await theirs.release()


async def test_a_reply_later_than_its_ttl_is_no_lock_that_is_entered(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        one.proxy.latency = 0.3
        with pytest.raises(RedisTimeout):
            async with one.lock(ttl=0.5):
                raise AssertionError("it was entered")
        one.proxy.latency = 0
        await is_free(valkey)


async def test_a_slow_network_is_deducted_from_the_time_that_is_left(redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        one.proxy.latency = 0.2
        async with one.lock(ttl=FOR_LONG) as lock:
            assert lock.remaining() <= FOR_LONG - 0.4, "it may have been taken as soon as it was asked for"


async def test_a_lock_that_cannot_be_renewed_for_its_ttl_is_lost(fresh_server: Server) -> None:
    async with processes(fresh_server.url, 2, timeout=TIMEOUT) as (one, other):
        with pytest.raises(LockLost):
            async with one.lock(ttl=1) as lock:
                fence = lock.fence
                one.proxy.black_hole()
                theirs = other.lock(wait=None, ttl=FOR_LONG)
                acquiring = asyncio.ensure_future(theirs.acquire())
                await within(asyncio.Event().wait())
        assert lock.lost.is_set()
        assert await within(acquiring)
        assert theirs.fence > fence
        one.proxy.heal()
        assert await theirs.owned()
        await theirs.release()


async def test_what_an_outage_of_any_length_has_left_is_given_back_where_it_would_last_longer(
    valkey: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock for five minutes is worth more tries than those of one that is over by itself."""
    monkeypatch.setattr("asgi_redis_guard.pubsub.turns._UNDO", 0.0)
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        one.proxy.drop_replies()
        acquiring = asyncio.ensure_future(one.lock().acquire())
        await eventually(lambda: held(valkey))
        one.proxy.black_hole()
        with pytest.raises(RedisUnavailable):
            await within(acquiring)
        await asyncio.sleep(TIMEOUT * 3)
        assert held(valkey)
        one.proxy.heal()
        await is_free(valkey)


async def test_a_reply_lost_on_extending_is_told_and_the_lock_is_still_ours(valkey: Server, redis_url: str) -> None:
    """It may have been extended or not: its holder goes by what it knew before."""
    async with processes(redis_url, 1) as (one,):
        async with one.lock(ttl=10) as lock:
            one.proxy.cut_after_request(b"EVALSHA")
            with pytest.raises(RedisUnavailable) as caught:
                await within(lock.extend(100))
            assert caught.value.maybe_executed
            assert lock.remaining() <= 10
            assert await lock.owned()
        assert not held(valkey)
