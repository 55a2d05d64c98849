"""What is surely, or very likely, set up wrongly: each a named warning, told once."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from asgi_redis_guard import (
    GuardMiddleware,
    RateLimit,
    RateLimitMiddleware,
    RedisManager,
    RouteGuards,
    rate_limit,
)
from asgi_redis_guard.core import admissions, identity
from asgi_redis_guard.core.warnings import Warnings
from asgi_redis_guard.middleware import fusion, routed, unguarded
from tests.conftest import MakeServer
from tests.drive import App, get
from tests.ratelimit.conftest import CountingManager
from tests.redis.tools import PATIENCE


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have made it tell."""
    monkeypatch.setattr(identity, "_warnings", Warnings(identity.logger))
    monkeypatch.setattr(admissions, "_warnings", Warnings(admissions.logger))
    monkeypatch.setattr(fusion, "_warnings", Warnings(fusion.logger))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """The names of the warnings so far."""
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage().partition("]")[0][1:] for record in caplog.records]


@pytest.mark.parametrize("field", ["x-forwarded-for", "forwarded"])
async def test_a_proxy_that_nobody_trusts_is_told_once(manager: CountingManager, told: Any, field: str) -> None:
    app = GuardMiddleware(App(), [RateLimit("9/hour")], redis=manager)
    await get(app)
    assert told() == []
    for _ in range(3):
        await get(app, headers={field: "198.51.100.1"})
    assert told() == ["untrusted-proxy"]


@pytest.mark.parametrize("options", [{"trusted_proxies": ["10.0.0.0/8"]}, {"key": "header:forwarded"}])
async def test_a_proxy_is_no_fault_where_it_is_known_or_no_address_counts(
    manager: CountingManager, told: Any, options: Any
) -> None:
    app = GuardMiddleware(App(), [RateLimit("9/hour", **options)], redis=manager)
    await get(app, headers={"x-forwarded-for": "198.51.100.1", "forwarded": "for=198.51.100.1"})
    assert told() == []


async def test_a_proxy_that_the_server_knows_is_no_fault(manager: CountingManager, told: Any) -> None:
    """uvicorn has put what the proxy says in the peer's place."""
    app = GuardMiddleware(App(), [RateLimit("9/hour")], redis=manager)
    for client in ("198.51.100.1", "2001:db8:1:2::7"):
        await get(app, headers={"x-forwarded-for": f"192.0.2.1, {client}"}, client=(client, 1))
    assert told() == []


async def test_a_limit_by_user_that_nobody_establishes_is_told(manager: CountingManager, told: Any) -> None:
    app = GuardMiddleware(App(), [RateLimit("9/hour", key="user")], redis=manager)
    await get(app)
    await get(app)
    assert told() == ["nobody-known"]


async def test_only_the_first_requests_are_looked_at(manager: CountingManager, told: Any) -> None:
    app = GuardMiddleware(App(), [RateLimit("1000/hour")], redis=manager)
    for _ in range(100):
        await get(app)
    await get(app, headers={"x-forwarded-for": "198.51.100.1"})
    assert told() == []


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_proxies_that_are_everybody_are_told(told: Any, everybody: str) -> None:
    RateLimit("9/hour", trusted_proxies=["10.0.0.0/8", everybody])
    assert told() == ["everybody-trusted"]


class Between:
    """A middleware of somebody else."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def test_one_limit_in_two_stacks_is_told(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    limit = RateLimit("9/hour", name="api")
    inner = RateLimitMiddleware(App(), guard=limit, redis="memory://")
    GuardMiddleware(Between(Between(inner)), [limit], redis="memory://")
    GuardMiddleware(Between(inner), [limit], redis="memory://")
    assert told() == ["limited-twice"]
    assert "api" in caplog.text
    assert 'see README, "Warnings"' in caplog.text


def test_limits_with_keys_of_their_own_are_no_fault_in_two_stacks(told: Any) -> None:
    inner = RateLimitMiddleware(App(), "9/hour", redis="memory://")
    RateLimitMiddleware(Between(inner), "9/minute", redis="memory://")
    RateLimitMiddleware(Between(inner), "9/hour", name="other", redis="memory://")
    assert told() == []


async def test_a_decorator_above_the_frameworks_own_is_told(
    manager: CountingManager, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routed.DECLARED, "any", False)
    monkeypatch.setattr(unguarded, "_warnings", Warnings(unguarded.logger))
    app = FastAPI()

    @app.get("/right")
    @rate_limit("1/hour")
    async def right() -> None:
        """Limited."""

    @rate_limit("1/hour")
    @app.get("/wrong")
    async def wrong() -> None:
        """Not limited: what was registered is the bare function."""

    stack = GuardMiddleware(app, [RouteGuards()], redis=manager)
    assert [(await get(stack, "/right")).status for _ in range(2)] == [200, 429]
    assert told() == []
    assert [(await get(stack, "/wrong")).status for _ in range(2)] == [200, 200]
    assert told() == ["unguarded-route"]


async def test_a_redis_that_refuses_what_guards_ask_is_told_once_for_each_reason(
    make_server: MakeServer, told: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is there, and no line about an outage would tell why guards do as if it were not."""
    server = make_server("valkey9")
    server.command("ACL", "SETUSER", "mine", "on", ">secret", "~mine:*", "&*", "+@all")
    async with RedisManager(
        server.url.replace("://", "://mine:secret@"), prefix="another:", timeout=PATIENCE
    ) as manager:
        app = GuardMiddleware(App(), [RateLimit("9/hour", on_outage="closed")], redis=manager)
        assert [(await get(app)).status for _ in range(3)] == [503, 503, 503]
    assert told() == ["redis-refuses"]
    assert "(NOPERM)" in caplog.text
