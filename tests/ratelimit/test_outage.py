"""Limits while Redis is away: in this process, open or closed, and Redis's own again as soon as it is back."""

from typing import Any

import pytest

from asgi_redis_guard import Decision, GuardMiddleware, JWTAuth, RateLimit, RedisManager
from tests.drive import App, get, handshake
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.ratelimit.structured import parse_list
from tests.redis.tools import until_back
from tests.servers import Server


async def statuses(app: Any, count: int, **options: Any) -> list[int]:
    return [(await get(app, **options)).status for _ in range(count)]


async def test_local_limits_count_while_the_server_is_away_and_no_longer(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    seen: list[Decision] = []
    app = GuardMiddleware(
        App(), [RateLimit("2/hour", "9/day")], redis=fresh_redis, hooks=[seen.append], clock=lambda: NOW
    )
    assert await statuses(app, 1) == [200]
    fresh_server.kill()
    assert await statuses(app, 3) == [200, 200, 429]
    assert await statuses(app, 2, client=("198.51.100.9", 1)) == [200, 200]
    fresh_server.start()
    await until_back(fresh_redis)
    assert await statuses(app, 2) == [200, 429], "the server has come back empty, and is told what was counted here"
    assert await statuses(app, 1, client=("203.0.113.99", 1)) == [200]
    assert [event.degraded for event in seen] == [False, *[True] * 5, False, False, False]


async def test_local_limits_send_the_same_fields_and_refusal(fresh_redis: RedisManager, fresh_server: Server) -> None:
    app = GuardMiddleware(App(), [RateLimit("2/hour", "9/day")], redis=fresh_redis, clock=lambda: NOW)
    await get(app)
    fresh_server.kill()
    first = await get(app)
    assert first["ratelimit-policy"] == '"hour";q=2;w=3600, "day";q=9;w=86400'
    assert parse_list(first["ratelimit"]) == [("hour", {"r": 1, "t": 3600}), ("day", {"r": 8, "t": 86_400})]
    await get(app)
    refused = await get(app)
    assert refused.status == 429
    assert parse_list(refused["ratelimit"]) == [("hour", {"r": 0, "t": 3600})]
    assert refused["retry-after"] == "3600"
    assert refused.json()["violated-policies"] == ["hour"]


async def test_open_lets_everybody_through(fresh_redis: RedisManager, fresh_server: Server) -> None:
    app = GuardMiddleware(App(), [RateLimit("1/hour", on_outage="open", deny_cache=0)], redis=fresh_redis)
    assert await statuses(app, 2) == [200, 429]
    fresh_server.kill()
    for _ in range(5):
        response = await get(app)
        assert (response.status, response.all("ratelimit"), response.all("retry-after")) == (200, [], [])


async def test_closed_answers_503(fresh_redis: RedisManager, fresh_server: Server) -> None:
    inner = App()
    app = GuardMiddleware(inner, [RateLimit("5/hour", on_outage="closed")], redis=fresh_redis)
    assert await statuses(app, 1) == [200]
    fresh_server.kill()
    response = await get(app)
    assert (response.status, response["content-type"]) == (503, "application/problem+json")
    assert int(response["retry-after"]) >= 1
    assert (await handshake(app)).status == 503
    assert len(inner.scopes) == 1


async def test_each_guard_of_a_stack_has_its_own_policy(fresh_redis: RedisManager, fresh_server: Server) -> None:
    def stack(jwt: Any) -> GuardMiddleware:
        guards = [RateLimit("2/hour", name="outer"), JWTAuth(SECRET, on_outage=jwt), RateLimit("1/hour", name="inner")]
        return GuardMiddleware(App(), guards, redis=fresh_redis, clock=lambda: NOW)

    fresh_server.kill()
    closed, opened = stack("closed"), stack("open")
    for _ in range(2):
        refused = await get(closed, headers=bearer(sign()))
        assert (refused.status, [name for name, _ in parse_list(refused["ratelimit"])]) == (503, ["outer"])
    assert (await get(closed, headers=bearer(sign()))).status == 429
    assert await statuses(opened, 2, headers=bearer(sign())) == [200, 429]


async def test_a_key_of_another_type_is_an_outage_of_that_limit_alone(fresh_redis: RedisManager) -> None:
    guards = [RateLimit("1/hour", name="broken"), RateLimit("5/hour", name="good", algorithm="fixed")]
    app = GuardMiddleware(App(), guards, redis=fresh_redis, clock=lambda: NOW)
    assert await statuses(app, 1) == [200]
    (key,) = [key for key in await fresh_redis.execute("KEYS", "*") if b"broken" in key]
    await fresh_redis.execute("DEL", key)
    await fresh_redis.execute("RPUSH", key, "not a number")
    passed = await get(app)
    broken, (name, good) = parse_list(passed["ratelimit"])
    assert (broken, name, good["r"]) == (("broken", {"r": 0, "t": 3600}), "good", 3)
    assert 3540 < good["t"] <= 3600, "by the server's clock, which goes on"
    assert (await get(app)).status == 429, "counted in this process"
    await fresh_redis.execute("DEL", key)
    assert (await get(app)).status == 200


@pytest.mark.parametrize("algorithm", ["gcra", "fixed"])
async def test_a_full_server_is_an_outage_too(fresh_redis: RedisManager, fresh_server: Server, algorithm: Any) -> None:
    seen: list[Decision] = []
    limit = RateLimit("2/hour", algorithm=algorithm)
    app = GuardMiddleware(App(), [limit], redis=fresh_redis, hooks=[seen.append], clock=lambda: NOW)
    fresh_server.command("CONFIG", "SET", "maxmemory", "1")
    assert await statuses(app, 3) == [200, 200, 429]
    assert [event.degraded for event in seen] == [True] * 3
    fresh_server.command("CONFIG", "SET", "maxmemory", "0")
    assert await statuses(app, 2) == [200, 429]
    assert [event.degraded for event in seen[3:]] == [False] * 2


async def test_a_log_still_counts_on_a_full_server(fresh_redis: RedisManager, fresh_server: Server) -> None:
    """It removes before it adds, and after a first write the server lets a script finish."""
    app = GuardMiddleware(App(), [RateLimit("2/hour", algorithm="log")], redis=fresh_redis, clock=lambda: NOW)
    fresh_server.command("CONFIG", "SET", "maxmemory", "1")
    assert await statuses(app, 3) == [200, 200, 429]
    fresh_server.command("CONFIG", "SET", "maxmemory", "0")
    assert await statuses(app, 1) == [429]


async def test_paths_that_are_counted_together_are_so_while_redis_is_away(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    limit = RateLimit("2/hour", paths=["/a", "/b"])
    app = GuardMiddleware(App(), [limit], redis=fresh_redis, clock=lambda: NOW)
    fresh_server.kill()
    assert [(await get(app, path)).status for path in ("/a", "/b", "/a", "/b", "/c")] == [200, 200, 429, 429, 200]
