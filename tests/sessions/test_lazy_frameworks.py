"""Lazy sessions, and paths that are exempt from sessions, as frameworks give them to apps."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi import Request as FastAPIRequest
from litestar import Litestar
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from litestar.middleware import DefineMiddleware
from quart import Quart, request
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_redis_guard import GuardMiddleware, RedisManager, SessionMiddleware, SessionNotLoaded, Sessions
from asgi_redis_guard.core.asgi import ASGIApp
from tests.middleware.calls import TestRedis
from tests.sessions.test_middleware import client_of


def count(session: Any) -> dict[str, Any]:
    """Count a visit."""
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}


def starlette(redis: RedisManager) -> ASGIApp:
    async def visit(request: Request) -> JSONResponse:
        await request.session.load()  # type: ignore[attr-defined]
        return JSONResponse(count(request.session))

    app = Starlette(routes=[Route("/", visit)])
    app.add_middleware(SessionMiddleware, lazy=True, redis=redis)
    return app


def fastapi(redis: RedisManager) -> ASGIApp:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, lazy=True, redis=redis)

    async def session_of(request: FastAPIRequest) -> Any:
        await request.session.load()  # type: ignore[attr-defined]
        return request.session

    @app.get("/")
    def visit(session: Annotated[Any, Depends(session_of)]) -> dict[str, Any]:  # in a thread
        return count(session)

    return app


def quart(redis: RedisManager) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/")
    async def visit() -> dict[str, Any]:
        session: Any = request.scope["session"]  # type: ignore[typeddict-item]
        await session.load()
        return count(session)

    app.asgi_app = SessionMiddleware(app.asgi_app, lazy=True, redis=redis)  # type: ignore[method-assign]
    return app


@litestar_get("/")
async def litestar_visit(request: LitestarRequest[Any, Any, Any]) -> dict[str, Any]:
    """Count a visit."""
    await request.session.load()  # type: ignore[attr-defined]
    return count(request.session)


def litestar_around(redis: RedisManager) -> ASGIApp:
    return SessionMiddleware(Litestar([litestar_visit], logging_config=None), lazy=True, redis=redis)


def litestar_inside(redis: RedisManager) -> ASGIApp:
    middleware: Any = DefineMiddleware(SessionMiddleware, lazy=True, redis=redis)
    return Litestar([litestar_visit], middleware=[middleware], logging_config=None)


APPS: dict[str, Callable[[RedisManager], ASGIApp]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "quart": quart,
    "litestar, around the app": litestar_around,
    "litestar, inside": litestar_inside,
}


@pytest.mark.parametrize("name", APPS)
async def test_an_app_loads_its_session_and_uses_it(name: str, redis: RedisManager) -> None:
    async with client_of(APPS[name](redis)) as client:
        for number in (1, 2, 3):
            response = await client.get("/")
            assert response.json() == {"visits": number}
            assert response.headers["vary"] == "Cookie"
            assert ("set-cookie" in response.headers) == (number == 1)


@requires("authenticated")
async def private(request: Request) -> JSONResponse:
    return JSONResponse(request.user.identity)


async def login(request: Request) -> JSONResponse:
    await request.session.load()  # type: ignore[attr-defined]
    request.session["user_id"] = "alice"
    return JSONResponse({})


async def test_requires_does_not_take_a_session_that_was_not_loaded_for_nobody_s(memory: TestRedis) -> None:
    class Loading:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await scope["session"].load()
            await self.app(scope, receive, send)

    plain = Starlette(routes=[Route("/private", private), Route("/login", login)])
    sessions = Sessions(lazy=True)
    forgetful = GuardMiddleware(plain, [sessions], redis=memory)
    mindful = GuardMiddleware(Loading(plain), [sessions], redis=memory)
    async with client_of(forgetful) as client, client_of(mindful) as other:
        assert (await client.get("/private")).status_code == 403, "without a cookie there is nobody"
        await client.get("/login")
        with pytest.raises(SessionNotLoaded, match=r"await session\.load\(\)"):
            await client.get("/private")
        other.cookies = client.cookies
        assert (await other.get("/private")).json() == "alice"


async def test_an_exempt_path_is_left_alone_and_has_neither_session_nor_user(memory: TestRedis) -> None:
    """An empty session there would say that nobody has logged in, and lose what is put into it."""
    seen: list[Any] = []

    async def health(request: Request) -> JSONResponse:
        seen.append(("session" in request.scope, "user" in request.scope))
        with pytest.raises(AssertionError, match="must be installed to access"):
            request.session.get("user_id")
        return JSONResponse({})

    for lazy in (False, True):
        app = Starlette(routes=[Route("/health", health), Route("/login", login)])
        app.add_middleware(SessionMiddleware, exempt=["/health"], lazy=lazy, redis=memory)
        async with client_of(app) as client:
            await client.get("/login")
            memory.rounds.clear()
            response = await client.get("/health")
            assert ("set-cookie" in response.headers, "vary" in response.headers) == (False, False)
    assert (seen, memory.rounds) == ([(False, False)] * 2, [])


async def test_an_exempt_path_keeps_the_session_of_a_middleware_further_out(memory: TestRedis) -> None:
    async def visit(request: Request) -> JSONResponse:
        return JSONResponse(count(request.session))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Starlette(routes=[Route("/api/visit", visit)])(scope, receive, send)

    class Between:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await SessionMiddleware(app, exempt=["/api/*"], session_cookie="other", redis=memory)(scope, receive, send)

    async with client_of(SessionMiddleware(Between(), redis=memory)) as client:
        assert [(await client.get("/api/visit")).json()["visits"] for _ in range(2)] == [1, 2]
