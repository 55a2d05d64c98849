"""`TokenService.guard()`: what the service revokes, requests notice: from Redis, or from a mirror without asking it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from asgi_redis_guard.errors import ConfigurationError, RefreshRefused, TokenRevoked
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from asgi_redis_guard.jwt.signing import KeyRing, SigningKey
from tests.drive import App, get
from tests.jwt.revocation.test_mirror import another, mirror_of, rounds_of
from tests.jwt.services import ISSUER, Clock, service
from tests.jwt.tokens import OTHER_SECRET, SECRET, bearer, claims, private_pem, sign
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import eventually, within
from tests.servers import Server

__all__ = ["nothing_is_left_running"]


def guarded(tokens: TokenService, redis: RedisManager, **options: Any) -> GuardMiddleware:
    return GuardMiddleware(App(), [tokens.guard(**options)], redis=redis)


async def status(app: GuardMiddleware, pair: TokenPair) -> int:
    return (await get(app, headers=bearer(pair.access_token.encode()))).status


@pytest.fixture(params=["remote", "mirror"])
async def tokens(request: Any, redis: RedisManager) -> TokenService:
    """A service whose list asks Redis, and one whose list is a mirror."""
    revocation = RevocationList(redis, mode=request.param)
    if request.param == "mirror":
        await within(revocation.mirrored())
    return service(redis, revocation=revocation, grace=0.0)


async def _reuse(tokens: TokenService, pair: TokenPair) -> None:
    await tokens.refresh(pair.refresh_token)
    with pytest.raises(RefreshRefused, match="used before"):
        await tokens.refresh(pair.refresh_token)


ENDS: dict[str, Callable[[TokenService, TokenPair], Awaitable[object]]] = {
    "access token": lambda tokens, pair: tokens.revoke(pair.access_token),
    "refresh token": lambda tokens, pair: tokens.revoke(pair.refresh_token),
    "jti": lambda tokens, pair: tokens.revoke_id(pair.token_id, pair.expires_at),
    "family": lambda tokens, pair: tokens.revoke_family(pair.family),
    "user": lambda tokens, pair: tokens.revoke_user("alice"),
    "device": lambda tokens, pair: tokens.revoke_device("alice", "phone"),
    "session": lambda tokens, pair: tokens.revoke_session("alice", "s1"),
    "others": lambda tokens, pair: tokens.revoke_others("alice", "x" * 22),
    "everybody": lambda tokens, pair: tokens.revoke_all_before(),
    "cutoff": lambda tokens, pair: tokens.revocation.revoke_user("alice"),
    "reuse": _reuse,
}


@pytest.mark.parametrize("how", ENDS)
async def test_what_was_revoked_is_refused_at_once_by_the_guard_and_by_the_service(
    redis: RedisManager, tokens: TokenService, how: str
) -> None:
    app = guarded(tokens, redis)
    pair = await tokens.issue("alice", device="phone", session="s1")
    bob = await tokens.issue("bob", device="phone", session="s1")
    assert (await status(app, pair), await status(app, bob)) == (200, 200)
    await ENDS[how](tokens, pair)
    assert await status(app, pair) == 401
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)
    assert await status(app, bob) == (401 if how == "everybody" else 200)


async def test_a_login_in_the_same_moment_as_the_log_out_everywhere_is_good(
    redis: RedisManager, tokens: TokenService
) -> None:
    app = guarded(tokens, redis)
    for _ in range(5):
        before = await tokens.issue("alice")
        await tokens.revoke_user("alice")
        after = await tokens.issue("alice")
        assert (await status(app, before), await status(app, after)) == (401, 200)
        assert await status(app, await tokens.refresh(after.refresh_token)) == 200


async def test_with_a_mirror_neither_the_guard_nor_the_service_asks_redis(redis: RedisManager) -> None:
    revocation = RevocationList(redis, mode="mirror")
    await within(revocation.mirrored())
    tokens = service(redis, revocation=revocation)
    app, good, bad = guarded(tokens, redis), await tokens.issue("alice"), await tokens.issue("alice")
    await tokens.revoke_family(bad.family)
    await status(app, good)
    with rounds_of(redis) as asked:
        assert (await status(app, good), await status(app, bad)) == (200, 401)
        assert (await tokens.verify(good.access_token)).user == "alice"
        with pytest.raises(TokenRevoked):
            await tokens.verify(bad.access_token)
    assert asked == []


async def test_the_guard_has_the_keys_that_the_service_has_at_the_time(redis: RedisManager) -> None:
    old, new = SigningKey(SECRET, kid="1"), SigningKey(OTHER_SECRET, kid="2")
    tokens = service(redis, keys=old)
    app, first = guarded(tokens, redis), await tokens.issue("alice")
    tokens.use_keys(KeyRing(new, old))
    second = await tokens.issue("alice")
    assert (await status(app, first), await status(app, second)) == (200, 200)
    tokens.use_keys(new)
    assert (await status(app, first), await status(app, second)) == (401, 200)
    assert app.guards[0].verifier.algorithms == ("HS256",)  # type: ignore[attr-defined]


async def test_the_guard_takes_tokens_of_this_service_alone(redis: RedisManager) -> None:
    app = guarded(service(redis, audience="api"), redis)
    others = [
        service(redis, audience="another"),
        service(redis, issuer="https://another.example", audience="api"),
        service(redis, keys=OTHER_SECRET, audience="api"),
    ]
    assert [await status(app, await other.issue("alice")) for other in others] == [401] * 3
    own = sign(claims(iss=ISSUER, aud="api", iat=None, exp=4e9))
    assert (await get(app, headers=bearer(own))).status == 401, "not of the type at+jwt"
    assert await status(app, await service(redis, audience="api").issue("alice")) == 200


async def test_options_of_the_guard_are_those_of_jwt_auth(redis: RedisManager) -> None:
    tokens = service(redis)
    app = guarded(tokens, redis, scopes="admin", cookie="access", exempt=["/open"])
    assert await status(app, await tokens.issue("alice")) == 403
    admin = await tokens.issue("alice", scopes="admin")
    assert (await get(app, headers={"cookie": f"access={admin.access_token}"})).status == 200
    assert (await get(app, "/open")).status == 200
    with pytest.raises(ConfigurationError, match="key"):
        tokens.guard(key=SECRET)
    with pytest.raises(ConfigurationError, match="several issuers"):
        service(redis, by_issuer=True).guard()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"max_lifetime": 60.0}, "revocation: max_lifetime is 60; allowed is access_ttl or more"),
        ({"by_issuer": True}, "revocation: by_issuer is True; that of the service is False"),
    ],
)
async def test_a_list_that_would_not_cover_the_tokens_is_refused(
    redis: RedisManager, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        service(redis, revocation=RevocationList(redis, **options))
    async with RedisManager("memory://") as other:
        with pytest.raises(ConfigurationError, match="a list of another Redis"):
            service(redis, revocation=RevocationList(other))


@pytest.mark.parametrize(
    ("family", "generation"),
    [
        *((family, 1) for family in (7, "", None, ["x"], "é" * 300)),
        *(("a family of somebody's own kind", generation) for generation in (None, 0, -1, 1.5, "7", True, 1 << 80)),
    ],
)
async def test_claims_of_others_that_are_called_the_same_do_no_harm(
    redis: RedisManager, family: Any, generation: Any
) -> None:
    app = GuardMiddleware(App(), [JWTAuth(SECRET)], redis=redis, clock=lambda: 1_700_000_000.0)
    token = sign(claims(fam=family, gen=generation))
    assert (await get(app, headers=bearer(token))).status == 200


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "PS256"])
async def test_asymmetric_keys_serve_the_guard_as_well(redis: RedisManager, algorithm: str) -> None:
    kind = {"EdDSA": "ed25519", "ES256": "p256"}.get(algorithm, "rsa")
    tokens = service(redis, keys=SigningKey(private_pem(kind), algorithm=algorithm))
    assert await status(guarded(tokens, redis), await tokens.issue("alice")) == 200


@pytest.mark.parametrize("ahead", [-60.0, -8.0, 8.0, 60.0])
async def test_a_token_of_a_host_whose_clock_is_off_is_not_from_the_future(redis: RedisManager, ahead: float) -> None:
    clock = Clock()
    clock.ahead = ahead
    assert await status(guarded(service(redis), redis), await service(redis, clock=clock).issue("alice")) == 200


async def test_an_ended_login_and_a_generation_survive_a_server_that_comes_back_empty(
    make_server: Callable[..., Server],
) -> None:
    """Mirrors write back what they know, so that guards that ask Redis refuse it as well; new logins are good."""
    server = make_server("valkey9")
    async with another(server.url, max_stale=0.4) as (manager, revocation):
        tokens = service(manager, revocation=revocation)
        ended, carol = await tokens.issue("alice"), await tokens.issue("carol")
        everywhere = await tokens.issue("bob")
        await tokens.revoke_family(ended.family)
        await tokens.revoke_user("bob")
        for pair in (ended, everywhere):
            await eventually(lambda: mirror_of(revocation).fresh)
            with pytest.raises(TokenRevoked):
                await tokens.verify(pair.access_token)
        server.command("FLUSHALL")
        await eventually(lambda: mirror_of(revocation).status()["written_back"] == 2)
        async with RedisManager(server.url) as elsewhere:
            app = guarded(service(elsewhere), elsewhere)
            assert [await status(app, pair) for pair in (ended, everywhere, carol)] == [401, 401, 200]
            assert await status(app, await tokens.issue("bob")) == 200
            assert await status(app, await tokens.issue("alice")) == 200
