"""`middleware/trips.py`: rounds of one exchange, and the operations that outlive their request."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Ask, GuardMiddleware, GuardProtocolError, Operation, RedisTimeout, RedisUnavailable
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.rounds import Round
from asgi_redis_guard.core.script import Batch, place_of
from asgi_redis_guard.core.steps import Asking, Body, Wait
from asgi_redis_guard.middleware import trips as module
from asgi_redis_guard.middleware.trips import RoundTrips
from asgi_redis_guard.testing import ManualClock
from tests.guards import ACQUIRE, Lock, asking, count, exchange
from tests.middleware.calls import Call, TestRedis, responding, settled


def flow(*asks: Any, got: list[Any] | None = None) -> Asking:
    """A responder's generator."""
    for ask in asks:
        replies = yield ask
        if got is not None:
            got.append([reply.values[0] for reply in replies])


async def test_generators_that_ask_share_one_round_and_get_their_own_replies(redis: TestRedis) -> None:
    got: list[Any] = []
    flows = [
        flow(Ask([count("a"), count("b")]), got=got),
        flow(),
        flow(Ask([count("a")]), got=got),
    ]
    trips = RoundTrips(redis)
    for one, result in await trips.converse(flows):
        await trips.finish(one, result)
    assert got == [[1, 1], [1]]  # all checks of a round come before its writes
    assert len(redis.rounds) == 1


async def test_nothing_to_ask_is_no_round(redis: TestRedis) -> None:
    assert await RoundTrips(redis).converse([flow(), flow()]) == []
    assert redis.rounds == []


async def test_without_redis_everyone_gets_the_error(redis: TestRedis) -> None:
    redis.away = RedisUnavailable("away")
    trips = RoundTrips(redis)
    answered = await trips.converse([flow(Ask([count("a")])) for _ in range(2)])
    assert len(answered) == 2
    for one, result in answered:
        with pytest.raises(RedisUnavailable, match="away"):
            await trips.finish(one, result)


async def test_a_generator_may_ask_again_and_gets_a_round_of_its_own(redis: TestRedis) -> None:
    got: list[Any] = []
    trips = RoundTrips(redis)
    ((again, result),) = await trips.converse([flow(Ask([count("a")]), Ask([count("b")]), got=got)])
    await trips.finish(again, result)
    assert got == [[1], [1]]
    assert len(redis.rounds) == 2


async def test_a_generator_that_never_comes_to_an_end_is_named(redis: TestRedis) -> None:
    endless = flow(*(Ask([count("a")]) for _ in range(200)))
    trips = RoundTrips(redis)
    ((one, result),) = await trips.converse([endless])
    with pytest.raises(GuardProtocolError, match=r"flow.* 100 times"):
        await trips.finish(one, result)
    assert endless.gi_frame is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """What round trips look at."""
    clock = ManualClock()

    class Clock:
        monotonic = staticmethod(clock)

    monkeypatch.setattr(module, "time", Clock)
    return clock


def test_the_time_for_redis_runs_from_the_first_round_and_stops_in_pauses(clock: ManualClock) -> None:
    trips, admissions = RoundTrips(TestRedis(timeout=0.5)), Admissions([], exchange())
    with trips.paused(admissions, Wait(None, 10)):
        clock.advance(10)
    assert trips.left(admissions) is None
    clock.advance(0.2)
    with trips.paused(admissions, Body(10)):
        clock.advance(10)
    assert trips.left(admissions) == pytest.approx(0.3)
    with trips.paused(admissions, Wait(trips.fetch(b"key"), 2)):
        clock.advance(0.1)
    assert trips.left(admissions) == pytest.approx(0.2), "to wait for a value is to wait for Redis"
    clock.advance(0.2)
    with pytest.raises(RedisTimeout):
        trips.left(admissions)


def test_where_redis_has_answered_some_time_is_left_for_the_head(clock: ManualClock) -> None:
    """What went by may be a handler that blocked the loop."""
    trips, admissions = RoundTrips(TestRedis(timeout=0.5)), Admissions([], exchange())
    assert trips.spent(admissions) == 0, "nothing was asked"
    trips.left(admissions)
    clock.advance(0.1)
    assert trips.spent(admissions) == pytest.approx(0.1)
    clock.advance(7)
    assert trips.spent(admissions) == pytest.approx(0.375)
    admissions.degraded = [0]
    assert trips.spent(admissions) == pytest.approx(7.1)


async def test_past_the_deadline_of_its_exchange_a_responder_asks_nothing_more(redis: TestRedis) -> None:
    trips = RoundTrips(redis)
    late = trips.deadline(spent=redis.settings.timeout)
    ((_, error),) = await trips.converse([flow(Ask([count("a")]))], late)
    assert isinstance(error, RedisTimeout)
    assert redis.rounds == []
    (replies,) = await trips.perform([Ask([count("a")])], trips.deadline(spent=0))
    assert [reply.values[0] for reply in replies] == [1]


async def test_a_round_that_takes_something_outlives_its_caller_and_its_reply_is_kept(redis: TestRedis) -> None:
    redis.withhold()
    admissions = Admissions([], exchange())
    batch = Batch([Operation(ACQUIRE, (b"lock",), ("mine",))])
    future = RoundTrips(redis).admit(admissions, Round((place_of(False, batch.kinds),), [batch]))
    future.cancel()
    redis.give()
    assert admissions.late is not None
    assert (await admissions.late)[:-1] == [1]
    assert await redis.value("lock") == b"mine"


async def test_what_a_cancelled_request_took_is_given_back_when_its_late_reply_comes(redis: TestRedis) -> None:
    redis.withhold()
    stack = GuardMiddleware(responding(), [asking(count("a")), Lock("lock"), asking(count("b"))], redis=redis)
    call = Call(stack).start()
    await redis.asked.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert await redis.value("lock") == b"mine"
    redis.give()
    await settled(redis)
    assert await redis.value("lock") is None
    assert redis.rounds[1:] == [["test.release"]]


async def test_a_late_reply_that_never_comes_gives_nothing_back_and_nobody_hears_of_it(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.withhold()
    call = Call(GuardMiddleware(responding(), [Lock("lock")], redis=redis)).start()
    await redis.asked.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    ((later, _),) = redis.withheld or []
    later.set_exception(RedisTimeout("never", maybe_executed=True))
    await settled(redis)
    assert len(redis.rounds) == 1
    assert caplog.text == ""
