"""`middleware/delivery.py`: heads, bodies and everything else on their way through the responders."""

from typing import Any

import pytest

from asgi_redis_guard import Answer, Ask, GuardMiddleware, Head, RedisUnavailable, Responder, ResponseAborted
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from asgi_redis_guard.core.steps import Asking
from tests.guards import Ends, Watches, answering, count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, settled, websocket

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
LAST: Message = {"type": "http.response.body", "body": b"ok", "more_body": False}


def saying(*messages: Message) -> Any:
    """An app that sends just that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def around(app: Any, redis: TestRedis, *responders: Responder) -> GuardMiddleware:
    """The app with responders, outermost first."""
    return GuardMiddleware(app, [passing(responder) for responder in responders], redis=redis)


class Asks(Ends):
    """Asks for one more under `key` before the head is sent, and puts the result in it."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def start(self, head: Head) -> Asking:
        (reply,) = yield Ask([count(self.key)])
        head.headers.append((b"x-count", b"%d" % reply.values[0]))


class FailsIn(Ends):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()
        self.method, self.error = method, error

    def start(self, head: Head) -> None:
        self._fail("start")

    def body(self, chunk: bytes, more: bool) -> None:
        self._fail("body")

    def _fail(self, method: str) -> None:
        if method == self.method:
            raise self.error


async def test_responders_see_the_response_from_the_inside_out(redis: TestRedis) -> None:
    notes: list[Any] = []
    call = await Call(around(responding(), redis, Watches("outer", notes), Watches("inner", notes))).run()
    names = [name for _, name in call.headers]
    assert names == [b"inner", b"outer"]
    assert notes == [(method, name) for method in ("start", "body", "end") for name in ("inner", "outer")]


async def test_chunks_go_by_as_they_are_and_are_seen_once(redis: TestRedis) -> None:
    watches = Watches()
    call = await Call(around(responding(b"a", b"", b"b"), redis, watches)).run()
    assert watches.chunks == [(b"a", True), (b"", True), (b"b", False)]
    assert [message.get("body") for message in call.sent[1:]] == [b"a", b"", b"b"]


async def test_all_that_responders_ask_before_the_head_is_one_round_trip(redis: TestRedis) -> None:
    call = await Call(around(responding(), redis, Asks("a"), Watches(), Asks("b"))).run()
    assert redis.rounds == [["test.count", "test.count"]]
    assert call.headers == [(b"x-seen-by", b"watches"), (b"x-count", b"1"), (b"x-count", b"1")]


async def test_the_app_s_own_message_is_not_changed(redis: TestRedis) -> None:
    start = {**START, "headers": [(b"x-own", b"1")], "x-private": 1}
    call = await Call(around(saying(start, LAST), redis, Watches())).run()
    assert start["headers"] == [(b"x-own", b"1")]
    assert call.sent[0] == {**start, "headers": [(b"x-own", b"1"), (b"x-seen-by", b"watches")]}


async def test_headers_may_be_any_iterable_or_missing(redis: TestRedis) -> None:
    for headers in ({"headers": ((name, b"1") for name in [b"x-own"])}, {"headers": ()}, {}):
        start = {"type": "http.response.start", "status": 200, **headers}
        call = await Call(around(saying(start, LAST), redis, Watches())).run()
        assert call.headers[-1] == (b"x-seen-by", b"watches")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_responder_that_fails_before_the_head_is_a_500_and_the_app_s_response_goes_nowhere(
    redis: TestRedis, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    fails, other = FailsIn("start", LookupError()), Ends()
    call = await Call(around(responding(b"a", b"b"), redis, other, fails), http(method=method)).run()
    assert (call.status, call.kinds) == (500, ["http.response.start", "http.response.body"])
    assert (b"content-type", b"application/problem+json") in call.headers
    assert bool(call.body) == (method == "GET")
    assert (fails.kinds, other.kinds) == (["error"], ["error"])
    assert other.outcomes[0].status == 500
    assert f"a responder failed before the head of {method} '/' was sent: " in caplog.text


async def test_redis_away_before_the_head_is_a_503_without_a_word_in_the_log(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.away = RedisUnavailable()
    ends = Ends()
    call = await Call(around(responding(), redis, ends, Asks("a"))).run()
    assert call.status == 503
    assert (b"retry-after", b"1") in call.headers
    assert [outcome.status for outcome in ends.outcomes] == [503]
    assert caplog.text == ""


async def test_a_responder_that_asks_again_is_through_before_the_head_is_sent(redis: TestRedis) -> None:
    class Twice(Responder):
        def start(self, head: Head) -> Asking:
            yield Ask([count("a")])
            (reply,) = yield Ask([count("a")])
            head.headers.append((b"x-count", b"%d" % reply.values[0]))

    call = await Call(around(responding(), redis, Twice())).run()
    assert call.status == 200
    assert (b"x-count", b"2") in call.headers
    assert len(redis.rounds) == 2


async def test_a_responder_that_fails_in_the_body_aborts_the_connection(redis: TestRedis) -> None:
    fails, other = FailsIn("body", LookupError()), Ends()
    call = Call(around(responding(b"a", b"b"), redis, other, fails))
    with pytest.raises(ResponseAborted):
        await call.run()
    assert call.kinds == ["http.response.start"]
    assert (fails.kinds, other.kinds) == (["error"], ["error"])


async def test_an_app_that_swallows_the_abortion_does_not_save_the_connection(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        with pytest.raises(ResponseAborted):
            await send({**LAST, "more_body": True})
        await send(LAST)

    call = Call(around(app, redis, FailsIn("body", LookupError())))
    with pytest.raises(ResponseAborted):
        await call.run()
    assert call.kinds == ["http.response.start"]


async def test_a_responder_that_fails_in_the_body_of_a_refusal_aborts_too(redis: TestRedis) -> None:
    fails = FailsIn("body", LookupError())
    stack = GuardMiddleware(responding(), [passing(fails), answering(Answer(401, [], b"who?"))], redis=redis)
    with pytest.raises(ResponseAborted):
        await Call(stack).run()
    assert fails.kinds == ["error"]


async def test_an_answer_to_head_has_no_body(redis: TestRedis) -> None:
    watches = Watches()
    stack = GuardMiddleware(responding(), [passing(watches), answering(Answer(401, [], b"who?"))], redis=redis)
    call = await Call(stack, http(method="HEAD")).run()
    assert (call.status, call.body, watches.chunks) == (401, b"", [(b"", False)])


async def test_trailers_come_before_the_end(redis: TestRedis) -> None:
    notes: list[Any] = []
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in ({**START, "trailers": True}, LAST, {**trailers, "more_trailers": True}):
            await send(message)
        assert ("end", "watches") not in notes
        await send(trailers)
        assert ("end", "watches") in notes

    call = await Call(around(app, redis, Watches("watches", notes))).run()
    assert call.sent[-1] == trailers


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.early_hint", "links": [b"</a.css>"]}, START, LAST],
        [{"type": "http.response.informational", "status": 103, "headers": []}, START, LAST],
        [{"type": "http.response.push", "path": "/a", "headers": []}, START, LAST],
        [{"type": "http.response.debug", "info": {}}, START, LAST],
        [START, {"type": "http.response.pathsend", "path": "/file"}],
        [START, {"type": "http.response.zerocopysend", "file": 3}],
        [START, {"type": "x.unknown", "value": 1}, LAST],
    ],
)
async def test_informational_and_unknown_messages_pass_untouched(redis: TestRedis, messages: list[Message]) -> None:
    ends = Ends()
    call = await Call(around(saying(*messages), redis, ends)).run()
    assert call.sent == messages
    assert call.sent[0] == messages[0]
    assert [(outcome.kind, outcome.status) for outcome in ends.outcomes] == [("complete", 200)]


async def test_the_acceptance_of_a_websocket_is_a_head_with_status_101(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x-own", b"1")]})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close", "code": 1000})

    watches = Watches()
    call = await Call(around(app, redis, watches), websocket()).run()
    assert call.sent[0] == {
        "type": "websocket.accept",
        "subprotocol": "chat",
        "headers": [(b"x-own", b"1"), (b"x-seen-by", b"watches")],
    }
    assert call.kinds[1:] == ["websocket.send", "websocket.close"]
    assert (watches.heads, [outcome.status for outcome in watches.outcomes]) == ([(101, None)], [101])
    await settled(redis)
