"""`ratelimit/decorator.py`: whose calls are counted together, and what is refused where it is written."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, RateLimitMiddleware, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.middleware.routes import RouteGuards
from asgi_redis_guard.ratelimit.decorator import rate_limit
from tests.middleware.calls import Call, http, responding
from tests.redis.tools import PATIENCE


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on an empty store of each kind."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


def calling(**functions: Callable[[], Any]) -> ASGIApp:
    """An app that calls the function that the path names."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await functions[scope["path"][1:]]()
        await responding()(scope, receive, send)

    return app


async def statuses(app: ASGIApp, *paths: str) -> list[int]:
    """Send requests one after the other."""
    return [(await Call(app, http(path=f"/{path}")).run()).status for path in paths]


async def one() -> None:
    """A route function."""


async def other() -> None:
    """Another."""


async def test_each_function_counts_by_itself_and_those_of_one_name_together(redis: RedisManager) -> None:
    alone = calling(one=rate_limit("1/hour")(one), other=rate_limit("1/hour")(other))
    app = GuardMiddleware(alone, [RouteGuards()], redis=redis)
    assert await statuses(app, "one", "other", "one", "other") == [200, 200, 429, 429]
    named = rate_limit("1/hour", name="both")
    app = GuardMiddleware(calling(one=named(one), other=named(other)), [RouteGuards()], redis=redis)
    assert await statuses(app, "one", "other") == [200, 429]


@pytest.mark.parametrize("length", [1, 60, 200])
async def test_functions_whose_names_end_alike_count_by_themselves_however_long_and_strange_they_are(
    redis: RedisManager, length: int
) -> None:
    functions = {}
    for key, start in (("one", "ä"), ("other", "ö")):

        async def function() -> None:
            """A route function."""

        function.__qualname__ = start + "\x00" + "x" * length
        functions[key] = rate_limit("1/hour")(function)
    app = GuardMiddleware(calling(**functions), [RouteGuards()], redis=redis)
    assert await statuses(app, "one", "other", "one") == [200, 200, 429]


async def test_several_limits_of_one_function_are_decided_at_once_and_all_or_nothing(redis: RedisManager) -> None:
    both = rate_limit("1/hour", name="hour")(rate_limit("5/minute", "100/day")(one))
    app = GuardMiddleware(calling(one=both), [RouteGuards()], redis=redis)
    call = await Call(app, http(path="/one")).run()
    policies = dict(call.headers)[b"ratelimit-policy"].decode()
    assert policies.count(";q=") == 3
    assert await statuses(app, "one") == [429]


def test_what_is_wrong_with_a_limit_is_told_where_the_function_stands() -> None:
    for limits in ((), ("many/hour",)):
        with pytest.raises(ConfigurationError, match="limits"):
            rate_limit(*limits)(one)
    with pytest.raises(ConfigurationError, match="count under the same key"):
        rate_limit("1/hour")(rate_limit("2/hour")(one))
    with pytest.raises(ConfigurationError, match="limits"):
        RateLimitMiddleware(responding(), redis="memory://")


def test_the_decorator_may_be_used_for_several_functions_and_leaves_them_as_they_are() -> None:
    decorate = rate_limit("1/hour")
    wrapped = [decorate(function) for function in (one, other)]
    assert [function.__name__ for function in wrapped] == ["one", "other"]
    assert [inspect.unwrap(function) for function in wrapped] == [one, other]
