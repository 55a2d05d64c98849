"""A responder that outlives the client: the app hears of nothing until it says so, and of everything after."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import Control, GuardMiddleware
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.core.responder import Head
from tests.guards import Watches, passing
from tests.middleware.calls import EMPTY, GONE, Call, TestRedis, http, settled
from tests.redis.tools import within


class Wants(Watches):
    """Wants the whole response, until it is told to `release`; at the head where `at_head` says so."""

    outlives = True
    control: Control

    def __init__(self, *, at_head: bool = False) -> None:
        super().__init__()
        self.at_head = at_head

    def bind(self, control: Control) -> None:
        self.control = control

    def start(self, head: Head) -> None:
        super().start(head)
        if self.at_head:
            self.control.release()

    @property
    def whole(self) -> bytes:
        """All that it saw."""
        return b"".join(chunk for chunk, _ in self.chunks)


class Stepping:
    """An app that sends a head and three chunks, each when the test lets it; notes how far it came."""

    def __init__(self) -> None:
        self.steps = asyncio.Semaphore(0)
        self.done: list[str] = []
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: BaseException | None = None
        self.reads: Callable[[Receive], Awaitable[Any]] | None = None

    def go(self, steps: int = 1) -> None:
        """Let it make so many steps."""
        for _ in range(steps):
            self.steps.release()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.set()
        try:
            if self.reads is not None:
                await self.reads(receive)
            await self._step("head", send({"type": "http.response.start", "status": 200, "headers": []}))
            for chunk in (b"a", b"b"):
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                await self._step(chunk.decode(), send(message))
            await self._step("c", send({"type": "http.response.body", "body": b"c", "more_body": False}))
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    async def _step(self, name: str, sending: Any) -> None:
        try:
            await self.steps.acquire()
        except BaseException:
            sending.close()
            raise
        await sending
        self.done.append(name)


class Slow(Call):
    """A client that takes each message when it is told to."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self.takes = asyncio.Semaphore(0)
        self.offered = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.offered.set()
        await self.takes.acquire()
        await super().send(message)


def guarded(app: ASGIApp, redis: TestRedis, wants: Wants) -> GuardMiddleware:
    """The app for one that wants it all."""
    return GuardMiddleware(app, [passing(wants)], redis=redis)


async def cancelled(call: Call) -> None:
    """Cancel the server's task."""
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task


async def until(true: Callable[[], object]) -> None:
    """Let the loop go round until something holds."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


async def test_a_client_gets_what_the_app_sends_in_its_order(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants()
    app.go(4)
    call = await Call(guarded(app, redis, wants)).run()
    assert call.kinds == ["http.response.start"] + ["http.response.body"] * 3
    assert (call.body, wants.whole, wants.kinds) == (b"abc", b"abc", ["complete"])


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_a_cancelled_server_task_leaves_the_app_to_its_end(redis: TestRedis, steps: int) -> None:
    app, wants = Stepping(), Wants()
    call = Call(guarded(app, redis, wants)).start()
    await app.started.wait()
    app.go(steps)
    await until(lambda: len(app.done) == steps and len(call.sent) == steps)
    await cancelled(call)
    app.go(4 - steps)
    await within(app.ended.wait())
    await settled(redis)
    assert (wants.whole, wants.kinds, app.error) == (b"abc", ["complete"], None)
    assert len(call.sent) == steps


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_client_that_cannot_be_sent_to_is_the_app_s_business_when_it_is_released(
    redis: TestRedis, steps: int
) -> None:
    app, wants = Stepping(), Wants()
    call = Call(guarded(app, redis, wants)).start()
    app.go(steps)
    await until(lambda: len(call.sent) == steps)
    call.fails = ConnectionResetError("gone")
    app.go(1)
    await call.task
    app.go(3 - steps)
    await within(app.ended.wait())
    await settled(redis)
    assert (wants.whole, wants.kinds, app.error) == (b"abc", ["complete"], None)


async def test_after_release_what_cannot_be_sent_is_raised_to_the_app(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants(at_head=True)
    call = Call(guarded(app, redis, wants)).start()
    app.go(1)
    await until(lambda: len(call.sent) == 1)
    call.fails = ConnectionResetError("gone")
    app.go(1)
    with pytest.raises(ConnectionResetError):
        await call.task
    assert isinstance(app.error, ConnectionResetError)
    assert app.done == ["head"], "the very message that could not be sent says so"
    assert wants.kinds == ["error"]


async def test_what_could_not_be_sent_before_the_release_is_raised_after_it(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    app, wants = Stepping(), Wants()
    call = Call(guarded(app, redis, wants)).start()
    call.fails = ConnectionResetError("gone")
    app.go(2)
    await call.task
    await until(lambda: len(app.done) == 2)
    wants.control.release()
    app.go(2)
    await within(app.ended.wait())
    await settled(redis)
    assert isinstance(app.error, ConnectionResetError)
    assert wants.kinds == ["error"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_slow_client_holds_the_app_up_only_after_the_release(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants()
    call = Slow(guarded(app, redis, wants))
    call.start()
    app.go(2)
    await until(lambda: app.done == ["head", "a"])
    assert call.sent == []
    wants.control.release()
    app.go(1)
    await until(lambda: wants.whole == b"ab")
    call.takes.release()
    call.takes.release()
    await until(lambda: len(call.sent) == 2)
    assert app.done == ["head", "a"], "it waits until its own message was taken"
    call.takes.release()
    await until(lambda: app.done == ["head", "a", "b"])
    app.go(1)
    call.takes.release()
    await call.task
    assert call.body == b"abc"


async def test_a_slow_client_gets_the_rest_when_the_app_has_ended(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants()
    call = Slow(guarded(app, redis, wants))
    call.start()
    app.go(4)
    await within(app.ended.wait())
    assert (wants.kinds, call.sent) == (["complete"], [])
    for _ in range(4):
        call.takes.release()
    await call.task
    assert call.body == b"abc"


async def test_a_server_that_cancels_after_the_release_cancels_the_app_and_waits_for_it(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants(at_head=True)
    call = Call(guarded(app, redis, wants)).start()
    app.go(2)
    await until(lambda: app.done == ["head", "a"])
    await cancelled(call)
    assert isinstance(app.error, asyncio.CancelledError)
    assert wants.kinds == ["cancelled"]


async def test_a_release_after_the_cancellation_cancels_the_app(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants()
    call = Call(guarded(app, redis, wants)).start()
    app.go(2)
    await until(lambda: app.done == ["head", "a"])
    await cancelled(call)
    await asyncio.sleep(0)
    assert app.error is None
    wants.control.release()
    await within(app.ended.wait())
    await settled(redis)
    assert isinstance(app.error, asyncio.CancelledError)
    assert wants.kinds == ["cancelled"]


async def test_a_release_at_the_head_after_the_cancellation_ends_the_app(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants(at_head=True)
    call = Call(guarded(app, redis, wants)).start()
    await until(lambda: hasattr(wants, "control"))
    await cancelled(call)
    app.go(1)
    await within(app.ended.wait())
    await settled(redis)
    assert isinstance(app.error, asyncio.CancelledError | OSError)
    assert app.done == []
    assert len(wants.kinds) == 1


async def test_a_server_that_fails_and_then_cancels_reaches_the_app(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants(at_head=True)
    app._step = keeping(app)  # type: ignore[method-assign]
    call = Call(guarded(app, redis, wants)).start()
    await app.started.wait()
    call.fails = ConnectionResetError("gone")
    app.go(2)
    await until(lambda: app.done == ["head failed", "a failed"])
    await cancelled(call)
    assert isinstance(app.error, asyncio.CancelledError)


def keeping(app: Stepping) -> Any:
    """Steps of an app that does not mind errors."""

    async def step(name: str, sending: Any) -> None:
        try:
            await app.steps.acquire()
        except BaseException:
            sending.close()
            raise
        try:
            await sending
        except OSError:
            app.done.append(f"{name} failed")

    return step


async def test_that_the_client_has_left_is_told_when_the_rest_is_wanted_no_more(redis: TestRedis) -> None:
    app, wants = Stepping(), Wants()
    heard: list[str] = []

    async def read(receive: Receive) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    app.reads = read
    call = Call(guarded(app, redis, wants), http(), EMPTY, GONE).start()
    await until(lambda: heard)
    for _ in range(20):
        await asyncio.sleep(0)
    assert heard == ["http.request"]
    wants.control.release()
    await until(lambda: len(heard) == 2)
    assert heard[1] == "http.disconnect"
    app.go(4)
    await call.task
    assert wants.kinds == ["disconnect"]


async def test_an_app_that_raises_while_its_client_is_there_raises_as_ever(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("in the middle")

    wants = Wants()
    call = Call(guarded(app, redis, wants)).start()
    with pytest.raises(LookupError):
        await call.task
    assert (call.kinds, wants.kinds) == (["http.response.start"], ["error"])
    assert "in the middle" not in caplog.text


async def test_an_app_that_raises_after_its_client_has_left_gets_one_line(
    redis: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    fails = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await fails.wait()
        raise LookupError("alone")

    wants = Wants()
    call = Call(guarded(app, redis, wants)).start()
    await until(lambda: hasattr(wants, "control"))
    await cancelled(call)
    fails.set()
    await settled(redis)
    await asyncio.sleep(0)
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "alone" in caplog.text
    assert wants.kinds == ["error"]


async def test_aclose_ends_an_app_that_nobody_waits_for() -> None:
    redis = TestRedis(timeout=0.05)
    app, wants = Stepping(), Wants()
    call = Call(guarded(app, redis, wants)).start()
    app.go(1)
    await until(lambda: app.done)
    await cancelled(call)
    await within(redis.aclose())
    assert isinstance(app.error, asyncio.CancelledError)
    assert wants.kinds == ["cancelled"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_is_left_running_whatever_happens(redis: TestRedis) -> None:
    for steps in range(5):
        for at_head in (False, True):
            app, wants = Stepping(), Wants(at_head=at_head)
            call = Call(guarded(app, redis, wants)).start()
            await app.started.wait()
            app.go(steps)
            await until(lambda app=app, steps=steps: len(app.done) == steps)  # type: ignore[misc]
            call.task.cancel()
            await asyncio.wait((call.task,))
            app.go(4 - steps)
            await within(app.ended.wait())
            await settled(redis)
            assert len(wants.kinds) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
