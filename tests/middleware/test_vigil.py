"""`Control.suspect` and `Control.at`: what is watched for an exchange, and nothing of it afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware
from asgi_redis_guard.core.responder import Close, Control
from asgi_redis_guard.core.steps import Ask, Asking
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.middleware import vigil as module
from asgi_redis_guard.testing import ManualClock
from tests.guards import Ends, count, passing
from tests.middleware.calls import GONE, Call, TestRedis, websocket
from tests.redis.tools import eventually, within

NOW = 1_700_000_000.0
LEAVES = {"type": "websocket.disconnect", "code": 1005}


class Watches(Ends):
    """Is suspected under two keys; each look is one more in Redis."""

    control: Control
    again: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.looks: asyncio.Queue[Any] = asyncio.Queue()
        self.came = asyncio.Event()

    def bind(self, control: Control) -> None:
        self.control = control
        self.again = control.suspect("t", [b"a", b"b"], self.look)

    def look(self, told: bool) -> Asking:
        (reply,) = yield Ask([count("looks")])
        self.looks.put_nowait((told, reply.values[0]))


class Listens:
    """An app that waits until its client leaves; a socket is accepted first."""

    def __init__(self) -> None:
        self.running = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        self.running.set()
        while not (await receive())["type"].endswith("disconnect"):
            pass


async def begin(redis: TestRedis, watches: Watches, scope: Any = None, **options: Any) -> Call:
    """Start an exchange and wait until its app runs."""
    app = Listens()
    call = Call(GuardMiddleware(app, [passing(watches)], redis=redis, **options), scope).start()
    await within(app.running.wait())
    return call


async def leave(call: Call) -> None:
    call.feed(LEAVES if call.scope["type"] == "websocket" else GONE)
    await within(call.task)


@pytest.mark.parametrize("scope", [None, websocket()], ids=["http", "websocket"])
async def test_a_suspect_looks_at_first_when_named_and_when_asked_as_long_as_the_exchange_lasts(
    redis: TestRedis, scope: Any
) -> None:
    watches = Watches()
    call = await begin(redis, watches, scope)
    assert await within(watches.looks.get()) == (False, 1)
    await redis.pubsub.feed.tell("t", [b"a"])
    assert await within(watches.looks.get()) == (True, 2)
    await redis.pubsub.feed.tell("t", [b"x", b"b"])
    assert await within(watches.looks.get()) == (True, 3)
    watches.again()
    assert await within(watches.looks.get()) == (False, 4)
    await leave(call)
    assert repr(redis.pubsub.feed) == "<Feed of t, 0 keys watched>"
    watches.again()
    watches.control.suspect("t", [b"c"], watches.look)
    assert repr(redis.pubsub.feed) == "<Feed of t, 0 keys watched>"


async def test_what_a_look_lets_through_has_it_repeated(redis: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asgi_redis_guard.pubsub.suspects._AGAIN", 0.001)
    watches = Watches()
    call = await begin(redis, watches)
    assert await within(watches.looks.get()) == (False, 1)
    redis.away = RedisUnavailable()
    await redis.pubsub.feed.tell("t", [b"a"])
    await eventually(lambda: redis.pubsub.feed.suspects("t")._later)
    redis.away = None
    assert await within(watches.looks.get()) == (True, 2)
    await leave(call)


async def test_a_call_comes_at_its_time_and_once(redis: TestRedis) -> None:
    watches, clock = Watches(), ManualClock(NOW)
    call = await begin(redis, watches, clock=clock)
    times: list[float] = []
    watches.control.at(NOW + 0.02, lambda: times.append(clock()))
    watches.control.at(NOW - 5, watches.came.set)
    await within(watches.came.wait())
    assert times == []
    clock.advance(1)
    await eventually(lambda: times)
    assert times == [NOW + 1]
    assert not watches.control.vigil._timers  # type: ignore[attr-defined]
    await leave(call)


async def test_a_clock_that_was_set_is_noticed(redis: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.01)
    watches, clock = Watches(), ManualClock(NOW)
    call = await begin(redis, watches, clock=clock)
    watches.control.at(NOW + 3600, watches.came.set)
    clock.advance(3600)
    await within(watches.came.wait())
    await leave(call)


@pytest.mark.parametrize("far", [60.0, 1e300, float("inf")])
async def test_no_timer_outlives_the_exchange(redis: TestRedis, far: float) -> None:
    watches = Watches()
    call = await begin(redis, watches)
    watches.control.at(NOW * 2 + far, watches.came.set)
    (timer,) = watches.control.vigil._timers  # type: ignore[attr-defined]
    await leave(call)
    assert timer.cancelled()
    watches.control.at(0, watches.came.set)
    assert not watches.control.vigil._timers  # type: ignore[attr-defined]


async def test_a_socket_that_was_closed_watches_nothing_though_its_app_goes_on(redis: TestRedis) -> None:
    watches = Watches()
    call = await begin(redis, watches, websocket())
    watches.control.at(NOW * 2, watches.came.set)
    watches.control.close(Close(4401, "over"))
    await within(call.sees("websocket.close"))
    await eventually(lambda: repr(redis.pubsub.feed) == "<Feed of t, 0 keys watched>")
    assert not watches.control.vigil._timers  # type: ignore[attr-defined]
    assert not call.task.done()
    await leave(call)
