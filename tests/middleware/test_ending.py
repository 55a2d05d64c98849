"""`middleware/ending.py`: every responder hears of the end, once, and what it asks then is done whatever happens."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Ask, GuardMiddleware, Outcome, RedisUnavailable, Responder
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Asking
from tests.guards import Ends, count, passing
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled, websocket

START = {"type": "http.response.start", "status": 200, "headers": []}


class Stores(Ends):
    """Asks for one more under `key` at the end."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.got: list[Any] = []

    def end(self, outcome: Outcome) -> Asking:  # type: ignore[override]
        super().end(outcome)
        (reply,) = yield Ask([count(self.key)])
        self.got.append(reply.values[0])


def around(app: Any, redis: TestRedis, *responders: Responder) -> GuardMiddleware:
    """The app with responders, outermost first."""
    return GuardMiddleware(app, [passing(responder) for responder in responders], redis=redis)


async def test_all_that_is_asked_at_the_end_is_one_round_trip_inside_first(redis: TestRedis) -> None:
    stores = [Stores("a"), Stores("b"), Ends(), Stores("c")]
    await Call(around(responding(), redis, *stores)).run()
    await settled(redis)
    assert redis.rounds == [["test.count"] * 3]
    assert [store.got for store in stores if isinstance(store, Stores)] == [[1], [1], [1]]


async def test_the_end_comes_after_the_last_byte_and_not_after_the_app_s_background_tasks(redis: TestRedis) -> None:
    stores = Stores("a")
    working, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        await go_on.wait()

    call = Call(around(responding(b"a", b"b", after=work), redis, stores)).start()
    await working.wait()
    await settled(redis)
    assert not call.task.done()
    assert stores.kinds == ["complete"]
    go_on.set()
    await call.task
    assert stores.kinds == ["complete"]


async def test_an_error_after_the_last_byte_changes_nothing_any_more(redis: TestRedis) -> None:
    async def fail() -> None:
        raise LookupError

    ends = Ends()
    with pytest.raises(LookupError):
        await Call(around(responding(after=fail), redis, ends)).run()
    assert ends.kinds == ["complete"]


@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_of_the_app_is_told_with_the_status_that_was_sent(redis: TestRedis, begun: bool) -> None:
    error = LookupError()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(START)
        raise error

    ends = Ends()
    with pytest.raises(LookupError):
        await Call(around(app, redis, ends)).run()
    assert ends.outcomes == [Outcome("error", 200 if begun else None, error)]


async def test_a_response_that_was_never_begun_or_never_finished_is_not_a_complete_one(redis: TestRedis) -> None:
    part = {"type": "http.response.body", "body": b"a", "more_body": True}
    for messages, status in (([], None), ([START], 200), ([START, part], 200)):

        async def app(scope: Scope, receive: Receive, send: Send, messages: Any = messages) -> None:
            for message in messages:
                await send(message)

        ends = Ends()
        await Call(around(app, redis, ends)).run()
        assert ends.outcomes == [Outcome("error", status)]


async def test_a_disconnect_that_the_app_has_noticed_is_told(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass

    ends = Ends()
    await Call(around(app, redis, ends), http(), GONE).run()
    assert [(outcome.kind, outcome.status) for outcome in ends.outcomes] == [("disconnect", 200)]


async def test_a_disconnect_after_the_last_byte_is_none(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding()(scope, receive, send)
        await receive()

    ends = Ends()
    await Call(around(app, redis, ends), http(), GONE).run()
    assert ends.kinds == ["complete"]


async def test_a_client_whose_connection_breaks_while_bytes_are_sent_is_an_error(redis: TestRedis) -> None:
    ends = Ends()
    call = Call(around(responding(), redis, ends))
    call.fails = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await call.run()
    assert ends.kinds == ["error"]


async def test_a_cancelled_request_still_gets_its_end_done(redis: TestRedis) -> None:
    stores, forever = Stores("a"), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await forever.wait()

    call = Call(around(app, redis, stores)).start()
    await call.sees("http.response.start")
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    await settled(redis)
    assert (stores.kinds, stores.got) == (["cancelled"], [1])


async def test_what_is_asked_at_the_end_is_not_waited_for_by_the_request_and_is_by_aclose() -> None:
    redis, stores = TestRedis(), Stores("a")
    redis.withhold()
    await Call(around(responding(), redis, stores)).run()
    await redis.asked.wait()
    assert stores.got == []
    closing = asyncio.ensure_future(redis.aclose())
    await asyncio.sleep(0)
    redis.give()
    await closing
    assert stores.got == [1]


async def test_a_responder_that_fails_at_the_end_takes_nobody_with_it(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Responder):
        def end(self, outcome: Outcome) -> None:
            raise LookupError("at once")

    class FailsBeforeItAsks(Responder):
        def end(self, outcome: Outcome) -> Asking:
            raise LookupError("before it asks")
            yield

    class FailsOnTheReply(Responder):
        def end(self, outcome: Outcome) -> Asking:
            yield Ask([count("b")])
            raise LookupError("on the reply")

    class YieldsJunk(Responder):
        def end(self, outcome: Outcome) -> Any:
            yield "junk"

    class AsksNothing(Responder):
        def end(self, outcome: Outcome) -> Asking:
            return
            yield

    outer, inner = Stores("a"), Stores("c")
    middle = [Fails(), FailsBeforeItAsks(), FailsOnTheReply(), YieldsJunk(), AsksNothing()]
    await Call(around(responding(), redis, outer, *middle, inner)).run()
    await settled(redis)
    assert [outer.got, inner.got, len(redis.rounds)] == [[1], [1], 1]
    for words in ("at once", "before it asks", "on the reply", "a responder may yield an Ask"):
        assert words in caplog.text


async def test_redis_away_at_the_end_is_told_to_those_who_mind_and_logged_for_nobody(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    class Minds(Responder):
        def end(self, outcome: Outcome) -> Asking:
            try:
                yield Ask([count("a")])
            except RedisUnavailable as error:
                seen.append(error)

    redis.away = RedisUnavailable("away")
    caplog.set_level("INFO")
    assert (await Call(around(responding(), redis, Minds(), Stores("b"))).run()).status == 200
    await settled(redis)
    assert (seen, caplog.text) == ([redis.away], "")


async def test_a_websocket_ends_with_its_close_or_with_its_app(redis: TestRedis) -> None:
    async def closes(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        assert ends.kinds == ["complete"]

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async def rejects(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": 4000})

    for app, status in ((closes, 101), (returns, 101), (rejects, None)):
        ends = Ends()
        await Call(around(app, redis, ends), websocket()).run()
        assert ends.outcomes == [Outcome("complete", status)]
