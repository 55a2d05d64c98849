"""Limits the whole way, from a request to each kind of server and back, by the server's own clock."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.ratelimit.structured import parse_list

ALGORITHMS: list[Any] = ["gcra", "fixed", "log"]


def stack(manager: RedisManager, *guards: Any) -> GuardMiddleware:
    return GuardMiddleware(App(), guards, redis=manager, clock=lambda: NOW)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_so_many_get_through_and_every_key_has_an_end(manager: RedisManager, algorithm: Any) -> None:
    app = stack(manager, RateLimit("5/hour", "7/day", algorithm=algorithm))
    for count in range(8):
        assert (await get(app)).status == (200 if count < 5 else 429)
        keys = await manager.execute("KEYS", "*")
        assert len(keys) == 2
        for key in keys:
            most = 3_600_000 if b".3600:" in key else 86_400_000
            assert 0 < await manager.execute("PTTL", key) <= most


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_shortest_of_limits_leaves_no_key_for_ever(manager: RedisManager, algorithm: Any) -> None:
    for notation in ("1/second", "1000000/second") if algorithm != "log" else ("1/second", "10000/second"):
        app = stack(manager, RateLimit(notation, algorithm=algorithm, name=notation))
        await get(app)
        for key in await manager.execute("KEYS", "*"):
            assert await manager.execute("PTTL", key) <= 1000
            assert await manager.execute("PTTL", key) != -1


async def test_many_tasks_at_once_get_exactly_what_the_limits_allow(manager: RedisManager) -> None:
    limits = [RateLimit("30/day", algorithm=algorithm, name=algorithm) for algorithm in ALGORITHMS]
    app = stack(manager, RateLimit("29/day", name="outer"), *limits)
    responses = await asyncio.gather(*(get(app) for _ in range(100)))
    statuses = [response.status for response in responses]
    assert (statuses.count(200), statuses.count(429)) == (29, 71)
    left = sorted(
        dict(parse_list(response["ratelimit"]))["outer"]["r"] for response in responses if response.status == 200
    )
    assert left == list(range(29)), "each was told a number of its own"


async def test_a_whole_stack_means_the_same_everywhere(manager: RedisManager) -> None:
    """Outer limit, token with blacklist, two inner limits: who refuses, who has counted, what is told."""
    inner = RateLimit("3/hour", "9/day", key="user", algorithm="fixed", name="user")
    app = stack(manager, RateLimit("9/hour", algorithm="log", name="address"), JWTAuth(SECRET), inner)
    revocations = RevocationList(manager)
    await revocations.revoke("gone", ttl=60)
    await revocations.revoke_user("mallory", before=NOW)
    story = [
        (sign(), 200, {"address": 8, "user-hour": 2, "user-day": 8}),
        (sign(jti="gone"), 401, {"address": 7}),
        (sign(sub="mallory"), 401, {"address": 6}),
        (b"garbage", 401, {"address": 5}),
        (sign(), 200, {"address": 4, "user-hour": 1, "user-day": 7}),
        (sign(sub="bob"), 200, {"address": 3, "user-hour": 2, "user-day": 8}),
        (sign(), 200, {"address": 2, "user-hour": 0, "user-day": 6}),
        (sign(), 429, {"address": 2, "user-hour": 0}),
        (sign(jti="gone"), 401, {"address": 1}),
        (sign(sub="bob"), 200, {"address": 0, "user-hour": 1, "user-day": 7}),
        (sign(sub="bob"), 429, {"address": 0}),
    ]
    for token, status, left in story:
        response = await get(app, headers=bearer(token))
        assert (response.status, {name: state["r"] for name, state in parse_list(response["ratelimit"])}) == (
            status,
            left,
        )


async def test_a_server_that_has_forgotten_its_scripts_is_given_them_again(manager: RedisManager) -> None:
    app = stack(manager, JWTAuth(SECRET), RateLimit("3/hour", algorithm="fixed"))
    revocations = RevocationList(manager)
    for left in (2, 1, 0):
        await manager.execute("SCRIPT", "FLUSH")
        response = await get(app, headers=bearer(sign()))
        assert parse_list(response["ratelimit"])[0][1]["r"] == left
        await manager.execute("SCRIPT", "FLUSH")
        assert await revocations.revoke(f"other-{left}", ttl=60) is True
