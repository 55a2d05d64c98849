"""Attacks of clients: nobody gets another's answer, spoils one for others, or makes the cache cost more than none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.exchange import Exchange
from tests.cache.people import jwt, name_of, token
from tests.cache.sites import PROFILES, Page, cache, declared, echo, fresh, header, outcomes, page, site
from tests.drive import call, http_scope
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE

BOTH = pytest.mark.parametrize("profile", PROFILES)


# A request with a body.


async def body_of(receive: Receive) -> bytes:
    message = await receive()
    found: bytes = message.get("body", b"")
    return found


async def searching(scope: Scope, receive: Receive, send: Send) -> None:
    """A page that looks into the body of a GET, as search endpoints do."""
    await page(b"found " + await body_of(receive), *fresh("http"))(scope, receive, send)


@BOTH
@pytest.mark.parametrize(
    "framing", [{"content-length": "4"}, {"transfer-encoding": "chunked"}, {}], ids=["length", "chunked", "http2"]
)
async def test_a_get_with_a_body_is_nobody_else_s_answer(
    redis_url: str, profile: str, framing: dict[str, str]
) -> None:
    async with site(redis_url, cache(profile)) as shop:
        shop.pages["*"] = searching
        fields = [(b"host", b"test"), *((name.encode(), value.encode()) for name, value in framing.items())]

        async def evil() -> bytes:
            response = await call(shop.stack, http_scope("/", fields), b"evil")
            await settled(shop.redis)
            return response.body

        assert await evil() == b"found evil"
        for _ in range(3):
            assert (await shop.get()).body == b"found "
        if framing:
            assert await evil() == b"found evil"
            assert (await shop.get()).body == b"found "


# Memory and time.


async def test_what_a_client_makes_long_is_not_remembered(redis_url: str) -> None:
    guard = cache(remembered=1 << 20, ignore_query=["utm_*"])
    async with site(redis_url, guard) as shop:
        shop.pages["*"] = page(b"small", (b"etag", b'"1"'))
        await shop.get()
        long = "x" * 60_000
        for number in range(30):
            for path, fields in [(f"/?utm_x={number}{long}", {}), ("/", {"if-none-match": f'"{number}{long}"'})]:
                assert outcomes([await shop.get(path, fields)]) == ["hit"]
        assert _size_of(guard.hots._found) < 1 << 20


async def test_what_is_remembered_is_counted_with_its_fields(redis_url: str) -> None:
    guard = cache(remembered=1 << 20)
    async with site(redis_url, guard) as shop:
        shop.pages["*"] = page(b"small", *((b"x-%d" % number, b"x" * 6000) for number in range(10)))
        for path in range(40):
            for _ in range(2):
                await shop.get(f"/{path}")
        assert _size_of(guard.hots._found) < 1 << 20


def _size_of(found: dict[Any, Any]) -> int:
    """Bytes of what is in the keys and in the fields of what is remembered."""
    size = 0
    for key, hot in found.items():
        size += len(repr(key)) + sum(len(name) + len(value) for name, value in getattr(hot, "entry").headers)
    return size
