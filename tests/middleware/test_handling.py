"""`middleware/handling.py`: responders that cancel the handler, and whose cancellation is whose."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Answer, Control, GuardMiddleware, ResponseAborted
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.guards import Ends, Watches, passing
from tests.middleware.calls import Call, TestRedis, responding, websocket

START = {"type": "http.response.start", "status": 200, "headers": []}
LOST = Answer(423, [(b"x-own", b"1")], b"lost the lock")


class Cancels(Ends):
    """Keeps the handle on the exchange, for the test to use."""

    control: Control

    def bind(self, control: Control) -> None:
        self.control = control


class Handler:
    """An app that runs until it is cancelled; `then` is what it does about that."""

    def __init__(self, *first: Any, then: Any = None) -> None:
        self.first, self.then = first, then
        self.running = asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.first:
            await send(message)
        self.running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self.then is None:
                raise
            await self.then(scope, receive, send)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Swallow the cancellation."""


async def begin(app: Handler, redis: TestRedis, *more: Ends) -> tuple[Call, Cancels]:
    """Start a request and wait until its handler runs."""
    cancels = Cancels()
    stack = GuardMiddleware(app, [passing(responder) for responder in (*more, cancels)], redis=redis)
    call = Call(stack).start()
    await app.running.wait()
    return call, cancels


async def test_before_the_head_the_client_gets_the_answer_through_all_responders(redis: TestRedis) -> None:
    app, watches = Handler(), Watches("outer")
    call, cancels = await begin(app, redis, watches)
    cancels.control.cancel(LOST)
    await call.task
    assert app.cancelled
    assert (call.status, call.body) == (423, b"lost the lock")
    assert call.headers == [(b"x-own", b"1"), (b"x-seen-by", b"outer")]
    assert [(outcome.kind, outcome.status) for outcome in (*watches.outcomes, *cancels.outcomes)] == [
        ("complete", 423)
    ] * 2
    assert call.task.cancelling() == 0


async def test_after_the_head_the_connection_is_aborted(redis: TestRedis) -> None:
    call, cancels = await begin(Handler(START), redis)
    cancels.control.cancel(LOST)
    with pytest.raises(ResponseAborted):
        await call.task
    assert call.sent == [START]
    assert [(outcome.kind, outcome.status) for outcome in cancels.outcomes] == [("error", 200)]


async def test_a_handler_that_swallows_its_cancellation_and_says_nothing_is_answered_for(redis: TestRedis) -> None:
    call, cancels = await begin(Handler(then=nothing), redis)
    cancels.control.cancel(LOST)
    await call.task
    assert (call.status, cancels.kinds) == (423, ["complete"])


async def test_a_handler_that_swallows_its_cancellation_and_answers_itself_has_the_last_word(redis: TestRedis) -> None:
    call, cancels = await begin(Handler(then=responding(b"cleaned up", status=500)), redis)
    cancels.control.cancel(LOST)
    await call.task
    assert (call.status, call.body, cancels.kinds) == (500, b"cleaned up", ["complete"])
    assert call.task.cancelling() == 0


async def test_an_error_while_it_is_cancelled_is_the_app_s(redis: TestRedis) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    call, cancels = await begin(Handler(then=fail), redis)
    cancels.control.cancel(LOST)
    with pytest.raises(LookupError):
        await call.task
    assert cancels.kinds == ["error"]


@pytest.mark.parametrize("first", ["the responder", "the server"])
@pytest.mark.parametrize("then", [None, nothing])
async def test_the_server_s_own_cancellation_is_never_swallowed(redis: TestRedis, first: str, then: Any) -> None:
    call, cancels = await begin(Handler(then=then), redis)
    if first == "the responder":
        cancels.control.cancel(LOST)
    call.task.cancel()
    if first == "the server":
        cancels.control.cancel(LOST)
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert call.task.cancelled()
    assert (call.sent, cancels.kinds) == ([], ["cancelled"])


async def test_the_server_may_cancel_while_the_handler_cleans_up(redis: TestRedis) -> None:
    cleaning = asyncio.Event()

    async def clean_up(scope: Scope, receive: Receive, send: Send) -> None:
        cleaning.set()
        await asyncio.Event().wait()

    call, cancels = await begin(Handler(then=clean_up), redis)
    cancels.control.cancel(LOST)
    await cleaning.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert cancels.kinds == ["cancelled"]


async def test_the_server_may_cancel_while_the_answer_is_sent(redis: TestRedis) -> None:
    sending = asyncio.Event()
    app, cancels = Handler(), Cancels()
    call = Call(GuardMiddleware(app, [passing(cancels)], redis=redis))

    async def send(message: Any) -> None:
        sending.set()
        await asyncio.Event().wait()

    call.send = send  # type: ignore[method-assign]
    call.start()
    await app.running.wait()
    cancels.control.cancel(LOST)
    await sending.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert cancels.kinds == ["cancelled"]


async def test_a_client_that_is_gone_when_the_answer_is_sent_leaves_nobody_without_an_end(redis: TestRedis) -> None:
    call, cancels = await begin(Handler(), redis)
    call.fails = OSError("gone")
    cancels.control.cancel(LOST)
    with pytest.raises(OSError, match="gone"):
        await call.task
    assert cancels.kinds == ["error"]


async def test_cancellations_from_before_are_left_alone(redis: TestRedis) -> None:
    """A server's task may have been cancelled once and have gone on."""
    app, cancels = Handler(), Cancels()
    call = Call(GuardMiddleware(app, [passing(cancels)], redis=redis))

    async def serve() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        await call.app()
        assert task.cancelling() == 1

    serving = asyncio.ensure_future(serve())
    await app.running.wait()
    cancels.control.cancel(LOST)
    await serving
    assert call.status == 423


async def test_only_the_first_cancellation_counts(redis: TestRedis) -> None:
    call, cancels = await begin(Handler(), redis)
    cancels.control.cancel(LOST)
    cancels.control.cancel(Answer(500, []))
    await call.task
    assert call.status == 423


async def test_a_cancellation_after_the_last_byte_or_after_the_end_changes_nothing(redis: TestRedis) -> None:
    cancels = Cancels()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding()(scope, receive, send)
        cancels.control.cancel(LOST)
        await asyncio.sleep(0)

    call = await Call(GuardMiddleware(app, [passing(cancels)], redis=redis)).run()
    cancels.control.cancel(LOST)
    assert (call.status, cancels.kinds, call.task.cancelling()) == (200, ["complete"], 0)


async def test_a_cancellation_that_comes_as_the_handler_returns_is_taken_back(redis: TestRedis) -> None:
    cancels = Cancels()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cancels.control.cancel(LOST)

    call = await Call(GuardMiddleware(app, [passing(cancels)], redis=redis)).run()
    assert (call.status, call.task.cancelling()) == (423, 0)


async def test_a_handshake_is_refused_and_an_accepted_websocket_is_aborted(redis: TestRedis) -> None:
    for first, kinds in (
        ([], ["websocket.http.response.start", "websocket.http.response.body"]),
        ([{"type": "websocket.accept"}], ["websocket.accept"]),
    ):
        app, cancels = Handler(*first), Cancels()
        call = Call(GuardMiddleware(app, [passing(cancels)], redis=redis), websocket()).start()
        await app.running.wait()
        cancels.control.cancel(LOST)
        if first:
            with pytest.raises(ResponseAborted):
                await call.task
        else:
            await call.task
        assert call.kinds == kinds


async def test_a_responder_that_cannot_be_bound_keeps_the_app_from_running_and_nobody_without_an_end(
    redis: TestRedis,
) -> None:
    class Fails(Ends):
        def bind(self, control: Control) -> None:
            raise LookupError

    ends, fails, app = Ends(), Fails(), Handler()
    with pytest.raises(LookupError):
        await Call(GuardMiddleware(app, [passing(ends), passing(fails)], redis=redis)).run()
    assert not app.running.is_set()
    assert (ends.kinds, fails.kinds) == (["error"], ["error"])
