"""The routes of a token service in apps of other frameworks, below a path, and behind guards."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from tests.drive import get
from tests.jwt.routes.visits import bearer, post, post_json
from tests.jwt.services import service


def fastapi(routes: TokenRoutes) -> ASGIApp:
    app = FastAPI()
    app.mount("/auth", routes)
    return app


def litestar(routes: TokenRoutes) -> ASGIApp:
    return Litestar([asgi("/auth", is_mount=True, copy_scope=True)(routes)])


def starlette(routes: TokenRoutes) -> ASGIApp:
    return Starlette(routes=[Mount("/auth", routes)])


def twice(routes: TokenRoutes) -> ASGIApp:
    """Below a path of a path, as versions of an API are."""
    inner = Starlette(routes=[Mount("/auth", routes)])
    outer = Starlette(routes=[Mount("/v1", inner)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await outer({**scope, "path": f"/v1{scope['path']}"}, receive, send)

    return app


def stripped(routes: TokenRoutes) -> ASGIApp:
    """As a dispatcher does that tells the rest of the path alone, and what it has taken off."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        root, path = scope["path"][:5], scope["path"][5:]
        await routes({**scope, "root_path": root if root == "/auth" else "", "path": path}, receive, send)

    return app


@pytest.mark.parametrize("mounted", [fastapi, litestar, starlette, twice, stripped])
async def test_the_routes_are_found_below_where_they_are_mounted(
    redis: RedisManager, mounted: Callable[[TokenRoutes], ASGIApp]
) -> None:
    tokens = service(redis)
    app, pair = mounted(TokenRoutes(tokens)), await tokens.issue("alice")
    answer = await post(app, "/auth/token", grant_type="refresh_token", refresh_token=pair.refresh_token)
    assert answer.status == 200
    assert (await get(app, "/auth/jwks.json")).status == 200
    assert (await get(app, "/auth/.well-known/jwks.json", method="HEAD")).status == 200
    assert (await post_json(app, "/auth/logout", {"everywhere": True}, bearer(pair.access_token))).status == 204
    assert (await get(app, "/auth/other")).status == 404
    assert (await get(app, "/jwks.json")).status == 404


async def test_guards_in_front_see_and_limit_them(redis: RedisManager) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens, cookie=CookieTransport())
    app = GuardMiddleware(routes, [RateLimit("2/hour"), tokens.guard(exempt=["/token", "/refresh"])], redis=redis)
    assert [(await post(app, "/token", token="x")).status for _ in range(3)] == [400, 400, 429]
