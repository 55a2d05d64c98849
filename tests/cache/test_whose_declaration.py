"""What a function declares is for the response of its own route, whoever else calls it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from asgi_redis_guard import JWTAuthMiddleware, RedisManager, ResponseCacheMiddleware, cached
from tests.cache.people import token
from tests.jwt.tokens import SECRET
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisManager]:
    """A manager on a store that is empty."""
    async with RedisManager(redis_url, timeout=PATIENCE) as found:
        yield found


def keeping(app: FastAPI, redis: RedisManager) -> httpx.AsyncClient:
    """A client of an app that has a cache behind tokens."""
    app.add_middleware(ResponseCacheMiddleware, redis=redis)
    app.add_middleware(JWTAuthMiddleware, key=SECRET, algorithms=["HS256"], optional=True, redis=redis)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def twice(client: httpx.AsyncClient, redis: RedisManager) -> str:
    """Ask twice; return what the cache says the second time."""
    await client.get("/stats")
    await settled(redis)
    return (await client.get("/stats")).headers["cache-status"]


async def test_a_route_that_calls_a_cached_function_is_not_kept_by_that(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()

    @app.get("/stats")
    @cached(300, public=True)
    async def stats() -> str:
        return "of all"

    @app.get("/me")
    async def me(request: Request) -> list[str]:
        return [request.user.identity, await stats()]

    async with keeping(app, redis) as client:
        for name in ("alice", "bob"):
            response = await client.get("/me", headers=token(name))
            assert response.json() == [name, "of all"]
            await settled(redis)
        assert "hit" in await twice(client, redis)
    assert [record.getMessage() for record in caplog.records if "stats" in record.getMessage()]


async def test_an_app_that_asks_itself_keeps_what_it_was_asked_apart(redis: RedisManager) -> None:
    """The request inside is none of the cache's business, and what its route declares is for it alone."""
    app = FastAPI()

    @app.get("/stats")
    @cached(300, public=True)
    async def stats() -> str:
        return "of all"

    class Me:
        async def __call__(self, request: Request) -> list[str]:
            inside = await client.get("/stats", headers={"if-match": '"1"'})
            return [request.user.identity, inside.json()]

    app.get("/me")(Me())
    client = keeping(app, redis)
    async with client:
        for name in ("alice", "bob"):
            assert (await client.get("/me", headers=token(name))).json() == [name, "of all"]
            await settled(redis)


def _plain(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    async def around(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return around


@pytest.mark.parametrize("wrapped", [_plain, functools.partial, lambda function: function])
async def test_decorators_around_it_are_the_same_route(redis: RedisManager, wrapped: Callable[[Any], Any]) -> None:
    app = FastAPI()

    @cached(300)
    async def stats() -> str:
        return "of all"

    app.get("/stats")(wrapped(stats))
    async with keeping(app, redis) as client:
        assert "hit" in await twice(client, redis)
