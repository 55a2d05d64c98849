"""Responders that have the body held back, so that they see it whole before the head is sent."""

import asyncio
from typing import ClassVar

import pytest

from asgi_redis_guard import Answer, GuardMiddleware, Head
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.guards import Watches, answering, passing
from tests.middleware.calls import Call, TestRedis, responding


class Holds(Watches):
    """Wants up to eight bytes."""

    hold: ClassVar[int] = 8


class HoldsLess(Watches):
    """Wants up to four bytes."""

    hold: ClassVar[int] = 4


def around(app: object, redis: TestRedis, *responders: Watches) -> GuardMiddleware:
    """The app with responders, outermost first."""
    return GuardMiddleware(app, [passing(responder) for responder in responders], redis=redis)  # type: ignore[arg-type]


@pytest.mark.parametrize("chunks", [[b"12345678"], [b"1234", b"5678"], [b"", b"1234567", b"8"], [b"12345678", b""]])
async def test_a_body_that_fits_is_seen_whole_and_leaves_as_one_chunk(redis: TestRedis, chunks: list[bytes]) -> None:
    holds, other = Holds(), Watches()
    call = await Call(around(responding(*chunks), redis, other, holds)).run()
    assert holds.heads == other.heads == [(200, b"12345678")]
    assert call.sent[1:] == [{"type": "http.response.body", "body": b"12345678", "more_body": False}]
    assert holds.chunks == [(b"12345678", False)]


async def test_an_empty_body_is_seen_as_one(redis: TestRedis) -> None:
    holds = Holds()
    await Call(around(responding(b""), redis, holds)).run()
    assert holds.heads == [(200, b"")]


async def test_a_body_over_the_cap_leaves_as_soon_as_that_shows_and_is_not_seen_before(redis: TestRedis) -> None:
    holds = Holds()
    call = await Call(around(responding(b"12345", b"6789", b"0", b""), redis, holds)).run()
    assert holds.heads == [(200, None)]
    assert [message["body"] for message in call.sent[1:]] == [b"123456789", b"0", b""]
    assert [message["more_body"] for message in call.sent[1:]] == [True, True, False]
    assert b"".join(chunk for chunk, _ in holds.chunks) == b"1234567890"


async def test_one_large_chunk_passes_as_it_is(redis: TestRedis) -> None:
    holds = Holds()
    call = await Call(around(responding(b"x" * 1000), redis, holds)).run()
    assert (holds.heads, call.body) == ([(200, None)], b"x" * 1000)


async def test_the_most_that_anyone_wants_is_held(redis: TestRedis) -> None:
    less = HoldsLess()
    await Call(around(responding(b"1234", b"5678"), redis, less, Holds())).run()
    assert less.heads == [(200, b"12345678")]


async def test_the_head_leaves_while_a_long_body_is_still_being_made(redis: TestRedis) -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"123456789", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"0"})

    call = Call(around(app, redis, Holds())).start()
    assert (await call.sees("http.response.body"))["body"] == b"123456789"
    go_on.set()
    await call.task
    assert call.body == b"1234567890"


async def test_what_was_held_back_may_be_replaced(redis: TestRedis) -> None:
    class Replaces(Holds):
        def start(self, head: Head) -> None:
            assert head.content == b"1234"
            head.replace(Answer(304, []))

    inner = Watches()
    call = await Call(around(responding(b"12", b"34"), redis, Replaces(), inner)).run()
    assert (call.status, call.body) == (304, b"")
    assert inner.chunks == [(b"1234", False)]


async def test_another_kind_of_body_ends_the_hold(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/file"})

    holds = Holds()
    call = await Call(around(app, redis, holds)).run()
    assert call.kinds == ["http.response.start", "http.response.pathsend"]
    assert (holds.heads, holds.kinds) == ([(200, None)], ["complete"])


async def test_an_app_that_fails_while_its_head_is_held_has_not_begun_its_response(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        raise LookupError

    holds = Holds()
    call = Call(around(app, redis, holds))
    with pytest.raises(LookupError):
        await call.run()
    assert call.sent == []
    assert [(outcome.kind, outcome.status) for outcome in holds.outcomes] == [("error", None)]


async def test_a_guard_s_answer_is_not_held(redis: TestRedis) -> None:
    holds = Holds()
    guards = [passing(holds), answering(Answer(401, [], b"who?"))]
    call = await Call(GuardMiddleware(responding(), guards, redis=redis)).run()
    assert (call.status, call.body, holds.heads) == (401, b"who?", [(401, None)])
