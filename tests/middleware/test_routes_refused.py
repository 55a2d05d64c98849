"""`middleware/routed.py`: who answers when a route's guards refuse, what is given back, and what is ended."""

import asyncio

import anyio
import pytest

from asgi_redis_guard import Answer, GuardMiddleware, ResponseAborted
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.errors import RouteRefused
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Ends, Watches, answering, passing
from tests.middleware.calls import Call, TestRedis, http, responding
from tests.middleware.site import counting, hello, routing

FORBIDDEN = Answer(403, [(b"x-own", b"1")], b"no", reason="no")


async def test_a_refusal_is_answered_through_all_responders_and_the_function_does_not_run(redis: TestRedis) -> None:
    ran: list[bool] = []

    async def function() -> bytes:
        ran.append(True)
        return b""

    outer, inner, behind = Watches("outer"), Watches("inner"), Watches("behind")
    guards = [passing(inner), answering(FORBIDDEN), passing(behind)]
    call = await Call(GuardMiddleware(routing(guarded(function, guards)), [passing(outer)], redis=redis)).run()
    assert (call.status, call.body) == (403, b"no")
    assert call.headers == [(b"x-own", b"1"), (b"x-seen-by", b"inner"), (b"x-seen-by", b"outer")]
    assert (outer.kinds, inner.kinds, behind.notes, ran) == (["refused"], ["refused"], [], [])
    assert FORBIDDEN.headers == [(b"x-own", b"1")]


@pytest.mark.parametrize("how", ["swallows it", "answers itself", "raises its own", "in a group", "in a task"])
async def test_whatever_an_app_makes_of_a_refusal_the_guard_s_answer_is_sent(redis: TestRedis, how: str) -> None:
    function = guarded(hello, [answering(FORBIDDEN)])
    ends = Ends()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if how == "in a group":
            async with anyio.create_task_group() as inner, anyio.create_task_group() as group:
                group.start_soon(function)
                inner.start_soon(asyncio.Event().wait)
                raise RuntimeError("nothing came back")
        elif how == "in a task":
            await asyncio.ensure_future(function())
        try:
            await function()
        except BaseException:
            if how == "answers itself":
                await responding(status=500)(scope, receive, send)
            if how == "raises its own":
                raise LookupError from None

    call = Call(GuardMiddleware(app, [passing(ends)], redis=redis))
    if how == "raises its own":
        with pytest.raises(LookupError):
            await call.run()
    else:
        await call.run()
    assert (call.status, call.body, ends.kinds) == (403, b"no", ["refused"])


async def test_after_a_refusal_no_other_function_with_guards_runs(redis: TestRedis) -> None:
    refused, other = guarded(hello, [answering(FORBIDDEN)]), guarded(hello, [counting("a")])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for function in (refused, other):
            with pytest.raises(RouteRefused):
                await function()

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()).status == 403
    assert redis.rounds == []


async def test_no_handler_of_exceptions_catches_a_refusal() -> None:
    assert not issubclass(RouteRefused, Exception)


async def test_after_the_head_a_refusal_aborts_the_response(redis: TestRedis) -> None:
    function, ends = guarded(hello, [answering(FORBIDDEN)]), Ends()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await function()

    call = Call(GuardMiddleware(app, [passing(ends)], redis=redis))
    with pytest.raises(ResponseAborted):
        await call.run()
    assert (call.status, call.body, ends.kinds) == (200, b"begun", ["error"])


async def test_head_requests_get_no_body(redis: TestRedis) -> None:
    stack = GuardMiddleware(routing(guarded(hello, [answering(FORBIDDEN)])), [RouteGuards()], redis=redis)
    call = await Call(stack, http(method="HEAD")).run()
    assert (call.status, call.body) == (403, b"")
