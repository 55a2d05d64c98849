"""`middleware/deciding.py`: a route's guards may wait, read the body, and have the app run in the background."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Answer, Body, BodyTooLarge, Exchange, GuardMiddleware, GuardProtocolError, Pass, Wait
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.responder import Control, Responder
from asgi_redis_guard.core.steps import PASS, Admission, Ask
from asgi_redis_guard.errors import WaitTimeout
from asgi_redis_guard.middleware.body import ClientGone
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Does, Ends, Lock, Watches, asking, count, passing
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled, websocket
from tests.middleware.site import hello, routing

POST = http(method="POST")
PARTS = [{"type": "http.request", "body": part, "more_body": part == b"a"} for part in (b"a", b"b")]


class Reads(Does):
    """Reads the body and keeps what came of it."""

    def __init__(self, limit: int = 10, **attributes: Any) -> None:
        self.found: list[Any] = []
        super().__init__(self.read, name="reads", **attributes)
        self.limit = limit

    def read(self, exchange: Exchange) -> Admission:
        try:
            self.found.append((yield Body(self.limit)))
        except (BodyTooLarge, GuardProtocolError) as error:
            self.found.append(error)
        return PASS


class Flag:
    """Something to wait for."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> str:
        await self.event.wait()
        return "raised"


async def reading(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    return body


def reading_app(function: Any) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding(await function(receive))(scope, receive, send)

    return app


@pytest.mark.parametrize("limit", [1, 10])
async def test_a_body_that_the_app_has_not_touched_is_read_for_a_guard_and_again_for_the_app(
    redis: TestRedis, limit: int
) -> None:
    reads, again = Reads(limit), Reads(limit)
    stack = GuardMiddleware(reading_app(guarded(reading, [reads, again])), [RouteGuards()], redis=redis)
    assert (await Call(stack, POST, *PARTS).run()).body == b"ab"
    for found in (*reads.found, *again.found):
        assert found == b"ab" if limit == 10 else isinstance(found, BodyTooLarge)


async def test_a_body_that_the_app_has_begun_to_read_is_refused_with_a_clear_error(redis: TestRedis) -> None:
    reads = Reads()
    function = guarded(hello, [reads])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await responding(await function())(scope, receive, send)

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis), POST, *PARTS).run()).status == 200
    assert "hello wants the body, which the app has begun to read" in str(reads.found[0])


@pytest.mark.parametrize("begun", [1, 2])
@pytest.mark.parametrize("limit", [1, 10])
async def test_a_body_that_the_app_has_begun_to_read_is_there_for_a_guard_that_says_so(
    redis: TestRedis, begun: int, limit: int
) -> None:
    reads, again = Reads(limit, reads_body=10), Reads(10)
    function = guarded(hello, [reads, again])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages = [await receive() for _ in range(begun)]
        await function()
        messages += [await receive() for _ in range(2 - begun)]
        await responding(*(message["body"] for message in messages))(scope, receive, send)

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis), POST, *PARTS).run()).body == b"ab"
    assert again.found == [b"ab"]
    assert reads.found == [b"ab"] if limit == 10 else isinstance(reads.found[0], BodyTooLarge)


@pytest.mark.parametrize("begun", [0, 1, 2])
async def test_a_client_that_leaves_in_the_middle_never_runs_the_function_whoever_was_told(
    redis: TestRedis, begun: int
) -> None:
    ends, ran = Ends(), []

    async def function() -> bytes:
        ran.append("function")
        return b""

    guards = guarded(function, [Lock("lock"), passing(ends), Reads(reads_body=10)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(begun):
            await receive()
        await responding(await guards())(scope, receive, send)

    call = await Call(GuardMiddleware(app, [RouteGuards()], redis=redis), POST, PARTS[0], GONE).run()
    await settled(redis)
    assert (call.sent, ran, ends.kinds, await redis.value("lock")) == ([], [], ["disconnect"], None)


async def test_a_client_that_leaves_in_the_middle_of_its_body_ends_the_request(redis: TestRedis) -> None:
    ends = Ends()
    function = guarded(reading, [Lock("lock"), passing(ends), Reads()])
    stack = GuardMiddleware(reading_app(function), [RouteGuards()], redis=redis)
    call = await Call(stack, POST, PARTS[0], GONE).run()
    await settled(redis)
    assert (call.sent, ends.kinds, await redis.value("lock")) == ([], ["disconnect"], None)
    with pytest.raises(ClientGone):
        raise ClientGone


async def test_a_websocket_has_no_body(redis: TestRedis) -> None:
    reads = Reads()
    function = guarded(hello, [reads])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await function()

    await Call(GuardMiddleware(app, [RouteGuards()], redis=redis), websocket()).run()
    assert reads.found == [b""]


@pytest.mark.parametrize("raised", [True, False])
async def test_a_guard_of_a_route_may_wait_and_asks_on_with_the_whole_of_its_time(
    redis: TestRedis, raised: bool
) -> None:
    flag, results = Flag(), []

    def admit(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        try:
            results.append((yield Wait(flag, 60 if raised else 0.001)))
        except WaitTimeout:
            results.append("timeout")
        yield Ask([count("b")])
        return PASS

    call = Call(GuardMiddleware(routing(guarded(hello, [Does(admit)])), [RouteGuards()], redis=redis)).start()
    await redis.asked.wait()
    if raised:
        flag.event.set()
    await call.task
    assert (call.status, results) == (200, ["raised" if raised else "timeout"])
    assert redis.rounds == [["test.count"], ["test.count"]]


async def test_an_answer_s_background_run_has_the_guards_of_the_route_behind_the_one_that_answered(
    redis: TestRedis,
) -> None:
    seen = Watches("background")

    def stale(exchange: Exchange) -> Admission:
        yield Ask([count("stale")])
        return Answer(200, [], b"stale", background=seen)

    paths: list[str] = []
    function = guarded(hello, [asking(count("before")), Does(stale, name="stale"), asking(count("behind"))])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        scope["path"] += "x"
        await responding(await function())(scope, receive, send)

    stack = GuardMiddleware(app, [asking(count("outer"))], redis=redis)
    call = await Call(stack).run()
    await settled(redis)
    assert (call.status, call.body, call.kinds.count("http.response.start")) == (200, b"stale", 1)
    assert seen.chunks == [(b"hello", False)]
    assert seen.kinds == ["complete"]
    assert paths == ["/", "/"]
    assert redis.rounds == [["test.count"], ["test.count"] * 3, ["test.count"]]


async def test_a_responder_s_rerun_decides_the_route_anew_and_not_the_stack(redis: TestRedis) -> None:
    seen = Watches("background")

    class Reruns(Responder):
        def bind(self, control: Control) -> None:
            control.rerun(seen)

    def once(exchange: Exchange) -> Admission:
        replies = yield Ask([count("a")])
        return Pass(responder=Reruns()) if replies[0].values[0] == 1 else PASS

    function = guarded(hello, [Does(once)])
    stack = GuardMiddleware(routing(function), [asking(count("outer"))], redis=redis)
    assert (await Call(stack).run()).body == b"hello"
    await settled(redis)
    assert seen.chunks == [(b"hello", False)]
    assert [await redis.value(key) for key in ("outer", "a")] == [b"1", b"2"]


async def test_a_stored_answer_of_the_stack_runs_the_app_with_its_routes_guards(redis: TestRedis) -> None:
    seen = Watches("background")

    def stale(exchange: Exchange) -> Admission:
        return Answer(200, [], b"stale", background=seen)
        yield

    stack = GuardMiddleware(routing(guarded(hello, [asking(count("a"))])), [Does(stale)], redis=redis)
    assert (await Call(stack).run()).body == b"stale"
    await settled(redis)
    assert (seen.chunks, await redis.value("a")) == ([(b"hello", False)], b"1")


async def test_a_guard_that_fails_is_an_error_of_the_route_and_what_was_taken_is_given_back(redis: TestRedis) -> None:
    def failing(exchange: Exchange) -> Admission:
        raise LookupError
        yield

    stack = GuardMiddleware(routing(guarded(hello, [Lock("lock"), Does(failing)])), [RouteGuards()], redis=redis)
    with pytest.raises(LookupError):
        await Call(stack).run()
    await settled(redis)
    assert await redis.value("lock") is None
