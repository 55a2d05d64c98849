"""Attacks of clients: nobody gets another's answer, spoils one for others, or makes the cache cost more than none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.errors import ConfigurationError
from tests.cache.shops import PROFILES, cache, declared, echo, fresh, header, outcomes, page, shop_at
from tests.drive import call, http_scope
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE, eventually

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
async def test_a_get_with_a_body_is_nobody_else_s_answer(redis_url: str, profile: str, framing: dict[str, str]) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
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
    async with shop_at(redis_url, guard) as shop:
        shop.pages["*"] = page(b"small", (b"etag", b'"1"'))
        await shop.get()
        long = "x" * 60_000
        for number in range(30):
            for path, fields in [(f"/?utm_x={number}{long[:6000]}", {}), ("/", {"if-none-match": f'"{number}{long}"'})]:
                assert outcomes([await shop.get(path, fields)]) == ["hit"]
        assert _size_of(guard.hots._found) < 1 << 20


async def test_what_is_remembered_is_counted_with_its_fields(redis_url: str) -> None:
    guard = cache(remembered=1 << 20)
    async with shop_at(redis_url, guard) as shop:
        shop.pages["*"] = page(b"small", *((b"x-%d" % number, b"x" * 6000) for number in range(10)))
        for path in range(40):
            for _ in range(2):
                await shop.get(f"/{path}")
        assert _size_of(guard.hots._found) < 1 << 20


def _size_of(found: dict[Any, Any]) -> int:
    """Bytes of what is in the keys and in the fields of what is remembered."""
    size = 0
    for key, hot in found.items():
        size += len(repr(key)) + sum(len(name) + len(value) for name, value in hot.entry.headers)
    return size


# What one client makes of a route for all.


@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
async def test_an_answer_that_comes_from_elsewhere_does_not_switch_a_route_s_cache_off(
    redis_url: str, first: bool
) -> None:
    """A page for those who are not let in, say, that some middleware inside answers with 200."""
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        right = declared(page(b"right"))

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            wrong = scope["query_string"] == b"wrong"
            await (page(b"who are you?") if wrong else right)(scope, receive, send)

        shop.pages["*"] = answer
        if first:
            await shop.get("/?wrong")
            assert (await shop.get()).body == b"right"
        await shop.get()
        await shop.get("/?wrong")
        assert outcomes([await shop.get()]) == ["hit"]
        assert len(shop.made) == (4 if first else 2)


async def test_a_route_that_declares_nothing_is_not_asked_about(redis_url: str) -> None:
    guard = cache(ttl=None)
    async with shop_at(redis_url, guard) as shop:
        shop.pages["*"] = page()
        assert "cache-status" in dict(await _fields_of(shop))
        assert "cache-status" not in dict(await _fields_of(shop))


async def _fields_of(shop: Any) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in (await shop.get()).headers]


# A part of the key that the app makes.


def _tenant(exchange: Exchange) -> bytes | None:
    return exchange.header(b"x-tenant")


def _same(exchange: Exchange) -> bytes:
    return b"same"


async def test_two_functions_on_one_path_keep_to_their_own_keys(redis_url: str) -> None:
    """An app that routes by host, say, or by a method that a field puts in the place of the request's."""
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        tenants = declared(echo(lambda scope: header(scope, b"x-tenant")), key=_tenant)
        others = declared(page(b"other"), key=_same)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            is_other = header(scope, b"host") == "other"
            await (others if is_other else tenants)(scope, receive, send)

        shop.pages["*"] = answer
        for tenant in ("one", "two", "one"):
            for _ in range(2):
                assert (await shop.get("/", {"host": "other"})).body == b"other"
                assert (await shop.get("/", {"x-tenant": tenant})).body == tenant.encode()


async def test_a_route_whose_key_has_changed_in_between_keeps_nothing_under_the_old_one(redis_url: str) -> None:
    """The same URL, but the function that answers is chosen by something that no key says."""
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        tenants = declared(echo(lambda scope: header(scope, b"x-tenant")), key=_tenant)
        others = declared(page(b"other"), key=_same)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await (others if header(scope, b"x-other") == "1" else tenants)(scope, receive, send)

        shop.pages["*"] = answer
        await shop.get("/", {"x-other": "1", "x-tenant": "a"})
        await shop.get("/", method="POST")
        assert (await shop.get("/", {"x-tenant": "one"})).body == b"one"
        await shop.get("/", {"x-other": "1", "x-tenant": "b"})
        assert (await shop.get("/", {"x-tenant": "two"})).body in (b"two", b"other")


@pytest.mark.parametrize("wrong", ["raises", "number"])
async def test_a_key_that_cannot_be_made_keeps_nothing_and_is_told_once(
    redis_url: str, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(exchange: Exchange) -> bytes:
        if exchange.header(b"x-tenant") == b"one":
            raise KeyError("a secret")
        return b"fine"

    def number(exchange: Exchange) -> Any:
        return 1

    keys: dict[str, Callable[[Exchange], Any]] = {"raises": raising, "number": number}
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        shop.pages["*"] = declared(echo(lambda scope: header(scope, b"x-tenant")), key=keys[wrong])
        for _ in range(3):
            response = await shop.get("/", {"x-tenant": "one"})
            assert (response.status, response.body) == (200, b"one")
        assert len(shop.made) == 3
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert "key" in told[0]
        assert "a secret" not in caplog.text


def test_a_key_that_has_to_be_awaited_is_refused_where_it_is_declared() -> None:
    async def later(exchange: Exchange) -> bytes:
        return b"one"

    with pytest.raises(ConfigurationError, match="a plain function"):
        declared(page(), key=later)


# Requests of which it can be seen that their answers are for nobody else.

SOMEBODY = {"authorization": "Bearer made-up"}


@BOTH
async def test_somebody_s_request_takes_no_stale_answer_from_the_others(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile, **({"ttl": 0.001, "swr": 60.0} if profile == "app" else {}))) as shop:
        stale = [(b"cache-control", b"max-age=0, stale-while-revalidate=60")] if profile == "http" else []
        shop.pages["*"] = page(b"ok", *stale)
        await shop.get()
        async with asyncio.timeout(PATIENCE):
            while "detail=stale" not in (await shop.get("/", SOMEBODY))["cache-status"]:
                pass
        for headers in (SOMEBODY, SOMEBODY, {}):
            assert "detail=stale" in (await shop.get("/", headers))["cache-status"]


@BOTH
async def test_nobody_waits_for_an_answer_that_is_somebody_s(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        gate, runs = asyncio.Event(), []

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            runs.append(scope)
            await gate.wait()
            await page(b"ok", *fresh(profile))(scope, receive, send)

        shop.pages["*"] = slow
        gate.set()
        await shop.get("/", SOMEBODY)  # of a route that was never seen nobody can know
        await shop.get()
        await shop.get(method="POST")
        gate.clear()
        runs.clear()
        somebody = asyncio.ensure_future(shop.get("/", SOMEBODY))
        await eventually(lambda: runs)
        others = [asyncio.ensure_future(shop.get()) for _ in range(5)]
        await eventually(lambda: len(runs) == 2)
        gate.set()
        await asyncio.gather(somebody, *others)
        assert len(runs) == 2
        assert outcomes([await shop.get("/", SOMEBODY)]) == ["hit"]
