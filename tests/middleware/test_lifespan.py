"""`middleware/lifespan.py`: the manager opens before the app's startup and closes after its shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from asgi_redis_guard import (
    ConfigurationError,
    GuardMiddleware,
    RateLimitMiddleware,
    RedisManager,
    RedisUnavailable,
)
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from tests.drive import http_scope
from tests.guards import asking, count, passing
from tests.middleware.calls import Call, responding
from tests.redis.tools import PATIENCE
from tests.servers import Server

LIFESPAN: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
STARTUP: Message = {"type": "lifespan.startup"}
SHUTDOWN: Message = {"type": "lifespan.shutdown"}


class NotingManager(RedisManager):
    """Notes when it is opened and closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.notes: list[str] = []

    async def connect(self) -> None:
        await super().connect()
        self.notes.append("connected")

    async def aclose(self) -> None:
        await super().aclose()
        self.notes.append("closed")


def living(redis: NotingManager, *, fails: str = "") -> Any:
    """An app with a lifespan of its own, which may fail when it starts or stops."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            redis.notes.append(kind)
            await send({"type": f"lifespan.{kind}.{'failed' if kind == fails else 'complete'}"})
            if kind in ("shutdown", fails):
                return

    return app


async def live(app: Any, *messages: Message) -> Call:
    """Run a lifespan to its end."""
    return await Call(app, dict(LIFESPAN), *(messages or (STARTUP, SHUTDOWN))).run()


async def test_it_connects_before_the_app_s_startup_and_closes_after_its_shutdown() -> None:
    redis = NotingManager("memory://")
    call = await live(GuardMiddleware(living(redis), [passing()], redis=redis))
    assert redis.notes == ["connected", "startup", "shutdown", "closed"]
    assert call.kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_it_is_closed_before_the_server_hears_that_the_shutdown_is_complete() -> None:
    redis = NotingManager("memory://")
    call = Call(GuardMiddleware(living(redis), [passing()], redis=redis), dict(LIFESPAN), STARTUP)

    async def send(message: Message) -> None:
        redis.notes.append(message["type"])

    call.send = send  # type: ignore[method-assign]
    call.feed(SHUTDOWN)
    await call.run()
    assert redis.notes[-2:] == ["closed", "lifespan.shutdown.complete"]


async def test_several_middlewares_on_one_manager_share_one_opening() -> None:
    redis = NotingManager("memory://")
    inner = GuardMiddleware(living(redis), [passing()], redis=redis)
    await live(GuardMiddleware(inner, [passing()], redis=redis, hooks=[print]))
    assert redis.notes.count("closed") == 1
    assert redis.notes[-2:] == ["shutdown", "closed"]


async def test_an_app_without_lifespan_is_left_to_say_so() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError(scope["type"])

    redis = NotingManager("memory://")
    with pytest.raises(NotImplementedError):
        await live(GuardMiddleware(app, [passing()], redis=redis))
    assert redis.notes == []


@pytest.mark.parametrize("fails", ["startup", "shutdown"])
async def test_a_failing_startup_or_shutdown_passes_through_and_closes_the_manager(fails: str) -> None:
    redis = NotingManager("memory://")
    call = await live(GuardMiddleware(living(redis, fails=fails), [passing()], redis=redis))
    assert call.kinds[-1] == f"lifespan.{fails}.failed"
    assert redis.notes[-1] == "closed"


async def test_an_app_that_raises_while_it_starts_closes_the_manager() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError

    redis = NotingManager("memory://")
    with pytest.raises(LookupError):
        await live(GuardMiddleware(app, [passing()], redis=redis))
    assert redis.notes == ["connected", "closed"]


async def test_a_server_that_stops_without_a_shutdown_closes_the_manager() -> None:
    redis = NotingManager("memory://")
    call = Call(GuardMiddleware(living(redis), [passing()], redis=redis), dict(LIFESPAN), STARTUP).start()
    await call.sees("lifespan.startup.complete")
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert redis.notes[-1] == "closed"


async def test_the_app_s_own_startup_may_use_redis(redis_url: str) -> None:
    redis = RedisManager(redis_url, timeout=PATIENCE)
    seen: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append(await redis.execute("PING"))
        yield
        seen.append(await redis.execute("PING"))

    app = Starlette(lifespan=lifespan)
    app.add_middleware(GuardMiddleware, [passing()], redis=redis)
    await live(app)
    assert seen == [b"PONG", b"PONG"]


async def test_without_a_lifespan_the_first_request_connects(redis_url: str) -> None:
    redis = RedisManager(redis_url, timeout=PATIENCE)
    stack = GuardMiddleware(responding(), [asking(count("a"))], redis=redis)
    assert (await Call(stack).run()).status == 200
    assert await redis.execute("GET", "a") == b"1"
    await redis.aclose()


async def test_an_app_starts_while_redis_is_down_and_answers_degraded(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    fresh_server.kill()
    redis = NotingManager(fresh_server.url)
    stack = GuardMiddleware(living(redis), [asking(count("a"))], redis=redis)
    call = Call(stack, dict(LIFESPAN), STARTUP).start()
    await call.sees("lifespan.startup.complete")
    assert (await Call(GuardMiddleware(responding(), [asking(count("a"))], redis=redis)).run()).status == 503
    call.feed(SHUTDOWN)
    await call.task
    assert [record.levelname for record in caplog.records if "is away" in record.message] == ["WARNING"]


class Patient:
    """An app whose server loop goes on whatever `receive` raises: some frameworks catch everything."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": repr(error)})


@pytest.mark.parametrize("catches", [False, True])
async def test_with_require_redis_the_server_is_told_that_the_startup_failed_and_why(
    fresh_server: Server, catches: bool
) -> None:
    """Servers take an exception alone for an app without lifespan, and would start."""
    fresh_server.kill()
    redis = NotingManager(fresh_server.url, require_redis=True)
    stack = GuardMiddleware(Patient() if catches else living(redis), [passing()], redis=redis)
    call = Call(stack, dict(LIFESPAN), STARTUP)
    if catches:
        await call.run()
    else:
        with pytest.raises(RedisUnavailable):
            await call.run()
    assert call.kinds == ["lifespan.startup.failed"]
    assert str(redis.address) in call.sent[0]["message"]
    assert "startup" not in redis.notes


async def test_a_fault_found_in_the_lifespan_call_is_logged_once_and_raised_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Starlette(middleware=[Middleware(RateLimitMiddleware, "1/minute", on_outage="never")])  # type: ignore[arg-type]
    for scope in (LIFESPAN, http_scope()):
        with pytest.raises(ConfigurationError, match="on_outage"):
            await Call(app, dict(scope), STARTUP).run()
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "'never' given; allowed are 'local', 'open', 'closed'" in told.getMessage()


def test_a_fault_found_outside_of_a_loop_is_raised_alone(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigurationError):
        RateLimitMiddleware(responding(), "nonsense")
    assert caplog.records == []
