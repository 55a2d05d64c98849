"""A cache beside compression, CORS and sessions in every order that makes sense: each client gets what is its own."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import permutations
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware as StarletteSessions
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asgi_redis_guard import (
    ConfigurationError,
    RedisManager,
    ResponseCacheMiddleware,
    SessionMiddleware,
    cached,
    invalidates,
)
from tests.frameworks.uvicorns import served
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE

ORIGINS = ("https://a.example", "https://b.example")
LONG = "word " * 500

#: What stands around the app, from the outside in.
ORDERS = list(permutations(("cache", "gzip", "cors", "sessions")))
SESSIONS = ("ours", "starlette's")

made: list[str] = []


def are_refused(order: tuple[str, ...], sessions: str) -> bool:
    """Our sessions next to the cache and inside of it are one stack with it, which says that this is wrong."""
    return sessions == "ours" and "cache-sessions" in "-".join(order)


@cached(300, tags=("prices",))
async def prices(request: Request) -> PlainTextResponse:
    made.append("prices")
    return PlainTextResponse(LONG)


@cached(300)
async def streamed(request: Request) -> StreamingResponse:
    made.append("streamed")

    async def parts() -> AsyncIterator[str]:
        yield LONG[:1000]
        yield LONG[1000:]

    return StreamingResponse(parts(), media_type="text/plain")


@cached(300)
async def mine(request: Request) -> PlainTextResponse:
    made.append("mine")
    return PlainTextResponse(f"{request.session.get('name')}: {LONG}")


@invalidates("prices")
async def login(request: Request) -> PlainTextResponse:
    request.session["name"] = request.query_params["name"]
    return PlainTextResponse("ok")


def build(order: tuple[str, ...], sessions: str, redis: RedisManager, cors: dict[str, Any] | None = None) -> Starlette:
    """An app with these around it."""
    app = Starlette(
        routes=[
            Route("/prices", prices),
            Route("/streamed", streamed),
            Route("/mine", mine),
            Route("/login", login, methods=["POST"]),
        ]
    )
    add: dict[str, Callable[[], None]] = {
        "cache": lambda: app.add_middleware(ResponseCacheMiddleware, redis=redis),  # type: ignore[arg-type]
        "gzip": lambda: app.add_middleware(GZipMiddleware, minimum_size=100),
        "cors": lambda: app.add_middleware(CORSMiddleware, **(cors or {"allow_origins": ORIGINS})),
        "sessions": lambda: (
            app.add_middleware(SessionMiddleware, redis=redis)  # type: ignore[arg-type]
            if sessions == "ours"
            else app.add_middleware(StarletteSessions, secret_key="of tests", https_only=True)
        ),
    }
    for name in reversed(order):
        add[name]()
    return app


class Client:
    """One browser."""

    def __init__(self, client: httpx.AsyncClient, redis: RedisManager) -> None:
        self.client, self.redis = client, redis

    async def get(self, path: str, origin: str | None = None, encoding: str = "identity") -> httpx.Response:
        headers = {"accept-encoding": encoding} | ({} if origin is None else {"origin": origin})
        response = await self.client.get(path, headers=headers)
        await settled(self.redis)
        assert response.status_code == 200
        return response


@asynccontextmanager
async def clients(app: Starlette, redis: RedisManager, *names: str) -> AsyncIterator[list[Client]]:
    """Clients who have logged in, and one who has not."""
    made.clear()
    transport = httpx.ASGITransport(app)
    found = []
    for name in (*names, None):
        client = httpx.AsyncClient(transport=transport, base_url="https://test")
        if name is not None:
            assert (await client.post("/login", params={"name": name})).status_code == 200
        found.append(Client(client, redis))
    yield found
    for one in found:
        await one.client.aclose()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        yield redis


@pytest.mark.parametrize(
    ("order", "sessions"),
    [(order, sessions) for order in ORDERS for sessions in SESSIONS if not are_refused(order, sessions)],
    ids=lambda given: given if isinstance(given, str) else "-".join(given),
)
async def test_every_client_gets_his_encoding_his_origin_and_his_name(
    order: tuple[str, ...], sessions: str, redis: RedisManager
) -> None:
    app = build(order, sessions, redis)
    async with clients(app, redis, "alice", "bob") as (alice, bob, nobody):
        for _ in range(2):
            for name, client in (("alice", alice), ("bob", bob), ("None", nobody)):
                assert (await client.get("/mine")).text == f"{name}: {LONG}"
            for path in ("/prices", "/streamed"):
                for encoding in ("gzip", "identity"):
                    for origin in (None, *ORIGINS, "https://evil.example"):
                        response = await nobody.get(path, origin, encoding)
                        assert response.text == LONG
                        assert (response.headers.get("content-encoding") == "gzip") == (encoding == "gzip")
                        allowed = response.headers.get("access-control-allow-origin")
                        assert allowed == (origin if origin in ORIGINS else None)
                        length = response.headers.get("content-length")
                        assert length is None or encoding == "gzip" or int(length) == len(LONG)
        variants = 8 if order.index("cache") < order.index("gzip") else 4
        for path in ("prices", "streamed"):
            assert made.count(path) <= variants, "nothing is made twice"
        before = list(made)
        for path in ("/prices", "/streamed"):
            await nobody.get(path, ORIGINS[0], "gzip")
        assert made == before


async def test_our_sessions_right_inside_of_the_cache_are_refused(redis: RedisManager) -> None:
    app = build(("gzip", "cache", "sessions", "cors"), "ours", redis)
    with pytest.raises(ConfigurationError, match="cache stands outside of sessions"):
        app.build_middleware_stack()


@pytest.mark.parametrize("order", [("cors", "cache", "gzip", "sessions"), ("cache", "cors", "gzip", "sessions")])
async def test_cors_for_all_origins_without_vary(order: tuple[str, ...], redis: RedisManager) -> None:
    app = build(order, "starlette's", redis, {"allow_origins": ["*"]})
    async with clients(app, redis) as (nobody,):
        for origin in (None, ORIGINS[0], None, ORIGINS[1]):
            response = await nobody.get("/prices", origin)
            assert response.headers.get("access-control-allow-origin") == (None if origin is None else "*")


async def test_an_etag_tells_encodings_apart(redis: RedisManager) -> None:
    """The cache makes tags of what it keeps; a compression further out must not let one stand for both bodies."""
    for order in (("gzip", "cache", "cors", "sessions"), ("cache", "gzip", "cors", "sessions")):
        await redis.execute("FLUSHALL")
        async with clients(build(order, "starlette's", redis), redis) as (nobody,):
            for _ in range(2):
                tags = [(await nobody.get("/prices", encoding=one)).headers.get("etag") for one in ("gzip", "identity")]
            assert tags[0] != tags[1] or tags[0] is None or tags[0].startswith("W/"), order


async def test_over_a_real_server(redis: RedisManager) -> None:
    app = build(("gzip", "cors", "sessions", "cache"), "ours", redis)
    async with served(app) as client:  # type: ignore[arg-type]
        made.clear()
        for encoding in ("gzip", "identity", "gzip"):
            for origin in ORIGINS:
                async with client.stream(
                    "GET", "/prices", headers={"accept-encoding": encoding, "origin": origin}
                ) as r:
                    raw = b"".join([chunk async for chunk in r.aiter_raw()])
                await settled(redis)
                assert (gzip.decompress(raw) if encoding == "gzip" else raw).decode() == LONG
                assert r.headers["access-control-allow-origin"] == origin
                assert len(r.headers.get_list("date")) == 1
        assert made == ["prices"] * 2, "one for each origin"
        for _ in range(2):
            kept = await client.get("/prices", headers={"accept-encoding": "identity"})
            await settled(redis)
        etag = kept.headers["etag"]
        again = await client.get("/prices", headers={"if-none-match": etag, "accept-encoding": "identity"})
        assert (again.status_code, again.content) == (304, b"")
        head = await client.head("/prices", headers={"accept-encoding": "identity"})
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(LONG)))
