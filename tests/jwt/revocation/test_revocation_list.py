"""The blacklist from the app's side, on every kind of server: marks, their lives, and what the guard makes of them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, Revocation, RevocationList
from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, public_pem, sign
from tests.redis.tools import server_ms

MARGIN = 600_000  # ms; marks are kept this much longer than the tokens


async def ttl_of(redis: RedisManager, jti: str | bytes, issuer: str = "") -> int:
    return int(await redis.execute("PTTL", redis.keys.token(issuer, jti)))


def stack(redis: RedisManager, now: float = NOW, *, key: Any = SECRET, **options: Any) -> GuardMiddleware:
    return GuardMiddleware(App(), [JWTAuth(key, **options)], redis=redis, clock=lambda: now)


async def test_a_revoked_token_is_refused_and_others_are_not(redis: RedisManager, revocations: RevocationList) -> None:
    app = stack(redis)
    assert await revocations.revoke("t-1", ttl=60) is True
    response = await get(app, headers=bearer(sign()))
    assert response.status == 401
    assert response["www-authenticate"] == (
        'Bearer realm="api", error="invalid_token", error_description="The access token was revoked"'
    )
    assert (await get(app, headers=bearer(sign(jti="t-2")))).status == 200
    assert (await revocations.is_revoked("t-1"), await revocations.is_revoked("t-2")) == (True, False)


FORMS: dict[str, Callable[[float], dict[str, Any]]] = {
    "seconds": lambda now: {"expires_at": now + 100},
    "datetime": lambda now: {"expires_at": datetime.fromtimestamp(now + 100, UTC)},
    "datetime elsewhere": lambda now: {"expires_at": datetime.fromtimestamp(now + 100, timezone(timedelta(hours=-9)))},
    "ttl": lambda now: {"ttl": 100},
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_mark_lives_as_long_as_its_token_and_the_margin(
    redis: RedisManager, revocations: RevocationList, form: str
) -> None:
    """No less and no more, but for whole milliseconds; what passes while it is set and looked at is measured.

    That counts twice: the life is reckoned by the script's `TIME`, and may begin when the script did (`memory://`).
    """
    await revocations.revoke("warm-up", ttl=1)  # the first script takes longest, and the less passes the more is seen
    before = await server_ms(redis)
    await revocations.revoke("t", **FORMS[form](before / 1000))
    left, after = await ttl_of(redis, "t"), await server_ms(redis)
    whole = 100_000 + MARGIN
    assert whole - 2 * (after - before) - 2 <= left <= whole + 2


@pytest.mark.parametrize("form", FORMS)
async def test_a_mark_lives_that_long_to_the_millisecond(
    manager: RedisManager, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """By a clock that stands still, which only the store within this process can be given."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert await server_ms(manager) == NOW * 1000
    await RevocationList(manager).revoke("t", **FORMS[form](NOW))
    assert await ttl_of(manager, "t") == 100_000 + MARGIN


async def test_without_an_end_a_mark_lives_as_long_as_any_token_may(redis: RedisManager) -> None:
    revocations = RevocationList(redis, max_lifetime=1000)
    await revocations.revoke("t")
    assert 900_000 + MARGIN < await ttl_of(redis, "t") <= 1_000_000 + MARGIN


async def test_a_token_that_says_its_end_keeps_its_mark_until_then(redis: RedisManager) -> None:
    """Also beyond the longest life: a token without `iat` is accepted once what is left of it is short enough."""
    revocations = RevocationList(redis, max_lifetime=1000)
    await revocations.revoke("t", ttl=50_000)
    assert await ttl_of(redis, "t") > 49_000_000


async def test_a_token_past_its_end_gets_no_mark_once_nobody_can_accept_it(
    redis: RedisManager, revocations: RevocationList
) -> None:
    now = await server_ms(redis) / 1000
    for jti, end in (("old", now - 601), ("older", 0), ("oldest", -5)):
        assert await revocations.revoke(jti, end) is False
        assert not await revocations.is_revoked(jti)
    assert await revocations.revoke("lenient", now - 300) is True
    assert 0 < await ttl_of(redis, "lenient") <= MARGIN - 290_000


@pytest.mark.parametrize("ttl", [0.5, 0.001, 0.0001, 0, -1])
async def test_no_ttl_rounds_down_to_nothing_or_up_to_for_ever(
    redis: RedisManager, revocations: RevocationList, ttl: float
) -> None:
    assert await revocations.revoke("t", ttl=ttl)
    assert 0 < await ttl_of(redis, "t") <= MARGIN + 1000 * max(0, ttl) + 1


async def test_every_key_of_the_blacklist_has_an_end(redis: RedisManager, revocations: RevocationList) -> None:
    await revocations.revoke("a", ttl=5)
    await revocations.revoke("b")
    await revocations.revoke_user("alice")
    await revocations.revoke_user("bob", before=1.0)
    await revocations.unrevoke("a")
    await revocations.unrevoke("never")
    keys = await redis.execute("KEYS", "*")
    assert len(keys) == 5
    for key in keys:
        assert 0 < await redis.execute("PTTL", key) <= 31 * 86_400_000 + MARGIN


async def test_revoking_twice_keeps_the_longer_life(redis: RedisManager, revocations: RevocationList) -> None:
    assert await revocations.revoke("t", ttl=100) is True
    assert await revocations.revoke("t", ttl=50_000) is False
    assert await ttl_of(redis, "t") > 49_000_000
    assert await revocations.revoke("t", ttl=1) is False
    assert await ttl_of(redis, "t") > 49_000_000


async def test_a_revocation_can_be_taken_back(redis: RedisManager, revocations: RevocationList) -> None:
    await revocations.revoke("t-1", ttl=60)
    assert await revocations.unrevoke("t-1") is True
    assert await revocations.unrevoke("t-1") is False
    assert (await get(stack(redis), headers=bearer(sign()))).status == 200


async def test_user_and_reason_are_kept_with_the_mark(redis: RedisManager, revocations: RevocationList) -> None:
    await revocations.revoke("t", ttl=5, user="älice", reason="stolen")
    await revocations.revoke("u", ttl=5)
    assert await redis.get_json(redis.keys.token("", "t").decode()) == {"user": "älice", "reason": "stolen"}
    assert await redis.execute("GET", redis.keys.token("", "u")) == b""


async def test_ten_thousand_are_revoked_at_once(redis: RedisManager, revocations: RevocationList) -> None:
    many = [Revocation(f"t-{number}", ttl=60) for number in range(9_990)]
    assert (
        await revocations.revoke_many([*many, *(f"plain-{number}" for number in range(10)), many[0], "plain-1"])
        == 10_000
    )
    assert (await revocations.stats())["revoked"] == 10_000
    assert await revocations.is_revoked("t-4999")
    assert await revocations.is_revoked("t-9989")
    assert await revocations.is_revoked("plain-9")
    assert await revocations.revoke_many([]) == 0


async def test_many_are_revoked_in_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=10) as manager:
        revocations = RevocationList(manager)
        await revocations.revoke_many(["warm-up"])
        counter.reset()
        await revocations.revoke_many([f"t-{number}" for number in range(5_000)])
        assert (counter.round_trips, counter.commands) == (1, [b"EVALSHA"])


NASTY: list[str | bytes] = [
    "a",
    b"a",
    "a\x00",
    "\x00",
    "{a}",
    "a:b",
    "*",
    "\r\n",
    "é",
    "e\u0301",
    "x" * 10_000,
    b"\xff" * 32,
    " ",
]


async def test_any_name_of_a_token_is_its_own(redis: RedisManager, revocations: RevocationList) -> None:
    for jti in NASTY:
        assert await revocations.revoke(jti, ttl=60) is True
        assert await revocations.is_revoked(jti)
    for jti in NASTY:
        assert await revocations.unrevoke(jti) is True
        assert not await revocations.is_revoked(jti)


async def test_issuers_do_not_share_their_tokens_and_users(redis: RedisManager) -> None:
    revocations = RevocationList(redis, by_issuer=True)
    app = stack(redis, issuer=["a", "b"])
    await revocations.revoke("t-1", ttl=60, issuer="a")
    await revocations.revoke_user("bob", before=NOW, issuer="b")
    answers = {
        (iss, sub): (
            await get(app, headers=bearer(sign(iss=iss, sub=sub, jti="t-1" if sub == "alice" else "t-2")))
        ).status
        for iss in "ab"
        for sub in ("alice", "bob")
    }
    assert answers == {("a", "alice"): 401, ("a", "bob"): 200, ("b", "alice"): 200, ("b", "bob"): 401}


async def test_an_issuer_and_a_jti_are_not_mixed_up(redis: RedisManager, revocations: RevocationList) -> None:
    by_issuer = RevocationList(redis, by_issuer=True)
    await by_issuer.revoke("bc", ttl=60, issuer="a")
    assert not await by_issuer.is_revoked("c", issuer="ab")
    assert not await by_issuer.is_revoked("bc", issuer="")
    assert not await revocations.is_revoked("abc")
    assert not await revocations.is_revoked("bc")


async def test_an_issuer_where_none_is_looked_for_is_an_error_and_so_is_none_where_one_is(redis: RedisManager) -> None:
    with pytest.raises(ValueError, match="issuer is given"):
        await RevocationList(redis).revoke("t", ttl=60, issuer="a")
    with pytest.raises(ValueError, match="issuer is missing"):
        await RevocationList(redis, by_issuer=True).revoke_user("ann")


@pytest.mark.parametrize("jti", ["t-1", None, ""])
async def test_logging_out_revokes_the_token_that_came(redis: RedisManager, jti: str | None) -> None:
    revocations = RevocationList(redis, by_issuer=True)
    now = await server_ms(redis) / 1000
    app = stack(redis, now, issuer=["x", "y"])
    token, twin, other = (
        sign(jti=jti, sub=sub, iss=iss, iat=now - 1, exp=now + 60) for sub, iss in (("a", "x"), ("b", "x"), ("a", "y"))
    )
    assert (await get(app, headers=bearer(token))).status == 200
    user = app.app.scope["user"]  # type: ignore[attr-defined]
    assert await revocations.revoke_token(user, reason="log-out") is True
    assert await revocations.revoke_token(user) is False
    assert (await get(app, headers=bearer(token))).status == 401
    assert (await get(app, headers=bearer(twin))).status == (401 if jti else 200), "the same jti is the same token"
    assert (await get(app, headers=bearer(other))).status == 200


async def test_logging_out_with_a_token_that_is_long_over_does_nothing(
    redis: RedisManager, revocations: RevocationList
) -> None:
    app = stack(redis, leeway=600)
    assert (await get(app, headers=bearer(sign()))).status == 200, "by a clock that has stood still since 2023"
    assert await revocations.revoke_token(app.app.scope["user"]) is False  # type: ignore[attr-defined]
    assert await redis.execute("DBSIZE") == 0


async def test_a_token_without_jti_is_known_under_every_signature_of_it(
    redis: RedisManager, revocations: RevocationList
) -> None:
    app = stack(redis, key=public_pem("p256"))
    one, two = (sign(algorithm="ES256", jti=None) for _ in range(2))
    assert one != two
    assert (await get(app, headers=bearer(one))).status == 200
    await revocations.revoke(app.app.scope["user"].revocation_id[1], ttl=60)  # type: ignore[attr-defined]
    assert [(await get(app, headers=bearer(token))).status for token in (one, two)] == [401, 401]


def test_a_revocation_that_says_too_much_or_nothing_is_refused() -> None:
    for wrong in ({"jti": ""}, {"jti": b""}, {"jti": "a", "expires_at": 1, "ttl": 1}):
        with pytest.raises(ValueError):
            Revocation(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        Revocation("a", datetime(2030, 1, 1))


@pytest.mark.parametrize("lifetime", [0, -1, float("nan"), float("inf"), 0.0001, 1e12])
def test_a_longest_life_that_is_none_is_refused(lifetime: float) -> None:
    with pytest.raises(ConfigurationError, match="max_lifetime"):
        RevocationList(RedisManager("memory://"), max_lifetime=lifetime)
    with pytest.raises(ConfigurationError, match="max_lifetime"):
        JWTAuth(SECRET, max_lifetime=lifetime)


async def test_ids_alone_are_revoked_as_revocations_are(redis: RedisManager) -> None:
    revocations, by_issuer = RevocationList(redis), RevocationList(redis, by_issuer=True)
    assert await revocations.revoke_many(["a", Revocation("b"), "a"]) == 2
    lives = [await ttl_of(redis, name) for name in ("a", "b")]
    assert abs(lives[0] - lives[1]) < 3_600_000, "of thirty days"
    assert await redis.execute("GET", redis.keys.token("", "a")) == b""
    with pytest.raises(ValueError, match="empty"):
        await revocations.revoke_many(["c", ""])
    with pytest.raises(ValueError, match="issuer is missing"):
        await by_issuer.revoke_many(["c"])
    assert not await revocations.is_revoked("c")
