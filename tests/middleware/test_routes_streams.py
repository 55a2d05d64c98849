"""`middleware/streams.py`: generator functions are decided before the head, or before their first item."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.concurrency import iterate_in_threadpool

from asgi_redis_guard import Answer, GuardMiddleware
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.errors import NoExchange
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Ends, answering, asking, count, passing
from tests.middleware.calls import Call, TestRedis

FORBIDDEN = Answer(403, [], b"no")


async def several() -> AsyncIterator[bytes]:
    for chunk in (b"a", b"b"):
        yield chunk


def plain() -> Iterator[bytes]:
    yield from (b"a", b"b")


def streaming(function: Any, *, early: bool = False) -> ASGIApp:
    """An app that streams as Starlette does, the head first; `early`: the first item is made before the head."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        made = function()
        items = made if hasattr(made, "__anext__") else iterate_in_threadpool(made).__aiter__()
        first = [await anext(items)] if early else []
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for item in first:
            await send({"type": "http.response.body", "body": item, "more_body": True})
        async for item in items:
            await send({"type": "http.response.body", "body": item, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("function", [several, plain])
async def test_a_stream_is_decided_once_and_its_responders_see_the_head(
    redis: TestRedis, function: Any, early: bool
) -> None:
    ends = Ends()
    route = guarded(function, [asking(count("a")), passing(ends)])
    call = await Call(GuardMiddleware(streaming(route, early=early), [RouteGuards()], redis=redis)).run()
    assert (call.status, call.body, ends.kinds) == (200, b"ab", ["complete"])
    assert redis.rounds == [["test.count"]]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("function", [several, plain])
async def test_a_stream_that_is_refused_has_sent_no_head_and_made_no_item(
    redis: TestRedis, function: Any, early: bool
) -> None:
    route = guarded(function, [asking(count("a")), answering(FORBIDDEN)])
    call = await Call(GuardMiddleware(streaming(route, early=early), [RouteGuards()], redis=redis)).run()
    assert (call.status, call.body) == (403, b"no")
    assert redis.rounds == [["test.count"]]


async def test_what_is_sent_and_thrown_into_a_stream_reaches_it_and_it_is_closed(redis: TestRedis) -> None:
    notes: list[Any] = []

    async def talking() -> Any:
        try:
            notes.append((yield 1))
            try:
                yield 2
            except LookupError as error:
                notes.append(type(error))
            yield 3
        finally:
            notes.append("closed")

    route = guarded(talking, [passing()])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        talk = route()
        assert [await talk.asend(None), await talk.asend("word"), await talk.athrow(LookupError())] == [1, 2, 3]
        await talk.aclose()

    await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()
    assert notes == ["word", LookupError, "closed"]


async def test_head_and_first_item_at_once_make_one_decision(redis: TestRedis) -> None:
    route = guarded(several, [asking(count("a"))])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        items = route()
        head = send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.gather(anext(items), head)
        await items.aclose()

    await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()
    assert await redis.value("a") == b"1"


@pytest.mark.parametrize("function", [several, plain])
async def test_outside_of_a_request_there_is_no_stream(function: Any) -> None:
    with pytest.raises(NoExchange):
        guarded(function, [passing()])()
