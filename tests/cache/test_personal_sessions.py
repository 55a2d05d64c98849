"""What is made from a session is kept for nobody else: whoever keeps it, wherever it is read, whenever."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.middleware.sessions import SessionMiddleware as StarletteSessions
from starlette.requests import Request

from asgi_redis_guard import RedisManager, ResponseCacheMiddleware, SessionMiddleware, Sessions
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.cache.people import Browser, late
from tests.cache.shops import PROFILES, Shop, cache, declared, fresh, outcomes, page, shop_at
from tests.redis.tools import PATIENCE

BOTH = pytest.mark.parametrize("profile", PROFILES)


def starlette_sessions(app: ASGIApp) -> ASGIApp:
    return StarletteSessions(app, "a secret for tests", https_only=True)  # type: ignore[arg-type,return-value]


def cart(profile: str = "app", *, raw: bool = True) -> Any:
    """A page with what the session has, read as frameworks read it or as anybody can."""

    async def show(scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["session"] if raw else Request(scope).session
        await page(f"cart:{session.get('cart')}".encode(), *fresh(profile))(scope, receive, send)

    return show


async def put(scope: Scope, receive: Receive, send: Send) -> None:
    """A page that writes."""
    scope["session"]["cart"] = scope["query_string"].decode()
    await page()(scope, receive, send)


async def browsers(shop: Shop) -> dict[str, Browser]:
    """Two clients with something in their sessions, and one without."""
    shop.pages["/put"] = put
    found = {name: Browser(shop) for name in ("shoes", "books", "None")}
    for name, browser in found.items():
        if name != "None":
            await browser.get(f"/put?{name}")
    return found


async def each_has_his_own(shop: Shop, path: str, first: bytes = b"") -> None:
    people = await browsers(shop)
    for _ in range(2):
        for name, browser in people.items():
            if name != "None":
                assert await browser.get(path) == first + f"cart:{name}".encode()
    assert not any(b"shoes" in value or b"books" in value for value in await shop.stored())
    assert await people["None"].get(path) == first + b"cart:None"


@BOTH
@pytest.mark.parametrize("raw", [True, False])
async def test_a_session_in_front_that_was_read(backend: str, profile: str, raw: bool) -> None:
    async with shop_at(backend, Sessions(), cache(profile)) as shop:
        shop.pages["/cart"] = cart(profile, raw=raw)
        await each_has_his_own(shop, "/cart")


async def test_a_session_in_front_that_was_read_while_the_body_was_sent(backend: str) -> None:
    async with shop_at(backend, Sessions(), cache()) as shop:
        shop.pages["/cart"] = late(cart())
        await each_has_his_own(shop, "/cart", b"first ")


async def test_a_lazy_session_that_was_loaded(backend: str) -> None:
    async with shop_at(backend, Sessions(lazy=True), cache()) as shop:

        def loading(then: Any) -> Any:
            async def answer(scope: Scope, receive: Receive, send: Send) -> None:
                await scope["session"].load()
                await then(scope, receive, send)

            return answer

        shop.pages["/put"] = loading(put)
        shop.pages["/early"] = loading(cart())
        shop.pages["/late"] = late(loading(cart()))
        people = {name: Browser(shop) for name in ("shoes", "books")}
        for name, browser in people.items():
            await browser.get(f"/put?{name}")
        for path in ("/early", "/late"):
            for name, browser in people.items():
                assert (await browser.get(path)).removeprefix(b"first ") == f"cart:{name}".encode()
        assert await shop.stored() == []


async def test_a_lazy_session_that_nobody_looked_into_keeps_nothing_from_being_kept(redis_url: str) -> None:
    async with shop_at(redis_url, Sessions(lazy=True), cache()) as shop:

        async def login(scope: Scope, receive: Receive, send: Send) -> None:
            await scope["session"].load()
            await put(scope, receive, send)

        shop.pages["/login"], shop.pages["/prices"] = login, page(b"prices")
        one, other = Browser(shop), Browser(shop)
        for browser in (one, other):
            await browser.get("/login?shoes")
            assert await browser.get("/prices") == b"prices"
        assert shop.made.count("/prices") == 1


@BOTH
@pytest.mark.parametrize("raw", [True, False])
async def test_starlette_s_sessions_inside(redis_url: str, profile: str, raw: bool) -> None:
    async with shop_at(redis_url, cache(profile), wrap=starlette_sessions) as shop:
        shop.pages["/cart"] = cart(profile, raw=raw)
        await each_has_his_own(shop, "/cart")
        shop.pages["/late"] = late(cart(profile, raw=raw))
        await each_has_his_own(shop, "/late", b"first ")


@BOTH
@pytest.mark.parametrize("raw", [True, False])
async def test_starlette_s_sessions_outside(redis_url: str, profile: str, raw: bool) -> None:
    """Their Set-Cookie is added when the cache has seen the response already."""
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.stack = starlette_sessions(shop.stack)
        shop.pages["/cart"] = cart(profile, raw=raw)
        await each_has_his_own(shop, "/cart")
        shop.pages["/late"] = late(cart(profile, raw=raw))
        await each_has_his_own(shop, "/late", b"first ")


@pytest.mark.parametrize("inside", [True, False])
async def test_our_sessions_as_a_middleware_of_their_own(redis_url: str, inside: bool) -> None:
    """With handles of their own they are two stacks."""
    async with RedisManager(redis_url, timeout=PATIENCE) as one, RedisManager(redis_url, timeout=PATIENCE) as other:
        sessions: Callable[[ASGIApp], ASGIApp] = lambda app: SessionMiddleware(app, redis=other)  # noqa: E731
        shop = Shop(one)
        app: ASGIApp = sessions(shop.app) if inside else shop.app
        app = ResponseCacheMiddleware(app, redis=one, ttl=60)
        shop.stack = app if inside else sessions(app)
        shop.pages["/cart"] = cart()
        await each_has_his_own(shop, "/cart")
        shop.pages["/late"] = late(cart())
        await each_has_his_own(shop, "/late", b"first ")


@pytest.mark.parametrize("sessions", ["ours", "starlette's"])
async def test_a_session_that_was_begun_by_the_response_is_begun_for_one(redis_url: str, sessions: str) -> None:
    guards = [Sessions()] if sessions == "ours" else []
    wrap = None if sessions == "ours" else starlette_sessions
    async with shop_at(redis_url, *guards, cache(), wrap=wrap) as shop:
        shop.pages["*"] = put
        cookies = [(await shop.get("/visit?1", scheme="https")).all("set-cookie") for _ in range(2)]
        assert len(cookies[0]) == len(cookies[1]) == 1
        assert len(shop.made) == 2
        assert await shop.stored() == []


async def test_a_session_that_is_there_and_not_asked_for_takes_hits(redis_url: str) -> None:
    async with shop_at(redis_url, Sessions(), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(page(b"prices"), public=True)
        people = await browsers(shop)
        responses = [await shop.get("/prices", [("cookie", "a=b")]) for _ in people]
        assert outcomes(responses) == ["fwd=uri-miss", "hit", "hit"]


async def test_a_response_that_varies_by_cookie_is_kept_for_clients_without_and_where_that_was_declared(
    redis_url: str,
) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        varying = page(b"ok", (b"vary", b"Cookie"))
        shop.pages["/said"], shop.pages["/declared"] = declared(varying), declared(varying, vary=["Cookie"])
        for path, expected in (("/said", ["fwd=vary-miss"] * 2), ("/declared", ["fwd=vary-miss", "hit"])):
            assert outcomes([await shop.get(path) for _ in range(2)]) == ["fwd=uri-miss", "hit"]
            responses = [await shop.get(path, {"cookie": "theme=dark"}) for _ in range(2)]
            assert outcomes(responses) == expected
