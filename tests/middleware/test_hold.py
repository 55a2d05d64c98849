"""Responders that have the body held back, so that they see it whole before the head is sent."""

import asyncio
import itertools
from typing import ClassVar

import pytest

from asgi_redis_guard import Answer, GuardMiddleware, Head, Outcome, Responder
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


class HoldsNoStreams(Watches):
    """Wants up to sixteen bytes, of what is not made bit by bit."""

    hold: ClassVar[int] = 16
    holds_streams: ClassVar[bool] = False


async def test_what_is_made_bit_by_bit_leaves_as_it_comes_where_streams_are_not_held(redis: TestRedis) -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"a", "more_body": False})

    holds = HoldsNoStreams()
    call = Call(around(app, redis, holds)).start()
    await call.sees("http.response.body")
    assert holds.heads == [(200, None)]
    more.set()
    await call.task
    assert call.body == b"a"


@pytest.mark.parametrize("kind", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"])
async def test_the_head_of_an_event_stream_leaves_before_its_first_event(redis: TestRedis, kind: bytes) -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await more.wait()
        await send({"type": "http.response.body", "body": b"data: a\n\n", "more_body": False})

    holds = HoldsNoStreams()
    call = Call(around(app, redis, holds)).start()
    await call.sees("http.response.start")
    assert holds.heads == [(200, None)]
    more.set()
    await call.task


async def test_what_will_have_trailers_is_no_whole_where_streams_are_not_held(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})
        await send({"type": "http.response.trailers", "headers": [(b"x-t", b"1")]})

    holds = HoldsNoStreams()
    call = await Call(around(app, redis, holds)).run()
    assert holds.heads == [(200, None)]
    assert call.kinds[-1] == "http.response.trailers"


@pytest.mark.parametrize("chunks", [[b"1234", b"5678"], [b"", b"12345678"]])
async def test_a_body_whose_length_is_known_is_no_stream(redis: TestRedis, chunks: list[bytes]) -> None:
    holds = HoldsNoStreams()
    app = responding(*chunks, headers=[(b"Content-Length", b"8")])
    await Call(around(app, redis, holds)).run()
    assert holds.heads == [(200, b"12345678")]


@pytest.mark.parametrize("order", [0, 1])
async def test_a_stream_is_held_as_far_as_somebody_holds_streams(redis: TestRedis, order: int) -> None:
    pair = [HoldsNoStreams(), Holds()]
    await Call(around(responding(b"1234", b"5678"), redis, *pair[:: 1 if order else -1])).run()
    assert [holds.heads for holds in pair] == [[(200, b"12345678")]] * 2
    pair = [HoldsNoStreams(), Holds()]
    await Call(around(responding(b"1234", b"5678", b"9"), redis, *pair)).run()
    assert [holds.heads for holds in pair] == [[(200, None)]] * 2


class SeesAnswers(Responder):
    """Notes whether a head is a guard's answer."""

    def __init__(self) -> None:
        self.notes: list[bool] = []

    def start(self, head: Head) -> None:
        self.notes.append(head.answered)


class SeesTheEnd(SeesAnswers):
    """The same on the longer way."""

    def end(self, outcome: Outcome) -> None:
        self.notes.append(outcome.kind == "refused")


@pytest.mark.parametrize("kind", [SeesAnswers, SeesTheEnd])
async def test_a_head_tells_a_guard_s_answer_from_the_app_s_own(redis: TestRedis, kind: type[SeesAnswers]) -> None:
    sees = kind()
    for status in (204, 403):
        answer = answering(Answer(status, [], b"", reason="no"))
        await Call(GuardMiddleware(responding(), [passing(sees), answer], redis=redis)).run()
    await Call(GuardMiddleware(responding(status=403), [passing(sees)], redis=redis)).run()
    assert [told for told, _ in itertools.groupby(sees.notes)] == [True, False]
