"""Callers of locks who are cancelled at any step of the loop: no lock of nobody's, no task, no lease, no waiter."""

import asyncio
from collections.abc import Awaitable

import pytest

from asgi_redis_guard.locks.lock import Lock
from tests.faults.locks import Process, held, is_attended, is_free, nothing_is_left_of, outcome, processes, steps
from tests.redis.tools import eventually, within
from tests.servers import Server

#: Passes of the loop after which a caller is cancelled: each of those in which it acts, some of those in which it waits
#: for the network, over a proxy in the same loop.
STEPS = [*range(45), *range(45, 450, 30)]

#: Wake-ups of a caller just before which it is cancelled: what it waited for is there, and it does not know.
WAKE_UPS = range(1, 6)


async def cancelled_at(work: Awaitable[object], count: int) -> object:
    """Cancel it after so many passes of the loop; what came of it."""
    task = asyncio.ensure_future(work)
    await steps(count)
    task.cancel()
    return await outcome(within(task))


async def cancel_awoken(task: asyncio.Task[object], times: int) -> None:
    """Cancel a task in the very pass in which it is about to be woken, for so many times, unless it has ended."""
    while not task.done():
        waiter = task._fut_waiter  # type: ignore[attr-defined]
        if waiter is not None and waiter.done():
            times -= 1
            if times == 0:
                task.cancel()
                return
        await asyncio.sleep(0)


async def is_another(other: Process) -> None:
    """Another process can have it, so that it is nobody's."""
    lock = other.lock(wait=None)
    assert await within(lock.acquire())
    await lock.release()


async def ends_well(lock: Lock, acquiring: asyncio.Future[bool]) -> bool:
    """Release what was taken, and tell whether it was."""
    taken = await outcome(within(acquiring))
    if taken is True:
        await lock.release()
    return taken is True


async def test_acquiring_cancelled_at_every_step(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2) as (one, other):
        for count in STEPS:
            lock = one.lock()
            if await cancelled_at(lock.acquire(), count) is True:
                await lock.release()
            await is_another(other)
            await nothing_is_left_of(one.redis)
            assert not held(valkey)


async def test_acquiring_cancelled_when_it_has_just_been_taken(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2) as (one, other):
        lock = one.lock()
        acquiring = asyncio.ensure_future(lock.acquire())
        await cancel_awoken(acquiring, 1)
        assert isinstance(await outcome(within(acquiring)), asyncio.CancelledError)
        await is_another(other)
        await nothing_is_left_of(one.redis)
        assert not held(valkey)


@pytest.mark.parametrize("after_the_word", [False, True])
async def test_acquiring_what_another_process_holds_cancelled_at_every_step(
    valkey: Server, redis_url: str, after_the_word: bool
) -> None:
    """While it subscribes, while it waits for the word, and when it has just been told."""
    async with processes(redis_url, 2) as (one, other):
        for count in STEPS:
            theirs, lock = other.lock(), one.lock(wait=None)
            assert await theirs.acquire()
            acquiring = asyncio.ensure_future(lock.acquire())
            if after_the_word:
                await is_attended(valkey)
                await theirs.release()
            await steps(count)
            acquiring.cancel()
            await outcome(theirs.release())
            await ends_well(lock, acquiring)
            await is_another(other)
            await nothing_is_left_of(one.redis)
            assert not held(valkey)


@pytest.mark.parametrize("times", WAKE_UPS)
async def test_a_waiter_cancelled_when_it_is_about_to_wake(valkey: Server, redis_url: str, times: int) -> None:
    async with processes(redis_url, 2) as (one, other):
        theirs, lock = other.lock(), one.lock(wait=None)
        assert await theirs.acquire()
        acquiring = asyncio.ensure_future(lock.acquire())
        cutting = asyncio.ensure_future(cancel_awoken(acquiring, times))
        while not acquiring.done() and valkey.command("GET", held(valkey)[0])[:1] != b"w":  # noqa: ASYNC110
            await asyncio.sleep(0)
        await theirs.release()
        await ends_well(lock, acquiring)
        await cutting
        await is_another(other)
        await nothing_is_left_of(one.redis)
        assert not held(valkey)


@pytest.mark.parametrize("victim", range(3))
@pytest.mark.parametrize("times", WAKE_UPS)
async def test_one_in_line_cancelled_when_it_is_about_to_wake(
    valkey: Server, redis_url: str, victim: int, times: int
) -> None:
    """The others get it nevertheless, in their order."""
    async with processes(redis_url, 1) as (one,):
        first = one.lock()
        assert await first.acquire()
        order: list[int] = []

        async def work(who: int) -> None:
            async with one.lock(wait=None):
                order.append(who)

        line = [asyncio.ensure_future(work(who)) for who in range(3)]
        cutting = asyncio.ensure_future(cancel_awoken(line[victim], times))
        await is_attended(valkey)
        await first.release()
        outcomes = await within(asyncio.gather(*line, return_exceptions=True))
        assert all(ended is None for who, ended in enumerate(outcomes) if who != victim)
        assert order == [who for who in range(3) if who in order]
        await cutting
        await nothing_is_left_of(one.redis)
        assert not held(valkey)


async def test_one_in_line_cancelled_at_every_step(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        for number, count in enumerate(STEPS):
            first = one.lock()
            assert await first.acquire()
            locks = [one.lock(wait=None) for _ in range(3)]
            line = [asyncio.ensure_future(lock.acquire()) for lock in locks]
            await steps(3)
            await first.release()
            await steps(count)
            line[number % 3].cancel()
            ended = [await ends_well(lock, acquiring) for lock, acquiring in zip(locks, line, strict=True)]
            assert all(well for who, well in enumerate(ended) if who != number % 3)
            await nothing_is_left_of(one.redis)
            assert not held(valkey)


async def test_releasing_cancelled_at_every_step(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2) as (one, other):
        for count in STEPS:
            lock = one.lock()
            assert await lock.acquire()
            await cancelled_at(lock.release(), count)
            if await lock.owned():  # cancelled before it began
                await lock.release()
            await is_another(other)
            await nothing_is_left_of(one.redis)
            assert not held(valkey)


async def test_extending_cancelled_at_every_step(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        lock = one.lock()
        assert await lock.acquire()
        for count in STEPS:
            await cancelled_at(lock.extend(1), count)
            assert await lock.owned()
        await lock.release()
        assert not held(valkey)


async def test_a_body_cancelled_at_every_step_leaves_the_lock(valkey: Server, redis_url: str) -> None:
    """The whole of `async with`: into it, within it and out of it."""

    async def work(one: Process, entered: list[int]) -> None:
        async with one.lock():
            entered.append(1)
            await asyncio.sleep(0)
        entered.append(2)

    async with processes(redis_url, 1) as (one,):
        for count in STEPS:
            entered: list[int] = []
            ended = await cancelled_at(work(one, entered), count)
            assert ended is None or isinstance(ended, asyncio.CancelledError)
            assert (ended is None) == (2 in entered)
            await is_free(valkey)
            await nothing_is_left_of(one.redis)


@pytest.mark.parametrize("seconds", [0, 0.005])
async def test_a_deadline_in_the_middle_is_a_timeout_and_leaves_no_lock(
    valkey: Server, redis_url: str, seconds: float
) -> None:
    async with processes(redis_url, 1) as (one,):
        one.proxy.latency = 0.02
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds), one.lock():
                raise AssertionError("it was entered")
        await nothing_is_left_of(one.redis)
        await is_free(valkey)


async def test_cancelled_while_redis_is_away_it_is_given_back_later(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        one.proxy.drop_replies()
        lock = one.lock()
        acquiring = asyncio.ensure_future(lock.acquire())
        await eventually(lambda: held(valkey))
        acquiring.cancel()
        assert isinstance(await outcome(within(acquiring, 5)), asyncio.CancelledError), "it does not wait for Redis"
        one.proxy.heal()
        await is_free(valkey)
