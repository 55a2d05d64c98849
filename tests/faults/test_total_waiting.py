"""All that one request waits for Redis lasts no longer than the timeout: rounds, routes' guards and what is written
before the head have it together, also where every node of a cluster hangs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, ResponseCache, RouteLock, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.middleware.routes import guarded
from tests.cluster import Cluster
from tests.drive import Response, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.servers import Server, valkey9

#: Long enough that a busy machine does not make it look twice as long.
TIMEOUT = 1.5
#: The body that is stored, which no round would bring.
BODY = b"x" * 100_000


async def write(scope: Scope, receive: Receive, send: Send) -> None:
    """Log in: the one change that is tried also where the session could not be read."""
    scope["session"]["user_id"] = time.time()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": BODY})


#: The same behind a guard of its own.
limited = guarded(write, [RateLimit("1000/hour", name="route")])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await (limited if scope["path"] == "/limited" else write)(scope, receive, send)


def stack(redis: RedisManager) -> GuardMiddleware:
    """Everything is let through without Redis, so that each guard comes to what it would wait for."""
    guards = [
        JWTAuth(SECRET, on_outage="open"),
        RateLimit("1000/hour"),
        Sessions(on_outage="anonymous"),
        RouteLock("{path}", on_outage="open"),
        ResponseCache(),
    ]
    return GuardMiddleware(app, guards, redis=redis, clock=lambda: NOW)


@pytest.fixture(params=["one server", "a cluster"])
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[Server]]]:
    """A URL and the servers behind it."""
    if request.param == "one server":
        with Server(valkey9()) as server:
            yield server.url, [server]
    else:
        with Cluster(3, node_timeout=120_000) as cluster:
            yield cluster.url, cluster.servers


@pytest.mark.parametrize("path", ["/", "/limited"])
async def test_a_request_waits_no_longer_than_the_timeout_in_all(servers: tuple[str, list[Server]], path: str) -> None:
    url, nodes = servers
    async with RedisManager(url, timeout=TIMEOUT) as redis:
        site = stack(redis)
        headers: dict[str, Any] = {**bearer(sign()), "host": b"test"}

        async def visit() -> Response:
            return await get(site, path, headers, scheme="https")

        first = await visit()
        assert first.status == 200
        headers["cookie"] = first["set-cookie"].partition(";")[0]
        waited = await while_hanging(nodes, visit)
        assert TIMEOUT * 0.9 < waited < TIMEOUT * 1.6, "each of them would have waited for as long"
        await recovered(visit)


async def while_hanging(nodes: list[Server], visit: Callable[[], Any]) -> float:
    """Return how many seconds a visit takes while no node answers; what cannot be written is refused."""
    for node in nodes:
        node.pause()
    try:
        began = time.perf_counter()
        response = await visit()
        waited = time.perf_counter() - began
    finally:
        for node in nodes:
            node.resume()
    assert response.status == 503
    return waited


async def recovered(visit: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while (await visit()).status != 200:  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0.05)
