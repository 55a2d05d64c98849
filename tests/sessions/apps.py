"""One small app in each framework: `/read` tells its session, `/write` adds to a list in it, `/clear` ends it.

Law: the apps know nothing of tests, and of sessions what their framework tells them.
"""

from collections.abc import Callable
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

from asgi_redis_guard import RedisManager, SessionMiddleware
from asgi_redis_guard.core.asgi import ASGIApp

Values = dict[str, Any]


def read(session: Values) -> Values:
    return dict(session)


def write(session: Values) -> Values:
    session.setdefault("cart", []).append(1)
    return {}


def clear(session: Values) -> Values:
    session.clear()
    return {}


ACTS: dict[str, Callable[[Values], Values]] = {"read": read, "write": write, "clear": clear}


def starlette(redis: RedisManager) -> ASGIApp:
    async def act(request: Request) -> JSONResponse:
        return JSONResponse(ACTS[request.path_params["act"]](request.session))

    app = Starlette(routes=[Route("/{act}", act)])
    app.add_middleware(SessionMiddleware, redis=redis)
    return app


def fastapi(redis: RedisManager) -> ASGIApp:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, redis=redis)

    @app.get("/{act}")
    def act(act: str, request: FastAPIRequest) -> Values:  # in a thread
        return ACTS[act](request.session)

    return app


def quart(redis: RedisManager) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/<act>")
    async def act(act: str) -> Values:
        return ACTS[act](request.scope["session"])  # type: ignore[typeddict-item]

    app.asgi_app = SessionMiddleware(app.asgi_app, redis=redis)  # type: ignore[method-assign]
    return app


@litestar_get([f"/{act}" for act in ACTS])
async def litestar_act(request: LitestarRequest[Any, Any, Any]) -> Values:
    """Do with the session what the path says."""
    return ACTS[request.url.path[1:]](request.session)


@litestar_get([f"/{act}" for act in ACTS])
async def litestar_replacing(request: LitestarRequest[Any, Any, Any]) -> Values:
    """Do it in the framework's other way: a new dictionary, or none."""
    act = request.url.path[1:]
    if act == "write":
        request.set_session({"cart": [*request.session.get("cart", ()), 1]})
    elif act == "clear":
        request.clear_session()
    return dict(request.session) if act == "read" else {}


def litestar_around(redis: RedisManager) -> ASGIApp:
    """The middleware stands around the app."""
    return SessionMiddleware(Litestar([litestar_act], logging_config=None), redis=redis)


def litestar_inside(redis: RedisManager) -> ASGIApp:
    """The middleware stands around each of its routes, whose sessions are replaced."""
    middleware: Any = DefineMiddleware(SessionMiddleware, redis=redis)
    return Litestar([litestar_replacing], middleware=[middleware], logging_config=None)


APPS: dict[str, Callable[[RedisManager], ASGIApp]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "quart": quart,
    "litestar, around the app": litestar_around,
    "litestar, sessions replaced": litestar_inside,
}
