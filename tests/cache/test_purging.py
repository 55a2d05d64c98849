"""What takes a stored response away, and what does not: nobody purges what he could not change."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_redis_guard import RedisManager, ResponseCacheMiddleware
from tests.cache.shops import cache, fresh, outcomes, page, shop_at
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE


@pytest.mark.parametrize("path", ["/items", "/pages/"])
async def test_a_write_that_is_sent_elsewhere_has_changed_nothing_there(redis_url: str, path: str) -> None:
    """Routers send a path on that has a slash too many or too few, whatever the method."""

    async def items(request: Request) -> PlainTextResponse:
        return PlainTextResponse("items")

    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        app = Starlette(routes=[Route("/items", items), Route("/pages/", items)])
        stack = ResponseCacheMiddleware(app, redis=redis, ttl=60)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(stack), base_url="http://test") as client:
            for _ in range(2):
                await client.get(path)
                await settled(redis)
            other = path + "/" if path == "/items" else path.rstrip("/")
            assert (await client.post(other)).status_code == 307
            await settled(redis)
            assert "; hit" in (await client.get(path)).headers["cache-status"]


@pytest.mark.parametrize("status", [201, 302, 303])
async def test_what_a_write_says_it_has_changed_is_made_anew(redis_url: str, status: int) -> None:
    async with shop_at(redis_url, cache()) as shop:
        shop.pages["/items"] = page()
        shop.pages["/new"] = page(b"", (b"location", b"/items"), status=status)
        await shop.get("/items")
        await shop.get("/new", method="POST")
        assert outcomes([await shop.get("/items")]) == ["fwd=uri-miss"]


async def test_a_head_of_somebody_s_answer_says_nothing_of_that_of_all(redis_url: str) -> None:
    async with shop_at(redis_url, cache("http")) as shop:
        shop.pages["*"] = page(b"ok", *fresh("http"), (b"etag", b'"1"'))
        await shop.get()
        shop.pages["*"] = page(b"ok", *fresh("http"), (b"etag", b'"2"'))
        asked = {"cache-control": "no-cache", "authorization": "Bearer made-up"}
        assert (await shop.get("/", asked, method="HEAD"))["etag"] == '"2"'
        assert outcomes([await shop.get()]) == ["hit"]
        await shop.get("/", {"cache-control": "no-cache"}, method="HEAD")
        assert outcomes([await shop.get()]) == ["fwd=uri-miss"]


async def test_somebody_s_request_leaves_what_all_can_validate(redis_url: str) -> None:
    async with shop_at(redis_url, cache("http")) as shop:
        shop.pages["*"] = page(b"ok", (b"cache-control", b"no-cache"), (b"etag", b'"1"'))
        await shop.get()
        await shop.get("/", {"authorization": "Bearer made-up"})
        shop.pages["*"] = page(b"", (b"etag", b'"1"'), status=304)
        assert (await shop.get()).body == b"ok"


@pytest.mark.parametrize("profile", ["app", "http"])
async def test_a_cookie_for_one_client_takes_no_stale_answer_from_the_others(redis_url: str, profile: str) -> None:
    """Sessions further in set one for whoever sends them one."""
    async with shop_at(redis_url, cache(profile, **({"ttl": 0.001, "swr": 60.0} if profile == "app" else {}))) as shop:
        stale = [(b"cache-control", b"max-age=0, stale-while-revalidate=60")] if profile == "http" else []
        shop.pages["*"] = page(b"ok", *stale)
        await shop.get()
        shop.pages["*"] = page(b"ok", (b"set-cookie", b"a=b"), *stale)
        async with asyncio.timeout(PATIENCE):
            while "detail=stale" not in (await shop.get())["cache-status"]:
                pass
        for _ in range(3):
            assert "detail=stale" in (await shop.get())["cache-status"]
