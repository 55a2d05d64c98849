"""`Responder.rescue`: an answer instead of an app that failed before its head."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Answer, GuardMiddleware, Responder
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.responder import Control, Head
from asgi_redis_guard.middleware.routes import guarded
from tests.drive import App
from tests.guards import Watches, passing
from tests.middleware.calls import Call, TestRedis, settled
from tests.middleware.site import limiting, routing


class Rescues(Watches):
    """Answers for an app that has failed, with its name; or does not."""

    def __init__(self, name: str, *, answers: bool = True, notes: list[Any] | None = None) -> None:
        super().__init__(name, notes)
        self.answers = answers
        self.errors: list[Exception] = []

    def rescue(self, error: Exception) -> Answer | None:
        self.errors.append(error)
        return Answer(200, [(b"x-by", self.name.encode())], b"stale") if self.answers else None


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that fails before its head."""
    raise LookupError("the app")


async def fails_late(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that fails after its head."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise LookupError("the app")


async def test_the_first_from_within_answers_and_all_see_it_once(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner = Rescues("outer"), Rescues("inner")
    innermost = Rescues("innermost", answers=False)
    guards = [passing(Watches("outermost")), passing(outer), passing(inner), passing(innermost)]
    call = await Call(GuardMiddleware(fails, guards, redis=redis)).run()
    assert (call.status, call.body) == (200, b"stale")
    seen = [value for name, value in call.headers if name == b"x-seen-by"]
    assert (b"x-by", b"inner") in call.headers
    assert seen == [b"innermost", b"inner", b"outer", b"outermost"]
    assert [len(one.errors) for one in (outer, inner, innermost)] == [0, 1, 1]
    assert [one.kinds for one in (outer, inner, innermost)] == [["complete"]] * 3
    assert outer.chunks == [(b"stale", False)]
    assert "the app" in caplog.text, "the author should know all the same"


async def test_where_nobody_answers_it_is_raised_as_ever(redis: TestRedis) -> None:
    rescues = Rescues("no", answers=False)
    call = Call(GuardMiddleware(fails, [passing(rescues)], redis=redis)).start()
    with pytest.raises(LookupError):
        await call.task
    assert (call.sent, rescues.kinds) == ([], ["error"])


async def test_after_the_head_nobody_is_asked(redis: TestRedis) -> None:
    rescues = Rescues("late")
    call = Call(GuardMiddleware(fails_late, [passing(rescues)], redis=redis)).start()
    with pytest.raises(LookupError):
        await call.task
    assert (call.kinds, rescues.errors, rescues.kinds) == (["http.response.start"], [], ["error"])


async def test_a_cancellation_is_no_failure(redis: TestRedis) -> None:
    class Cancels(Rescues):
        def bind(self, control: Control) -> None:
            control.cancel(Answer(409, [], b"lost"))

    rescues = Cancels("cancels")

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    call = await Call(GuardMiddleware(waits, [passing(rescues)], redis=redis)).run()
    assert (call.status, rescues.errors) == (409, [])


async def test_the_edit_of_a_head_that_fails_is_no_failure_of_the_app(redis: TestRedis) -> None:
    class Fails(Responder):
        def start(self, head: Head) -> None:
            raise ValueError("a responder")

    rescues = Rescues("rescues")
    call = await Call(GuardMiddleware(App(), [passing(rescues), passing(Fails())], redis=redis)).run()
    assert (call.status, rescues.errors) == (500, [])


async def test_a_route_that_is_refused_is_not_rescued(redis: TestRedis) -> None:
    async def hello() -> bytes:
        return b"hello"

    rescues = Rescues("cache")
    app = routing(guarded(hello, [limiting("limit")]))
    call = await Call(GuardMiddleware(app, [passing(rescues)], redis=redis)).run()
    await settled(redis)
    assert (call.status, rescues.errors) == (429, [])


async def test_a_guarded_route_that_fails_is(redis: TestRedis) -> None:
    async def hello() -> bytes:
        raise LookupError("the route")

    rescues = Rescues("cache")
    app = routing(guarded(hello, [passing()]))
    call = await Call(GuardMiddleware(app, [passing(rescues)], redis=redis)).run()
    await settled(redis)
    assert (call.status, call.body) == (200, b"stale")
    assert [str(error) for error in rescues.errors] == ["the route"]
