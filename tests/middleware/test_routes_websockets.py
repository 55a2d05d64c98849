"""`middleware/routed.py`: WebSocket routes with guards of their own."""

from typing import Any

import pytest

from asgi_redis_guard import Answer, GuardMiddleware
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.responder import Head, Responder
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Ends, Watches, answering, passing
from tests.middleware.calls import GONE, Call, TestRedis, http, websocket
from tests.middleware.site import counting, hello, limiting

FORBIDDEN = Answer(403, [(b"x-own", b"1")], b"no", reason="no")


@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("denial", [False, True])
async def test_a_handshake_is_refused_before_it_is_accepted(redis: TestRedis, denial: bool, received: bool) -> None:
    function = guarded(hello, [answering(FORBIDDEN)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if received:
            await receive()
        await function()

    call = await Call(GuardMiddleware(app, [passing(Watches("outer"))], redis=redis), websocket(denial=denial)).run()
    assert call._inbox.empty()
    if denial:
        assert (call.status, call.body) == (403, b"no")
        assert (b"x-seen-by", b"outer") in call.headers
    else:
        assert call.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_an_accepted_websocket_is_closed_with_1008(redis: TestRedis) -> None:
    function, ends = guarded(hello, [limiting("limit")]), Ends()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await function()

    stack = GuardMiddleware(app, [passing(ends), counting("a")], redis=redis)
    call = Call(stack, websocket()).start()
    await call.sees("websocket.accept")
    call.feed({"type": "websocket.receive", "text": "x"})
    await call.task
    assert call.sent[1:] == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    assert (ends.kinds, await redis.value("a")) == (["refused"], b"0")


async def test_a_client_that_has_left_is_sent_nothing(redis: TestRedis) -> None:
    function, ends = guarded(hello, [answering(FORBIDDEN)]), Ends()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await function()

    call = await Call(GuardMiddleware(app, [passing(ends)], redis=redis), http(), GONE).run()
    assert (call.sent, ends.kinds) == ([], ["disconnect"])


async def test_messages_are_shown_to_the_responders_of_a_route(redis: TestRedis) -> None:
    class Shouts(Responder):
        def receive(self, message: Any) -> Any:
            return {**message, "text": message["text"].upper()}

        def start(self, head: Head) -> None:
            head.headers.append((b"x-shouts", b"1"))

    heard: list[str] = []

    async def talk(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        heard.append((await receive())["text"])

    function = guarded(talk, [passing(Shouts())])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await function(receive, send)

    call = Call(GuardMiddleware(app, [RouteGuards()], redis=redis), websocket()).start()
    call.feed({"type": "websocket.receive", "text": "hey"})
    await call.task
    assert (heard, call.headers) == (["HEY"], [(b"x-shouts", b"1")])
