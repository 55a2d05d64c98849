"""`Wait`: guards that wait for something else than Redis, and what their waiting costs the others."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    PASS,
    Answer,
    Ask,
    Exchange,
    GuardMiddleware,
    RedisUnavailable,
    RouteGuards,
    Wait,
    WaitTimeout,
    guarded,
)
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.middleware import trips
from asgi_redis_guard.testing import ManualClock
from tests.guards import Does, Ends, asking, count, passing
from tests.middleware.calls import Call, TestRedis, responding
from tests.middleware.site import hello, routing


class Thing:
    """Something to wait for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.came: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Any:
        self.asked.set()
        return await self.came


class Waits(Does):
    """Asks first if it is told to, waits, notes what came, and lets pass."""

    def __init__(self, what: Any, deadline: float = 60.0, *, asks: bool = False) -> None:
        super().__init__(self._admit, name="waits")
        self.what, self.deadline, self.asks = what, deadline, asks
        self.got: list[Any] = []

    def _admit(self, exchange: Exchange) -> Admission:
        if self.asks:
            yield Ask([count("first")])
        try:
            self.got.append((yield Wait(self.what, self.deadline)))
        except WaitTimeout as error:
            self.got.append(str(error))
        if self.asks:
            yield Ask([count("second")])
        return PASS


async def test_the_guard_gets_what_it_waited_for(redis: TestRedis) -> None:
    thing = Thing()
    waits = Waits(thing)
    call = Call(GuardMiddleware(responding(), [waits], redis=redis)).start()
    await thing.asked.wait()
    assert call.sent == []
    thing.came.set_result("here")
    await call.task
    assert (waits.got, call.status) == (["here"], 200)


@pytest.mark.parametrize("on_route", [False, True])
async def test_where_redis_is_away_that_is_thrown_in_and_who_does_not_catch_it_refuses(
    redis: TestRedis, on_route: bool
) -> None:
    def catches(exchange: Exchange) -> Admission:
        try:
            yield Wait(thing, 60.0)
        except RedisUnavailable as error:
            return Answer(418, [], str(error).encode())
        return PASS

    thing = Thing()
    for guard, status in ((Does(catches), 418), (Waits(thing), 503)):
        app = GuardMiddleware(responding(), [guard], redis=redis)
        if on_route:
            app = GuardMiddleware(routing(guarded(hello, [guard])), [RouteGuards()], redis=redis)
        thing.came = asyncio.get_running_loop().create_future()
        thing.came.set_exception(RedisUnavailable("away"))
        assert (await Call(app).run()).status == status


async def test_past_the_deadline_the_guard_is_told_and_decides(redis: TestRedis) -> None:
    thing = Thing()
    waits = Waits(thing, 0.001)
    assert (await Call(GuardMiddleware(responding(), [waits], redis=redis)).run()).status == 200
    assert waits.got == ["nothing within 0.001 s"]
    assert thing.came.cancelled()


async def test_a_timeout_of_the_thing_itself_is_no_different(redis: TestRedis) -> None:
    class Impatient:
        async def wait(self) -> None:
            raise TimeoutError

    waits = Waits(Impatient())
    await Call(GuardMiddleware(responding(), [waits], redis=redis)).run()
    assert waits.got == ["nothing within 60 s"]


async def test_guards_before_have_passed_by_then_and_those_behind_have_done_nothing(redis: TestRedis) -> None:
    thing = Thing()
    guards = [asking(count("before")), Waits(thing), asking(count("behind"))]
    call = Call(GuardMiddleware(responding(), guards, redis=redis)).start()
    await thing.asked.wait()
    assert [await redis.value("before"), await redis.value("behind")] == [b"1", None]
    thing.came.set_result(None)
    await call.task
    assert redis.rounds == [["test.count"], ["test.count"]]
    assert await redis.value("behind") == b"1"


async def test_nobody_waits_behind_a_refusal(redis: TestRedis) -> None:
    thing = Thing()
    guards = [asking(count("before", stopping=True)), Waits(thing)]
    assert (await Call(GuardMiddleware(responding(), guards, redis=redis)).run()).status == 429
    assert not thing.asked.is_set()


async def test_a_wait_is_not_taken_off_the_time_that_redis_may_use(
    redis: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()

    class Clock:
        monotonic = staticmethod(clock)

    class Slow:
        async def wait(self) -> None:
            clock.advance(3600)

    monkeypatch.setattr(trips, "time", Clock)
    assert (await Call(GuardMiddleware(responding(), [Waits(Slow(), asks=True)], redis=redis)).run()).status == 200
    assert await redis.value("second") == b"1"


async def test_all_rounds_of_a_request_together_get_no_more_than_the_timeout(
    redis: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()

    class Clock:
        monotonic = staticmethod(clock)

    def thrice(exchange: Exchange) -> Admission:
        for _ in range(3):
            yield Ask([count("a")])
            clock.advance(0.3)
        return PASS

    monkeypatch.setattr(trips, "time", Clock)
    assert redis.settings.timeout == 0.5
    call = await Call(GuardMiddleware(responding(), [Does(thrice)], redis=redis)).run()
    assert (call.status, await redis.value("a")) == (503, b"2")


async def test_a_wait_that_fails_is_an_error_and_everyone_hears_of_it(redis: TestRedis) -> None:
    class Broken:
        async def wait(self) -> None:
            raise LookupError

    ends = Ends()
    call = Call(GuardMiddleware(responding(), [passing(ends), Waits(Broken())], redis=redis))
    with pytest.raises(LookupError):
        await call.run()
    assert (call.sent, ends.kinds) == ([], ["error"])


async def test_a_request_that_is_cancelled_while_it_waits_waits_no_longer(redis: TestRedis) -> None:
    thing, ends = Thing(), Ends()
    call = Call(GuardMiddleware(responding(), [passing(ends), Waits(thing)], redis=redis)).start()
    await thing.asked.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert thing.came.cancelled()
    assert ends.kinds == ["cancelled"]


async def test_a_guard_may_answer_after_it_has_waited(redis: TestRedis) -> None:
    class Quick:
        async def wait(self) -> bytes:
            return b"filled by another"

    def fill(exchange: Exchange) -> Admission:
        body = yield Wait(Quick(), 1.0)
        return Answer(200, [], body)

    call = await Call(GuardMiddleware(responding(), [Does(fill)], redis=redis)).run()
    assert call.body == b"filled by another"
