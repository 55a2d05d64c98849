"""A request cancelled at each of its awaits in turn, on a real server: nothing leaks and nobody else is disturbed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Literal

import pytest

from asgi_redis_guard import Ask, Body, Exchange, GuardMiddleware, Head, Pass, RedisManager, Wait
from asgi_redis_guard.core.steps import Admission, Asking
from tests.guards import Does, Holder, Lock, asking, count, passing
from tests.middleware.calls import Call, http, responding, settled
from tests.servers import Server

When = Literal["as it waits", "as it is woken"]


class CancelledAt:
    """Awaits something, and has its own task cancelled at the await number `place`."""

    def __init__(self, place: int, when: When, work: Callable[[], Awaitable[Any]]) -> None:
        self.place, self.when, self.work = place, when, work
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self.work().__await__()
        number = 0
        try:
            future = next(steps)
            while True:
                number += 1
                if number == self.place:
                    self.reached = True
                    if self.when == "as it waits" or future is None:
                        task.cancel()
                    else:
                        future.add_done_callback(lambda _: task.cancel())
                try:
                    yield future
                except BaseException as error:
                    future = steps.throw(error)
                else:
                    future = next(steps)
        except StopIteration as stop:
            return stop.value


class Thing:
    """Something that comes in the next turn of the loop."""

    async def wait(self) -> None:
        await asyncio.sleep(0)


class Saves(Holder):
    """A lock's holder that also asks before the head is sent."""

    def start(self, head: Head) -> Asking:
        yield Ask([count("saved")])


def waits_and_reads(exchange: Exchange) -> Admission:
    yield Ask([count("asked")])
    yield Wait(Thing(), 60.0)
    yield Body(10)
    yield Ask([count("asked again")])
    return Pass(responder=Saves(b"none", "none"))


GUARDS = [
    Lock("first"),
    asking(count("limit"), responder=Holder(b"none", "none")),
    Does(waits_and_reads, operations=()),
    Lock("second"),
]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisManager]:
    """A real server, with patience for a slow machine."""
    async with RedisManager(redis_url, timeout=30.0) as redis:
        yield redis


async def everything_read(redis: RedisManager) -> None:
    """Wait until the replies to all that was ever sent have come."""
    await settled(redis)
    await redis.links.lane1.submit(("PING",))
    await settled(redis)


@pytest.mark.parametrize("when", ["as it waits", "as it is woken"])
async def test_at_whatever_await_a_request_is_cancelled_nothing_leaks(
    redis: RedisManager, valkey: Server, when: When
) -> None:
    stack = GuardMiddleware(responding(b"a", b"b"), GUARDS, redis=redis)
    tasks = asyncio.all_tasks()
    for place in range(1, 100):
        call = Call(stack, http(), {"type": "http.request", "body": b"1", "more_body": False})
        attempt = CancelledAt(place, when, call.app)

        async def serve(attempt: CancelledAt = attempt) -> None:
            await attempt

        ended = await asyncio.gather(asyncio.ensure_future(serve()), return_exceptions=True)
        await everything_read(redis)
        assert redis.links.lane1.in_flight == 0
        assert asyncio.all_tasks() == tasks
        assert (valkey.command("EXISTS", "first"), valkey.command("EXISTS", "second")) == (0, 0)
        if not attempt.reached:
            assert ended == [None]
            break
        assert isinstance(ended[0], asyncio.CancelledError)
    assert 8 <= place < 99


async def test_a_cancelled_request_disturbs_no_other_that_shares_its_write(redis: RedisManager) -> None:
    stack = GuardMiddleware(responding(), [asking(count("limit")), passing()], redis=redis)
    for place in (1, 2, 3):
        calls = [Call(stack) for _ in range(9)]
        attempt = CancelledAt(place, "as it waits", calls[4].app)

        async def serve(attempt: CancelledAt = attempt) -> None:
            await attempt

        works = [asyncio.ensure_future(serve()) if call is calls[4] else call.start().task for call in calls]
        ended = await asyncio.gather(*works, return_exceptions=True)
        assert [type(one) for one in ended].count(asyncio.CancelledError) == 1
        assert [call.status for call in calls if call is not calls[4]] == [200] * 8
    assert redis.links.breaker.failures == 0


async def test_a_lock_whose_reply_comes_after_its_request_was_cancelled_is_given_back(
    redis: RedisManager, valkey: Server
) -> None:
    for _ in range(20):
        call = Call(GuardMiddleware(responding(), [Lock("first")], redis=redis)).start()
        await asyncio.sleep(0)  # the round is queued, and not written yet
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.task
    await everything_read(redis)
    assert valkey.command("EXISTS", "first") == 0
    assert (await Call(GuardMiddleware(responding(), [Lock("first")], redis=redis)).run()).status == 200
