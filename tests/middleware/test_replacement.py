"""Responders that answer instead of the app: who sees what."""

from typing import Any

import pytest

from asgi_redis_guard import Answer, Ask, GuardMiddleware, Head
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Asking
from tests.guards import Watches, count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, websocket

INSTEAD = Answer(304, [(b"etag", b'"1"')], b"instead")


class Replaces(Watches):
    """Answers instead of the app, at once."""

    def start(self, head: Head) -> None:
        super().start(head)
        head.replace(INSTEAD)


class AsksAndReplaces(Watches):
    """Answers instead of the app, after Redis was asked."""

    def start(self, head: Head) -> Asking:  # type: ignore[override]
        super().start(head)
        yield Ask([count("a")])
        head.replace(INSTEAD)


KINDS = pytest.mark.parametrize("kind", [Replaces, AsksAndReplaces])


def around(app: Any, redis: TestRedis, *responders: Watches) -> GuardMiddleware:
    """The app with responders, outermost first."""
    return GuardMiddleware(app, [passing(responder) for responder in responders], redis=redis)


@KINDS
async def test_the_client_gets_the_answer_and_none_of_the_app_s_own_response(
    redis: TestRedis, kind: type[Watches]
) -> None:
    call = await Call(around(responding(b"a", b"b", headers=[(b"x-own", b"1")]), redis, kind())).run()
    assert (call.status, call.headers, call.body) == (304, [(b"etag", b'"1"')], b"instead")
    assert call.kinds == ["http.response.start", "http.response.body"]
    assert INSTEAD.headers == [(b"etag", b'"1"')]


@KINDS
async def test_responders_further_out_see_and_edit_the_new_response(redis: TestRedis, kind: type[Watches]) -> None:
    outer = Watches("outer")
    call = await Call(around(responding(b"a", b"b"), redis, outer, kind())).run()
    assert call.headers == [(b"etag", b'"1"'), (b"x-seen-by", b"outer")]
    assert outer.heads[-1] == (304, None)
    assert outer.chunks == [(b"instead", False)]


@KINDS
async def test_responders_further_in_still_see_the_app_s_chunks_to_the_end(
    redis: TestRedis, kind: type[Watches]
) -> None:
    inner = Watches("inner")
    call = await Call(around(responding(b"a", b"b"), redis, kind(), inner)).run()
    assert (inner.heads, inner.chunks) == ([(200, None)], [(b"a", True), (b"b", False)])
    assert (b"x-seen-by", b"inner") not in call.headers


@KINDS
async def test_the_one_that_answers_sees_neither_its_own_bytes_nor_the_app_s(
    redis: TestRedis, kind: type[Watches]
) -> None:
    responder = kind()
    await Call(around(responding(b"a", b"b"), redis, Watches(), responder, Watches())).run()
    assert responder.chunks == []


@KINDS
async def test_everyone_s_outcome_is_the_status_that_was_sent(redis: TestRedis, kind: type[Watches]) -> None:
    responders = [Watches(), kind(), Watches()]
    await Call(around(responding(), redis, *responders)).run()
    assert {(outcome.kind, outcome.status) for each in responders for outcome in each.outcomes} == {("complete", 304)}


@KINDS
async def test_an_answer_instead_of_one_to_head_has_no_body(redis: TestRedis, kind: type[Watches]) -> None:
    call = await Call(around(responding(b""), redis, kind()), http(method="HEAD")).run()
    assert (call.status, call.body) == (304, b"")


async def test_of_two_that_answer_the_outer_one_wins(redis: TestRedis) -> None:
    class Outer(Replaces):
        def start(self, head: Head) -> None:
            head.replace(Answer(410, []))

    for inner in (Replaces(), AsksAndReplaces()):
        middle = Watches()
        call = await Call(around(responding(), redis, Outer(), middle, inner)).run()
        assert call.status == 410
        assert middle.heads[-1] == (304, None)


async def test_one_that_asks_further_out_edits_the_head_that_took_the_place_of_the_first(redis: TestRedis) -> None:
    class Asks(Watches):
        def start(self, head: Head) -> Asking:  # type: ignore[override]
            (reply,) = yield Ask([count("b")])
            head.headers.append((b"x-count", b"%d" % reply.values[0]))

    call = await Call(around(responding(), redis, Asks(), AsksAndReplaces())).run()
    assert call.headers == [(b"etag", b'"1"'), (b"x-count", b"1")]
    assert redis.rounds == [["test.count", "test.count"]]


@KINDS
@pytest.mark.parametrize("denial", [True, False])
async def test_a_websocket_is_refused_instead_of_accepted(redis: TestRedis, kind: type[Watches], denial: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "for nobody"})
        await send({"type": "websocket.close", "code": 1000})

    call = await Call(around(app, redis, kind()), websocket(denial=denial)).run()
    if denial:
        assert call.kinds == ["websocket.http.response.start", "websocket.http.response.body"]
        assert (call.status, call.body) == (304, b"instead")
    else:
        assert call.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
