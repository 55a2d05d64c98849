"""`middleware/heads.py`: responders that have a `start` alone behave as all others do."""

from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import Answer, Ask, Control, GuardMiddleware, Head, Outcome, RedisUnavailable, Responder
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from asgi_redis_guard.core.steps import Asking
from tests.guards import count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, websocket


class Marks(Responder):
    """Adds a field to the head."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, head: Head) -> None:
        head.headers.append((b"x-seen-by", self.name.encode()))


class Counts(Responder):
    """Asks before the head is sent."""

    def start(self, head: Head) -> Asking:
        (reply,) = yield Ask([count("a")])
        head.headers.append((b"x-count", b"%d" % reply.values[0]))


class Replaces(Responder):
    """Answers instead of the app."""

    def start(self, head: Head) -> None:
        head.replace(Answer(304, [(b"etag", b'"1"')]))


class Fails(Responder):
    """Raises before the head is sent."""

    def start(self, head: Head) -> None:
        raise LookupError


class Ends(Responder):
    """Has an `end` too, so that whoever stands beside it goes the long way."""

    def end(self, outcome: Outcome) -> None: ...


STACKS: dict[str, Callable[[], list[Responder]]] = {
    "marks": lambda: [Marks("outer"), Marks("inner")],
    "asks": lambda: [Marks("outer"), Counts(), Marks("inner")],
    "replaces": lambda: [Marks("outer"), Replaces(), Marks("inner")],
    "fails": lambda: [Marks("outer"), Fails(), Marks("inner")],
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", STACKS)
async def test_the_short_way_and_the_long_way_send_the_same(name: str, method: str) -> None:
    sent: list[list[Message]] = []
    for more in ([], [Ends()]):
        redis = TestRedis()
        guards = [passing(responder) for responder in [*STACKS[name](), *more]]
        app = responding(b"a", b"b", headers=[(b"x-own", b"1")])
        sent.append((await Call(GuardMiddleware(app, guards, redis=redis), http(method=method)).run()).sent)
        await redis.aclose()
    assert sent[0] == sent[1]


async def test_heads_are_edited_from_the_inside_out_and_everything_else_passes_untouched(redis: TestRedis) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
    body = {"type": "http.response.body", "body": b"ok"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(hint)
        await send({"type": "http.response.start", "status": 200})
        await send(body)

    call = await Call(GuardMiddleware(app, [passing(Marks("outer")), passing(Marks("inner"))], redis=redis)).run()
    assert call.headers == [(b"x-seen-by", b"inner"), (b"x-seen-by", b"outer")]
    assert call.sent[0] is hint
    assert call.sent[2] is body


async def test_the_app_s_own_message_is_not_changed(redis: TestRedis) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)

    await Call(GuardMiddleware(app, [passing(Marks("a"))], redis=redis)).run()
    assert start["headers"] == [(b"x-own", b"1")]


async def test_an_ask_before_the_head_is_one_round_trip_and_is_done_once(redis: TestRedis) -> None:
    call = await Call(GuardMiddleware(responding(), [passing(Counts())], redis=redis)).run()
    assert (call.headers, len(redis.rounds)) == ([(b"x-count", b"1")], 1)


async def test_redis_away_before_the_head_is_a_503(redis: TestRedis) -> None:
    redis.away = RedisUnavailable()
    call = await Call(GuardMiddleware(responding(b"a", b"b"), [passing(Counts())], redis=redis)).run()
    assert (call.status, len(call.sent)) == (503, 2)


async def test_the_acceptance_of_a_websocket_is_edited_too(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    call = await Call(GuardMiddleware(app, [passing(Marks("a"))], redis=redis), websocket()).run()
    assert call.sent == [{"type": "websocket.accept", "headers": [(b"x-seen-by", b"a")]}]


async def test_responders_see_what_the_app_has_put_into_its_scope_also_where_it_may_run_again(redis: TestRedis) -> None:
    """Inner middlewares put the user and the session there; a background run of the app finds none of it."""

    class Binding(Responder):
        seen: Any = None

        def bind(self, control: Control) -> None:
            pass

        def start(self, head: Head) -> None:
            self.seen = head.scope

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = "alice"
        await responding(b"ok")(scope, receive, send)

    for outlives in (False, True):
        responder = type("Keeping", (Binding,), {"outlives": outlives})()
        call = await Call(GuardMiddleware(app, [passing(responder)], redis=redis)).run()
        assert responder.seen["user"] == "alice"
        assert "user" not in call.scope
