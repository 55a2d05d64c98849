"""One small app in each framework, with guards added one by one in the framework's own way.

Law: the apps know nothing of tests; each says who is asking, on `/me`, and that it is well, on `/health`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from litestar import Litestar
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from litestar.middleware import DefineMiddleware
from quart import Quart, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_redis_guard import JWTAuth, JWTAuthMiddleware, RateLimit, RateLimitMiddleware, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp

KEY = "a secret of at least 32 bytes, for tests alone"
EXEMPT = ("/health",)


class Policies:
    """JWT with its blacklist, and two limits by user; made once, as an app makes them."""

    def __init__(self, redis: RedisManager) -> None:
        self.redis = redis
        self.jwt = JWTAuth(KEY, exempt=EXEMPT)
        self.limits = RateLimit("100/hour", "1000/day", key="user", exempt=EXEMPT)


def starlette(policies: Policies) -> ASGIApp:
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"user": request.user.identity})

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"authenticated": request.user.is_authenticated})

    app = Starlette(routes=[Route("/me", me), Route("/health", health)])
    app.add_middleware(RateLimitMiddleware, guard=policies.limits, redis=policies.redis)
    app.add_middleware(JWTAuthMiddleware, guard=policies.jwt, redis=policies.redis)
    return app


def fastapi(policies: Policies) -> ASGIApp:
    app = FastAPI()
    app.add_middleware(RateLimitMiddleware, guard=policies.limits, redis=policies.redis)
    app.add_middleware(JWTAuthMiddleware, guard=policies.jwt, redis=policies.redis)

    @app.get("/me")
    async def me(request: FastAPIRequest) -> dict[str, str]:
        return {"user": request.user.identity}

    @app.get("/health")
    async def health(request: FastAPIRequest) -> dict[str, bool]:
        return {"authenticated": request.user.is_authenticated}

    return app


def quart(policies: Policies) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/me")
    async def me() -> dict[str, str]:
        return {"user": request.scope["user"].identity}  # type: ignore[typeddict-item]

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"authenticated": request.scope["user"].is_authenticated}  # type: ignore[typeddict-item]

    app.asgi_app = RateLimitMiddleware(app.asgi_app, guard=policies.limits, redis=policies.redis)  # type: ignore[arg-type, method-assign]
    app.asgi_app = JWTAuthMiddleware(app.asgi_app, guard=policies.jwt, redis=policies.redis)  # type: ignore[arg-type, method-assign]
    return app


@litestar_get("/me")
async def litestar_me(request: LitestarRequest[Any, Any, Any]) -> dict[str, str]:
    """Say who is asking."""
    return {"user": request.user.identity}


@litestar_get("/health")
async def litestar_health(request: LitestarRequest[Any, Any, Any]) -> dict[str, bool]:
    """Say that it is well."""
    return {"authenticated": request.user.is_authenticated}


def litestar_around(policies: Policies) -> ASGIApp:
    """The guards stand around the app."""
    app: Any = Litestar([litestar_me, litestar_health], logging_config=None)
    app = RateLimitMiddleware(app, guard=policies.limits, redis=policies.redis)
    return JWTAuthMiddleware(app, guard=policies.jwt, redis=policies.redis)


def litestar_inside(policies: Policies) -> ASGIApp:
    """The guards stand around each of its routes."""
    return Litestar(
        [litestar_me, litestar_health],
        middleware=[
            DefineMiddleware(JWTAuthMiddleware, guard=policies.jwt, redis=policies.redis),  # type: ignore[arg-type]
            DefineMiddleware(RateLimitMiddleware, guard=policies.limits, redis=policies.redis),  # type: ignore[arg-type]
        ],
        lifespan=[policies.redis.lifespan],
        logging_config=None,
    )


APPS: dict[str, Callable[[Policies], ASGIApp]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "quart": quart,
    "litestar, around the app": litestar_around,
    "litestar, around each route": litestar_inside,
}


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start the app as a server does, and stop it."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    to_app.put_nowait({"type": "lifespan.startup"})
    assert await from_app.get() == {"type": "lifespan.startup.complete"}
    yield
    to_app.put_nowait({"type": "lifespan.shutdown"})
    assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
    await task
