"""The routes of a token service while Redis is away: a 503, nobody logged out, nothing let in."""

import asyncio
import logging
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from asgi_redis_guard.testing import FaultProxy
from tests.drive import Response, get
from tests.jwt.routes.site import EVERYTHING, REFRESH, Site, shown
from tests.jwt.routes.visits import basic, bearer, post, refresh
from tests.jwt.services import service
from tests.redis.tools import PATIENCE, until_back, within

API = {"api": "the secret of the api: 16"}


def is_away(response: Response) -> bool:
    """Tell whether it says to come back, in the form that this has."""
    assert (response.status, response["content-type"]) == (503, "application/problem+json")
    assert int(response["retry-after"]) >= 1
    assert response["cache-control"] == "no-store"
    return response.all("set-cookie") == []


async def test_every_route_says_to_come_back_and_then_all_is_as_before(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RedisManager(proxy.url, timeout=0.2) as manager:
        tokens = service(manager)
        routes = TokenRoutes(tokens, introspection=API, clients={"shop": None})
        pair = await tokens.issue("alice", scopes="read")
        proxy.refuse()
        proxy.reset_all()
        asked = [
            refresh(routes, pair.refresh_token),
            refresh(routes, pair.refresh_token, scope="read"),
            post(routes, "/refresh", refresh_token=pair.refresh_token),
            post(routes, "/revoke", token=pair.refresh_token),
            post(routes, "/revoke", token=pair.access_token),
            post(routes, "/introspect", basic("api", API["api"]), token=pair.access_token),
            post(
                routes,
                "/introspect",
                basic("api", API["api"]),
                token=pair.refresh_token,
                token_type_hint="refresh_token",
            ),
            post(routes, "/logout", refresh_token=pair.refresh_token),
            post(routes, "/logout", refresh_token=pair.refresh_token, everywhere="true"),
            post(routes, "/logout", bearer(pair.access_token)),
            post(routes, "/logout", bearer(pair.access_token), everywhere="true"),
        ]
        assert all([is_away(await within(one)) for one in asked])
        assert (await get(routes, "/jwks.json")).status == 200
        assert (await refresh(routes, "garbage")).status == 400
        assert (await post(routes, "/revoke", token="garbage")).status == 200
        proxy.heal()
        await until_back(manager)
        assert (await refresh(routes, pair.refresh_token)).status == 200
        assert (await tokens.verify(pair.access_token)).user == "alice"
    for token in (pair.refresh_token, pair.access_token):
        assert token not in caplog.text


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
async def test_a_browser_keeps_its_cookies_and_goes_on_with_them(proxy: FaultProxy, path: str) -> None:
    async with RedisManager(proxy.url, timeout=0.2) as manager:
        browser = await Site(manager, EVERYTHING).browser()
        cookies = browser.cookies.copy()
        proxy.refuse()
        proxy.reset_all()
        assert is_away(await within(browser.post(path, headers=shown(browser))))
        assert browser.cookies == cookies
        proxy.heal()
        await until_back(manager)
        assert (await browser.post(path, headers=shown(browser))).status in (200, 204)


async def test_a_refresh_whose_reply_was_lost_is_asked_for_again_with_the_same_cookie(
    proxy: FaultProxy, redis_url: str
) -> None:
    async with RedisManager(proxy.url, timeout=0.2) as manager, RedisManager(redis_url, timeout=PATIENCE) as other:
        site, elsewhere = Site(manager, {}), Site(other, {})
        browser = await site.browser()
        await site.tokens.refresh((await site.tokens.issue("bob")).refresh_token)  # loads the scripts
        proxy.drop_replies()
        assert is_away(await within(browser.post("/refresh")))
        before, browser.app = browser.cookies[REFRESH], elsewhere.app
        assert (await browser.post("/refresh")).status == 200
        assert browser.cookies[REFRESH] != before


async def test_as_an_app_by_itself_it_connects_and_closes_with_the_server(redis_url: str) -> None:
    manager = RedisManager(redis_url, timeout=PATIENCE)
    routes = TokenRoutes(service(manager), cookie=CookieTransport())
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(routes({"type": "lifespan"}, to_app.get, from_app.put))
    to_app.put_nowait({"type": "lifespan.startup"})
    assert await within(from_app.get()) == {"type": "lifespan.startup.complete"}
    pair = await routes.tokens.issue("alice")
    assert (await refresh(routes, pair.refresh_token)).status == 200
    to_app.put_nowait({"type": "lifespan.shutdown"})
    assert await within(from_app.get()) == {"type": "lifespan.shutdown.complete"}
    await within(running)
