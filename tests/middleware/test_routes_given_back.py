"""`middleware/routed.py`: what is given back when a route is refused or left: by the guards outside, and its own."""

import asyncio
import logging
from typing import Any

import pytest

from asgi_redis_guard import Answer, Exchange, Guard, GuardMiddleware, RedisManager, RedisUnavailable
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.responder import Outcome, Responder
from asgi_redis_guard.core.steps import Admission, Ask
from asgi_redis_guard.errors import RouteRefused
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Does, Ends, Lock, answering, count, passing
from tests.middleware.calls import Call, TestRedis, responding, settled
from tests.middleware.site import Counted, counting, hello, limiting, routing

FORBIDDEN = Answer(403, [(b"x-own", b"1")], b"no", reason="no")


async def test_a_limit_s_refusal_gives_back_what_was_counted_outside_in_one_round_trip_before_it_is_sent(
    redis: TestRedis,
) -> None:
    notes: list[str] = []
    function = guarded(hello, [counting("own", notes), limiting("limit")])
    stack = GuardMiddleware(routing(function), [counting("a", notes), counting("b", notes)], redis=redis)
    call = await Call(stack).run()
    assert call.status == 429
    assert [value for name, value in call.headers if name == b"x-counted"] == [b"own", b"b", b"a"]
    assert notes == ["withdraw b", "withdraw a", "start own", "start b", "start a"]
    assert redis.rounds == [["test.count"] * 2, ["test.count"] * 2, ["test.uncount"] * 2]
    assert [await redis.value(key) for key in ("a", "b", "own")] == [b"0", b"0", b"1"]


async def test_another_refusal_gives_nothing_back_as_in_a_stack(redis: TestRedis) -> None:
    stack = GuardMiddleware(routing(guarded(hello, [answering(FORBIDDEN)])), [counting("a")], redis=redis)
    assert (await Call(stack).run()).status == 403
    assert await redis.value("a") == b"1"


async def test_a_stored_response_gives_nothing_back(redis: TestRedis) -> None:
    stored = answering(Answer(200, [], b"stored"), refunds=True)
    stack = GuardMiddleware(routing(guarded(hello, [stored])), [counting("a")], redis=redis)
    assert (await Call(stack).run()).body == b"stored"
    assert await redis.value("a") == b"1"


async def test_stacks_further_out_give_back_as_well_each_on_its_own_redis(redis: TestRedis) -> None:
    async with RedisManager("memory://") as other:
        inner = GuardMiddleware(routing(guarded(hello, [limiting("limit")])), [counting("inner")], redis=redis)

        async def between(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)

        middle = GuardMiddleware(between, [counting("middle")], redis=redis)
        outer = GuardMiddleware(middle, [counting("outer")], redis=other)
        call = await Call(outer).run()
        assert call.status == 429
        assert [value for name, value in call.headers if name == b"x-counted"] == [b"inner", b"middle", b"outer"]
        assert redis.rounds[-1] == ["test.uncount"] * 2
        assert [await redis.value(key) for key in ("inner", "middle")] == [b"0", b"0"]
        assert await other.execute("GET", "outer") == b"0"


async def test_redis_away_or_a_responder_that_fails_does_not_keep_a_refusal_from_being_sent(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(Responder):
        def withdraw(self) -> None:
            raise LookupError

    def admit(exchange: Exchange) -> Admission:
        yield Ask([count("x")])
        redis.away = RedisUnavailable()
        return Answer(429, [], b"too many", reason="rate_limited")

    function = guarded(hello, [Does(admit, refunds=True)])
    stack = GuardMiddleware(routing(function), [passing(Breaks()), counting("a")], redis=redis)
    with caplog.at_level(logging.ERROR):
        assert (await Call(stack).run()).status == 429
    redis.away = None
    assert await redis.value("a") == b"1"
    assert "Breaks failed to withdraw" in caplog.text


def test_a_responder_that_gives_back_still_takes_the_shorter_way_out() -> None:
    assert Counted.only_start
    assert Counted.hooks == {"start", "withdraw"}


async def test_what_a_guard_behind_has_taken_is_given_back_when_one_before_it_refuses(redis: TestRedis) -> None:
    def refusing(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        return FORBIDDEN

    function = guarded(hello, [Does(refusing), Lock("lock")])
    assert (await Call(GuardMiddleware(routing(function), [RouteGuards()], redis=redis)).run()).status == 403
    await settled(redis)
    assert (redis.rounds[-1], await redis.value("lock")) == (["test.release"], None)


async def test_a_request_cancelled_while_its_route_is_decided_gives_back_what_was_on_its_way(redis: TestRedis) -> None:
    ends = Ends()
    stack = GuardMiddleware(routing(guarded(hello, [passing(ends), Lock("lock")])), [RouteGuards()], redis=redis)
    redis.withhold()
    call = Call(stack).start()
    await redis.asked.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    redis.give()
    await settled(redis)
    assert (redis.rounds, call.sent, ends.kinds) == ([["test.acquire"], ["test.release"]], [], ["cancelled"])
    assert await redis.value("lock") is None


@pytest.mark.parametrize("others", [[], [answering(FORBIDDEN)]])
async def test_an_app_that_ends_its_response_while_the_route_is_decided_does_not_run_the_function(
    redis: TestRedis, others: list[Guard]
) -> None:
    ran: list[bool] = []

    async def function() -> None:
        ran.append(True)

    route = guarded(function, [Lock("lock"), *others])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        deciding = asyncio.ensure_future(route())
        await redis.asked.wait()
        await responding()(scope, receive, send)
        redis.give()
        with pytest.raises(RouteRefused):
            await deciding

    redis.withhold()
    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()).status == 200
    await settled(redis)
    assert (ran, await redis.value("lock")) == ([], None)


async def test_a_responder_of_the_route_can_cancel_the_handler(redis: TestRedis) -> None:
    class Cancels(Responder):
        def bind(self, control: Any) -> None:
            asyncio.get_running_loop().call_soon(control.cancel, Answer(409, [], b"lost"))

        def end(self, outcome: Outcome) -> None:
            ended.append(outcome.kind)

    ended: list[str] = []

    async def forever() -> bytes:
        await asyncio.Event().wait()
        return b""

    function = guarded(forever, [passing(Cancels())])
    call = await Call(GuardMiddleware(routing(function), [RouteGuards()], redis=redis)).run()
    assert (call.status, call.body) == (409, b"lost")
    assert len(ended) == 1
