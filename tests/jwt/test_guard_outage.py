"""The blacklist while Redis is away: closed unless the app says otherwise, and back by itself."""

import pytest

from asgi_redis_guard import Decision, GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList
from asgi_redis_guard.errors import OperationFailed
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.redis.tools import until_back
from tests.servers import Server


async def test_closed_answers_503_while_the_server_is_away_and_no_longer(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    seen: list[Decision] = []
    inner = App()
    app = GuardMiddleware(inner, [JWTAuth(SECRET)], redis=fresh_redis, hooks=[seen.append], clock=lambda: NOW)
    assert (await get(app, headers=bearer(sign()))).status == 200
    fresh_server.kill()
    for _ in range(10):
        response = await get(app, headers=bearer(sign()))
        assert response.status == 503
        assert int(response["retry-after"]) >= 1
        assert response["content-type"] == "application/problem+json"
    assert len(inner.scopes) == 1
    assert (await get(app, headers=bearer(sign(which=1)))).status == 401, "what fails locally needs no Redis"
    assert (await get(app)).status == 401
    fresh_server.start()
    await until_back(fresh_redis)
    assert (await get(app, headers=bearer(sign()))).status == 200
    assert [event.degraded for event in seen] == [False, *[True] * 10, False, False, False]
    assert {event.reason for event in seen if event.status == 503} == {"unavailable"}


async def test_open_lets_verified_tokens_pass_and_no_others(fresh_redis: RedisManager, fresh_server: Server) -> None:
    inner = App()
    app = GuardMiddleware(inner, [JWTAuth(SECRET, on_outage="open")], redis=fresh_redis, clock=lambda: NOW)
    revocations = RevocationList(fresh_redis)
    await revocations.revoke("t-1", ttl=60)
    assert (await get(app, headers=bearer(sign()))).status == 401
    fresh_server.kill()
    assert (await get(app, headers=bearer(sign()))).status == 200
    assert inner.scope["user"].identity == "alice"
    assert (await get(app, headers=bearer(sign(which=1)))).status == 401
    assert (await get(app, headers=bearer(sign(exp=NOW)))).status == 401


async def test_a_closed_blacklist_keeps_the_guards_behind_it_from_counting(fresh_redis: RedisManager) -> None:
    """The blacklist's own key is spoiled, Redis is there: it refuses, and the limit behind it has not counted."""
    guards = [JWTAuth(SECRET), RateLimit("3/hour", key="user")]
    app = GuardMiddleware(App(), guards, redis=fresh_redis, clock=lambda: NOW)
    cutoff = fresh_redis.keys.user("", "alice")
    await fresh_redis.execute("LPUSH", cutoff, "not a string")
    for _ in range(5):
        assert (await get(app, headers=bearer(sign()))).status == 503
    await fresh_redis.execute("DEL", cutoff)
    assert [(await get(app, headers=bearer(sign()))).status for _ in range(4)] == [200, 200, 200, 429]


async def test_a_revocation_that_was_not_stored_says_so(fresh_redis: RedisManager, fresh_server: Server) -> None:
    from asgi_redis_guard import RedisUnavailable

    fresh_server.kill()
    revocations = RevocationList(fresh_redis)
    for call in (
        revocations.revoke("t", ttl=1),
        revocations.is_revoked("t"),
        revocations.unrevoke("t"),
        revocations.revoke_user("alice"),
        revocations.stats(),
    ):
        with pytest.raises(RedisUnavailable):
            await call


async def test_a_full_server_takes_revocations_all_the_same(fresh_redis: RedisManager, fresh_server: Server) -> None:
    fresh_server.command("CONFIG", "SET", "maxmemory", "1")
    revocations = RevocationList(fresh_redis)
    with pytest.raises(OperationFailed, match="OOM"):
        await fresh_redis.execute("SET", "anything", "else")
    assert await revocations.revoke("t", ttl=60)
    assert await revocations.is_revoked("t")
    assert await revocations.revoke_user("alice") > 0
