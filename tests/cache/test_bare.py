"""`@cached` and `@invalidates` above the framework's own decorator: nothing is kept, and that is told."""

import logging

import httpx
import pytest
from fastapi import FastAPI

from asgi_redis_guard import RedisManager, ResponseCacheMiddleware, cached, invalidates
from asgi_redis_guard.cache import bare
from asgi_redis_guard.core.warnings import Warnings


async def test_a_route_whose_decorators_are_in_the_wrong_order_is_warned_about_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bare, "_warnings", Warnings(logging.getLogger("asgi_redis_guard.cache")))
    app = FastAPI()

    @cached(60)
    @app.get("/above")
    async def above() -> str:
        return "above"

    @invalidates("items")
    @app.post("/write")
    async def write() -> str:
        return "written"

    @app.get("/beneath")
    @cached(60)
    async def beneath() -> str:
        return "beneath"

    @app.post("/right")
    @invalidates("items")
    async def right() -> str:
        return "written"

    async with RedisManager(redis_url) as redis:
        app.add_middleware(ResponseCacheMiddleware, redis=redis)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for _ in range(2):
                for method, path in (("GET", "/above"), ("POST", "/write"), ("GET", "/beneath"), ("POST", "/right")):
                    assert (await client.request(method, path)).status_code == 200
    told = [text for record in caplog.records if "[unguarded-route]" in (text := record.getMessage())]
    assert len(told) == 2
    assert "above has @cached or @invalidates" in told[0]
    assert "write has @cached or @invalidates" in told[1]
    assert all("beneath the framework's own" in text for text in told)
