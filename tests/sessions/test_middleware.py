"""Sessions as frameworks give them to apps: through their own accessors, or put into the scope anew."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, SessionMiddleware
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.testing import RoundTripCounter
from tests.middleware.calls import Call, websocket
from tests.redis.tools import PATIENCE
from tests.sessions.apps import APPS

KEY = "a secret of at least 32 bytes, for tests alone"
ORIGIN = "https://app.example.com"


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at the app."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        yield client


@pytest.mark.parametrize("name", APPS)
async def test_an_app_uses_its_session_as_its_framework_gives_it(name: str, redis: RedisManager) -> None:
    async with client_of(APPS[name](redis)) as client:
        assert (await client.get("/read")).json() == {}
        assert not client.cookies
        assert (await client.get("/write")).status_code == 200
        assert (await client.get("/read")).json() == {"cart": [1]}
        assert (await client.get("/write")).headers.get("set-cookie") is None
        assert (await client.get("/read")).json() == {"cart": [1, 1]}
        assert (await client.get("/read")).headers["vary"] == "Cookie"
        assert (await client.get("/clear")).status_code == 200
        assert not client.cookies
        assert (await client.get("/read")).json() == {}


def replacing(value: Any) -> ASGIApp:
    """An app that puts something else into its scope."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/write":
            scope["session"]["a"] = 1
        elif scope["path"] == "/replace":
            scope["session"] = value
        body = str(dict(scope["session"]) if scope["path"] == "/read" else "").encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


class Empty:
    """As Litestar has had it."""


class EmptyEnum(Enum):
    """As Litestar has it."""

    EMPTY = 0


@pytest.mark.parametrize(
    ("value", "left"),
    [({"b": 2}, "{'b': 2}"), ({"a": 1}, "{'a': 1}"), ({}, "{}"), (None, "{}"), (Empty, "{}"), (EmptyEnum.EMPTY, "{}")],
    ids=["another", "the same", "empty", "None", "a class", "a member"],
)
async def test_what_a_framework_puts_in_its_place_is_the_session(redis: RedisManager, value: Any, left: str) -> None:
    async with client_of(SessionMiddleware(replacing(value), redis=redis)) as client:
        await client.get("/write")
        response = await client.get("/replace")
        is_ended = value in (None, Empty, EmptyEnum.EMPTY)
        assert ("Max-Age=0" in response.headers.get("set-cookie", "")) is is_ended
        assert (await client.get("/read")).text == left


async def test_what_is_no_dictionary_is_an_error_and_ends_nothing(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(SessionMiddleware(replacing(object()), redis=redis)) as client:
        await client.get("/write")
        assert (await client.get("/replace")).status_code == 500
        assert "scope['session'] is of type object now" in caplog.text
        assert (await client.get("/read")).text == "{'a': 1}"


def stacked(redis: RedisManager) -> ASGIApp:
    """JWT with its blacklist, two limits and sessions, added one by one."""

    async def endpoint(request: Request) -> PlainTextResponse:
        if "n" in request.query_params:
            request.session["n"] = int(request.query_params["n"])
        return PlainTextResponse(f"{request.user.identity} {request.session.get('n')}")

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(SessionMiddleware, redis=redis)
    app.add_middleware(RateLimitMiddleware, "100/hour", "1000/day", key="user", redis=redis)
    app.add_middleware(JWTAuthMiddleware, key=KEY, redis=redis)
    return app


async def test_a_token_two_limits_and_a_session_cost_one_round_trip_and_a_change_one_more(redis_url: str) -> None:
    now = int(time.time())
    token = jwt.encode({"sub": "alice", "jti": "1", "iat": now, "exp": now + 900}, KEY)
    async with RoundTripCounter(redis_url) as counter:
        redis = RedisManager(counter.url, timeout=PATIENCE)
        async with redis, client_of(stacked(redis)) as client:
            client.headers["authorization"] = f"Bearer {token}"
            for n in (0, 1):  # each program is loaded where it is first called
                await client.get(f"/?n={n}")
            for query, round_trips in (("", 1), ("?n=1", 1), ("?n=2", 2), ("", 1)):
                counter.reset()
                response = await client.get(f"/{query}")
                assert response.status_code == 200
                assert (counter.round_trips, counter.commands) == (round_trips, [b"EVALSHA"] * round_trips)
            assert response.text == "alice 2"


async def test_many_requests_of_one_session_at_once_share_round_trips(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter:
        redis = RedisManager(counter.url, timeout=PATIENCE)
        async with redis, client_of(SessionMiddleware(replacing(None), redis=redis)) as client:
            await client.get("/write")
            await client.get("/read")
            counter.reset()
            responses = await asyncio.gather(*(client.get("/read") for _ in range(20)))
            assert [response.text for response in responses] == ["{'a': 1}"] * 20
            assert len(counter.commands) == 20
            assert counter.round_trips <= 20


def mounted(redis: RedisManager) -> ASGIApp:
    async def write(request: Request) -> PlainTextResponse:
        request.session["inner"] = request.url.path
        return PlainTextResponse("ok")

    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.session))

    sub = Starlette(routes=[Route("/write", write)])
    app = Starlette(routes=[Mount("/sub", sub), Route("/read", read)])
    app.add_middleware(SessionMiddleware, redis=redis)
    return app


async def test_a_mounted_app_has_the_session_of_the_app_around_it(redis: RedisManager) -> None:
    async with client_of(mounted(redis)) as client:
        await client.get("/sub/write")
        (cookie,) = client.cookies.jar
        assert (cookie.name, cookie.path) == ("__Host-session", "/")
        assert "with 1 keys" in (await client.get("/read")).text


async def test_a_websocket_of_starlette_has_the_session_of_the_page(redis: RedisManager) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        socket.session["visits"] = socket.session.get("visits", 0) + 1
        await socket.accept()
        await socket.send_json(socket.session)
        await socket.session.incr("seen")  # type: ignore[attr-defined]
        await socket.close()

    stack, headers, seen = SessionMiddleware(app, redis=redis), [(b"host", b"test")], []
    for _ in range(3):
        call = await Call(stack, websocket(headers=headers)).run()
        seen.append((await call.sees("websocket.send"))["text"])
        for name, value in call.headers:
            if name == b"set-cookie":
                headers.append((b"cookie", value.partition(b";")[0]))
    assert list(map(json.loads, seen)) == [{"visits": 1}, {"visits": 2, "seen": 1}, {"visits": 3, "seen": 2}]


def test_options_are_those_of_starlette_s_own_middleware() -> None:
    taken: Callable[..., Any] = SessionMiddleware
    stack = taken(
        replacing(None),
        session_cookie="sid",
        max_age=60,
        path="/",
        same_site="strict",
        https_only=True,
        domain="example.com",
        partitioned=True,
    )
    assert "__Secure-sid" in repr(stack.guards[0])
