"""What a request costs, counted at the socket, under every framework, with middlewares added one by one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import jwt
import pytest

from asgi_redis_guard import RedisManager, RevocationList
from asgi_redis_guard.testing import RoundTripCounter
from tests.frameworks.apps import APPS, KEY, Policies, lifespan
from tests.redis.tools import PATIENCE

FRAMEWORKS = pytest.mark.parametrize("name", APPS)


def bearer(key: str = KEY, jti: str = "1") -> dict[str, str]:
    """Header fields with a token."""
    now = int(time.time())
    claims = {"sub": "alice", "jti": jti, "iat": now, "exp": now + 900}
    return {"authorization": f"Bearer {jwt.encode(claims, key)}"}


class Visit:
    """An app that has been started, a client of it, and the count of what crosses to its Redis."""

    def __init__(self, counter: RoundTripCounter, client: httpx.AsyncClient, redis: RedisManager) -> None:
        self.counter, self.client, self.redis = counter, client, redis

    async def get(self, path: str = "/me", headers: dict[str, str] | None = None) -> tuple[httpx.Response, int]:
        """Send a request; return the response and how many round trips it has cost."""
        self.counter.reset()
        response = await self.client.get(path, headers=headers)
        return response, self.counter.round_trips


@asynccontextmanager
async def visit(name: str, redis_url: str) -> AsyncIterator[Visit]:
    """Start the app named `name`."""
    async with RoundTripCounter(redis_url) as counter:
        redis = RedisManager(counter.url, timeout=PATIENCE)
        app = APPS[name](Policies(redis))
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Visit(counter, client, redis)


@FRAMEWORKS
async def test_token_blacklist_and_two_limits_cost_exactly_one_round_trip_from_the_first_request_on(
    name: str, redis_url: str
) -> None:
    async with visit(name, redis_url) as visitor:
        for remaining in (99, 98, 97):
            response, round_trips = await visitor.get(headers=bearer())
            assert (response.status_code, response.json()) == (200, {"user": "alice"})
            assert response.headers["ratelimit"].startswith(f'"hour";r={remaining};')
            assert response.headers["ratelimit-policy"] == '"hour";q=100;w=3600, "day";q=1000;w=86400'
            assert round_trips == 1
        assert visitor.counter.commands == [b"EVALSHA"]


@FRAMEWORKS
async def test_a_revoked_token_costs_one_round_trip_and_drains_nobody_s_limits(name: str, redis_url: str) -> None:
    async with visit(name, redis_url) as visitor:
        await RevocationList(visitor.redis).revoke("revoked", ttl=60)
        for _ in range(3):
            response, round_trips = await visitor.get(headers=bearer(jti="revoked"))
            assert (response.status_code, round_trips) == (401, 1)
        response, _ = await visitor.get(headers=bearer())
        assert response.headers["ratelimit"].startswith('"hour";r=99;')


@FRAMEWORKS
async def test_a_wrong_signature_a_missing_token_and_an_exempt_path_cost_none(name: str, redis_url: str) -> None:
    async with visit(name, redis_url) as visitor:
        for path, headers, status in (
            ("/me", bearer("another secret of at least 32 bytes, for tests"), 401),
            ("/me", {}, 401),
            ("/me", {"authorization": "Bearer nonsense"}, 401),
            ("/health", {}, 200),
            ("/health", bearer(), 200),
        ):
            response, round_trips = await visitor.get(path, headers)
            assert (response.status_code, round_trips, visitor.counter.commands) == (status, 0, [])
            assert "ratelimit" not in response.headers


@FRAMEWORKS
async def test_an_exempt_path_has_nobody_as_its_user(name: str, redis_url: str) -> None:
    async with visit(name, redis_url) as visitor:
        response, _ = await visitor.get("/health")
        assert response.json() == {"authenticated": False}


@FRAMEWORKS
async def test_many_requests_at_once_share_round_trips(name: str, redis_url: str) -> None:
    async with visit(name, redis_url) as visitor:
        headers = bearer()
        await visitor.get(headers=headers)
        visitor.counter.reset()
        responses = await asyncio.gather(*(visitor.client.get("/me", headers=headers) for _ in range(20)))
        assert [response.status_code for response in responses] == [200] * 20
        assert len(visitor.counter.commands) == 20
        assert visitor.counter.round_trips <= 20
        left = sorted(int(response.headers["ratelimit"].split(";")[1].removeprefix("r=")) for response in responses)
        assert left == list(range(79, 99))


@FRAMEWORKS
async def test_without_a_lifespan_the_first_request_connects_and_costs_one_round_trip_after_the_handshake(
    name: str, redis_url: str
) -> None:
    async with RoundTripCounter(redis_url) as counter:
        redis = RedisManager(counter.url, timeout=PATIENCE)
        transport = httpx.ASGITransport(APPS[name](Policies(redis)))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/me", headers=bearer())).status_code == 200
            # The others look whether the server has lost its data: over each link, of two, and as the watch begins.
            assert counter.commands.count(b"EVALSHA") == 1 + 3
        await redis.aclose()
