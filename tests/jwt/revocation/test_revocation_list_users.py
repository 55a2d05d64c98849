"""Every token of a user at once, on every kind of server: a cutoff by the server's clock."""

from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign

MARGIN = 600_000


async def server_now(redis: RedisManager) -> float:
    seconds, micros = await redis.execute("TIME")
    return int(seconds) + int(micros) / 1e6


async def accepted(redis: RedisManager, now: float, **claims: Any) -> bool:
    """Whether a token is accepted by a guard whose clock says `now`."""
    app = GuardMiddleware(App(), [JWTAuth(SECRET)], redis=redis, clock=lambda: now)
    status = (await get(app, headers=bearer(sign(**{"exp": now + 60, **claims})))).status
    assert status in (200, 401)
    return status == 200


async def test_the_servers_clock_decides_and_tokens_of_later_are_accepted(
    redis: RedisManager, revocations: RevocationList
) -> None:
    before = await server_now(redis)
    cutoff = await revocations.revoke_user("alice")
    assert before <= cutoff <= await server_now(redis)
    later = cutoff + 10
    for age in (0.0, 0.001, 1, 3600):
        assert not await accepted(redis, later, iat=cutoff - age)
    for age in (0.001, 1, 10):
        assert await accepted(redis, later, iat=cutoff + age)
    assert await accepted(redis, later, iat=cutoff - 1, sub="bob")
    assert await accepted(redis, later, iat=cutoff - 1, sub=None)


async def test_whole_seconds_of_the_same_second_fall_under_the_cutoff(
    redis: RedisManager, revocations: RevocationList
) -> None:
    cutoff = await revocations.revoke_user("alice", before=NOW + 0.5)
    assert cutoff == NOW + 0.5
    assert not await accepted(redis, NOW + 5, iat=int(NOW))
    assert await accepted(redis, NOW + 5, iat=int(NOW) + 1)


async def test_a_token_that_does_not_say_when_it_was_issued_is_refused_with_its_user(
    redis: RedisManager, revocations: RevocationList
) -> None:
    assert await accepted(redis, NOW, iat=None)
    await revocations.revoke_user("alice", before=1.0)
    assert not await accepted(redis, NOW, iat=None)
    assert await accepted(redis, NOW, iat=NOW)


async def test_a_cutoff_is_never_moved_back(redis: RedisManager, revocations: RevocationList) -> None:
    assert await revocations.revoke_user("alice", before=NOW) == NOW
    assert await revocations.revoke_user("alice", before=NOW - 1000) == NOW
    assert await revocations.revoke_user("alice", before=NOW + 1.25) == NOW + 1.25
    now = await revocations.revoke_user("alice")
    assert now > NOW + 1.25
    assert await revocations.revoke_user("alice", before=NOW) == now


async def test_a_cutoff_lives_as_long_as_any_token_that_it_refuses(redis: RedisManager) -> None:
    revocations = RevocationList(redis, max_lifetime=1000)
    key = redis.keys.user("", "alice")
    await revocations.revoke_user("alice", before=NOW)
    assert 990_000 + MARGIN < await redis.execute("PTTL", key) <= 1_000_000 + MARGIN
    ahead = await server_now(redis) + 5000
    await revocations.revoke_user("alice", before=ahead)
    assert 5_990_000 + MARGIN < await redis.execute("PTTL", key) <= 6_000_000 + MARGIN
    assert await revocations.revoke_user("alice") == pytest.approx(ahead, abs=1e-6)
    assert 5_980_000 + MARGIN < await redis.execute("PTTL", key) <= 6_000_000 + MARGIN


@pytest.mark.parametrize("user", ["a" * 10_000, "{x}", "a:b", "\x00", "é", "*"])
async def test_any_name_of_a_user_is_its_own(redis: RedisManager, revocations: RevocationList, user: str) -> None:
    await revocations.revoke_user(user, before=NOW)
    options = {"iat": NOW - 1}
    app = GuardMiddleware(App(), [JWTAuth(SECRET, max_size=65_536)], redis=redis, clock=lambda: NOW)
    statuses = [
        (await get(app, headers=bearer(sign(sub=sub, **options)))).status for sub in (user, user + "x", user[:-1])
    ]
    assert statuses == [401, 200, 200]


async def test_revoking_a_token_and_revoking_its_user_are_two_things(
    redis: RedisManager, revocations: RevocationList
) -> None:
    await revocations.revoke_user("alice", before=NOW)
    assert not await revocations.is_revoked("t-1")
    assert not await revocations.is_revoked("alice")
    assert (await revocations.stats())["revoked"] == 0
    assert await revocations.unrevoke("t-1") is False
    assert not await accepted(redis, NOW)
