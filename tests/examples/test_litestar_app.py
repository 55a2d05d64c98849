"""`examples/litestar_app.py`, and the other ways to put guards into Litestar."""

import time
from types import ModuleType
from typing import Any

import jwt
import pytest
from litestar import Litestar
from litestar.middleware import DefineMiddleware
from litestar.testing import AsyncTestClient

from asgi_redis_guard import GuardMiddleware, JWTAuth, JWTAuthMiddleware, RateLimit, RateLimitMiddleware
from asgi_redis_guard.testing import RoundTripCounter
from tests.examples.conftest import Load, Serve, stack_of


async def test_litestar_walks_the_story(load: Load, serve: Serve) -> None:
    async with serve(load("litestar_app").app) as visitor:
        await visitor.walk()


async def test_litestar_s_own_test_client_meets_the_guards(load: Load) -> None:
    example = load("litestar_app")
    token = jwt.encode({"sub": "alice", "exp": int(time.time()) + 60}, example.SECRET)
    async with AsyncTestClient(example.app) as client:
        assert (await client.get("/me")).status_code == 401
        response = await client.get("/me", headers={"authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()) == (200, {"user": "alice"})


def middlewares_one_by_one(example: ModuleType, built: list[GuardMiddleware]) -> Litestar:
    """An app as the example's, with each guard in a middleware of its own; what is built for a route is noted."""

    def noting(make: Any, **options: Any) -> DefineMiddleware:
        def build(app: Any) -> GuardMiddleware:
            built.append(make(app=app, redis=example.redis, **options))
            return built[-1]

        return DefineMiddleware(build)

    return Litestar(
        [example.login, example.me, example.logout],
        middleware=[
            noting(JWTAuthMiddleware, guard=JWTAuth(example.SECRET, exempt=["/login"])),
            noting(RateLimitMiddleware, guard=RateLimit("10/minute", key="user")),
        ],
        lifespan=[example.redis.lifespan],
    )


async def test_middlewares_added_one_by_one_are_one_stack_for_each_route(load: Load, serve: Serve) -> None:
    built: list[GuardMiddleware] = []
    async with serve(middlewares_one_by_one(load("litestar_app"), built)) as visitor:
        await visitor.walk()
    assert {stack_of(one) for one in built} == {
        "<RateLimitMiddleware [ratelimit]",
        "<JWTAuthMiddleware [jwt + ratelimit]",
    }


@pytest.mark.parametrize("way", ["the example", "one by one", "around the app"])
async def test_a_request_costs_one_round_trip(load: Load, serve: Serve, redis_url: str, way: str) -> None:
    async with RoundTripCounter(redis_url) as counter:
        example = load("litestar_app", counter.url)
        app: Any = example.app
        if way == "one by one":
            app = middlewares_one_by_one(example, [])
        elif way == "around the app":
            inner = Litestar([example.login, example.me, example.logout])
            app = GuardMiddleware(inner, example.guards, redis=example.redis)
        async with serve(app) as visitor:
            alice = await visitor.log_in("alice")
            await visitor.get("/me", headers=alice)  # the first of its shape also loads the program
            counter.reset()
            assert (await visitor.get("/me", headers=alice)).status_code == 200
            assert (counter.round_trips, counter.commands) == (1, [b"EVALSHA"])
            if way == "around the app":
                assert (await visitor.get("/nowhere")).status_code == 401
