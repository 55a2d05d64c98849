"""What a token service revokes, on every kind of server: what ends, what does not, and what is recorded."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, RevocationList
from asgi_redis_guard.errors import RefreshRefused, TokenInvalid, TokenRevoked
from asgi_redis_guard.jwt.revocation.revocation_list import Revocation
from asgi_redis_guard.jwt.service.access import AccessTokens
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.jwt.conftest import CountingManager
from tests.jwt.service.test_access import GRANT
from tests.jwt.services import ISSUER, Clock, service


async def is_good(tokens: TokenService, pair: TokenPair) -> tuple[bool, bool]:
    """Whether the access token is accepted, and whether the refresh token gives another."""
    accepted, (refreshed,) = True, await asyncio.gather(tokens.refresh(pair.refresh_token), return_exceptions=True)
    try:
        await tokens.verify(pair.access_token)
    except TokenRevoked:
        accepted = False
    if not isinstance(refreshed, TokenPair):
        assert getattr(refreshed, "reason", refreshed) == "revoked"
    return accepted, isinstance(refreshed, TokenPair)


async def test_an_access_token_is_revoked_alone(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    for form in (pair.access_token, pair.access_token.encode()):
        assert await tokens.revoke(form) is (form is pair.access_token)
    assert await is_good(tokens, pair) == (False, True)
    other = await tokens.issue("alice")
    assert await tokens.revoke(await tokens.verify(other.access_token)) is True
    assert await is_good(tokens, other) == (False, True)


async def test_all_answers_to_one_refresh_are_revoked_together(redis: RedisManager) -> None:
    tokens = service(redis)
    first = await tokens.issue("alice")
    pairs = [await tokens.refresh(first.refresh_token) for _ in range(3)]
    await tokens.revoke(pairs[0].access_token)
    for pair in pairs:
        with pytest.raises(TokenRevoked):
            await tokens.verify(pair.access_token)
    assert (await tokens.verify(first.access_token)).user == "alice"


async def test_a_refresh_token_is_revoked_with_its_family_and_its_access_tokens(redis: RedisManager) -> None:
    tokens = service(redis)
    first = await tokens.issue("alice")
    second, other = await tokens.refresh(first.refresh_token), await tokens.issue("alice")
    assert await tokens.revoke(first.refresh_token) is True
    assert await tokens.revoke(second.refresh_token) is False
    assert await is_good(tokens, first) == await is_good(tokens, second) == (False, False)
    assert await is_good(tokens, other) == (True, True)


async def test_what_is_over_or_not_ours_needs_no_revocation(redis: RedisManager) -> None:
    tokens, now = service(redis), int(time.time())
    over = replace(GRANT, issued_at=now - 5000, auth_time=now - 5000, expires_at=now - 601)
    ended = AccessTokens(tokens.keys, ISSUER, (ISSUER,)).write(over)
    for token in (ended, "garbage", "", "a.b.c", "rt1." + "x" * 22 + ".1." + "y" * 27, b"a.\xff.c"):
        assert await tokens.revoke(token) is False
    assert (await tokens.statistics())["revoked"]["revoked"] == 0


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 3600.0])
async def test_a_token_that_a_more_lenient_verifier_might_accept_can_be_revoked(
    redis: RedisManager, ahead: float
) -> None:
    clock = Clock()
    tokens = service(redis, clock=clock)
    pair = await tokens.issue("alice")
    clock.ahead = ahead  # by this host's clock it is over, or not issued yet
    assert await tokens.revoke(pair.access_token) is True
    with pytest.raises(TokenRevoked):
        await service(redis).verify(pair.access_token)


async def test_a_token_may_be_revoked_by_its_name(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    assert await tokens.revoke_id(pair.token_id, pair.expires_at) is True
    assert await tokens.revoke_id(pair.token_id) is False
    assert await is_good(tokens, pair) == (False, True)


async def test_many_are_revoked_in_one_round_trip(redis: RedisManager) -> None:
    tokens = service(redis)
    pairs = [await tokens.issue("alice") for _ in range(5)]
    items = [pairs[0].token_id, Revocation(pairs[1].token_id, pairs[1].expires_at), pairs[2].token_id]
    assert await tokens.revoke_many([*items, pairs[0].token_id]) == 3
    assert [await is_good(tokens, pair) for pair in pairs] == [(False, True)] * 3 + [(True, True)] * 2
    assert await tokens.revoke_many([]) == 0


async def test_a_family_is_ended_by_its_name(redis: RedisManager) -> None:
    tokens = service(redis)
    pair, other = await tokens.issue("alice"), await tokens.issue("alice")
    access = await tokens.verify(pair.access_token)
    assert await tokens.revoke_family(access.family) is True
    assert await tokens.revoke_family(pair.family) is False
    assert await is_good(tokens, pair) == (False, False)
    assert await is_good(tokens, other) == (True, True)


@pytest.mark.parametrize("family", ["", "x", "x" * 23, "{" * 22, "ключ" * 6])
async def test_what_is_no_name_of_a_family_reaches_no_key(manager: CountingManager, family: str) -> None:
    with pytest.raises(ValueError, match="family: "):
        await service(manager).revoke_family(family)
    with pytest.raises(ValueError, match="family: "):
        await service(manager).revoke_others("alice", family)
    assert manager.round_trips == 0


async def test_a_user_is_logged_out_everywhere_and_may_log_in_in_the_same_moment(redis: RedisManager) -> None:
    tokens = service(redis)
    for _ in range(20):  # within a second or two, so that the time of issue alone could not tell
        before = [await tokens.issue("alice"), await tokens.refresh((await tokens.issue("alice")).refresh_token)]
        bob = await tokens.issue("bob")
        assert await tokens.revoke_user("alice") == 3 - (_ == 0)
        after = await tokens.issue("alice")
        assert [await is_good(tokens, pair) for pair in before] == [(False, False)] * 2
        assert await is_good(tokens, after) == await is_good(tokens, bob) == (True, True)


async def test_a_login_that_races_with_a_revocation_is_either_before_or_after_it(redis: RedisManager) -> None:
    tokens = service(redis)
    results = await asyncio.gather(*(tokens.issue("alice") for _ in range(20)), tokens.revoke_user("alice"))
    pairs, ended = results[:20], results[20]
    good = [await is_good(tokens, pair) for pair in pairs]
    assert good.count((False, False)) == ended
    assert good.count((True, True)) == 20 - ended


async def test_devices_sessions_and_all_others_are_ended_apart(redis: RedisManager) -> None:
    tokens = service(redis)
    phone = await tokens.issue("alice", device="phone", session="one")
    tablet = await tokens.issue("alice", device="tablet", session="two")
    laptop = await tokens.issue("alice", device="laptop", session="two")
    strangers = await tokens.issue("bob", device="phone", session="two")
    assert await tokens.revoke_device("alice", "phone") == 1
    assert await tokens.revoke_device("alice", "phone") == await tokens.revoke_device("alice", "watch") == 0
    assert [await is_good(tokens, pair) for pair in (phone, tablet, strangers)] == [(False, False)] + [(True, True)] * 2
    assert await tokens.revoke_others("alice", laptop.family) == 1
    assert [await is_good(tokens, pair) for pair in (tablet, laptop)] == [(False, False), (True, True)]
    assert await tokens.revoke_session("alice", "two") == 1
    assert [await is_good(tokens, pair) for pair in (laptop, strangers)] == [(False, False), (True, True)]


async def test_everybody_is_logged_out_at_once(redis: RedisManager) -> None:
    clock = Clock()
    tokens = service(redis, clock=clock)
    pairs = [await tokens.issue(user) for user in ("alice", "bob")]
    cutoff = await tokens.revoke_all_before()
    assert abs(cutoff - time.time()) < 5
    for pair in pairs:
        with pytest.raises(TokenRevoked):  # before its refresh token is presented, which ends the family
            await tokens.verify(pair.access_token)
    assert [await is_good(tokens, pair) for pair in pairs] == [(False, False)] * 2
    assert await tokens.revoke_all_before(cutoff - 100) == cutoff
    assert await tokens.revoke_all_before(datetime.fromtimestamp(cutoff - 100, UTC)) == cutoff
    with pytest.raises(ValueError, match="time zone"):
        await tokens.revoke_all_before(datetime(2024, 1, 1))
    await asyncio.sleep(int(cutoff) + 1.01 - time.time())  # access tokens count by whole seconds
    assert await is_good(tokens, await tokens.issue("alice")) == (True, True)


@pytest.mark.parametrize("ahead", [-30.0, 30.0])
async def test_a_host_whose_clock_is_wrong_issues_nothing_that_escapes(redis: RedisManager, ahead: float) -> None:
    clock = Clock()
    clock.ahead = ahead
    tokens = service(redis, clock=clock)
    one, all_ = await tokens.issue("alice"), await tokens.issue("bob")
    await tokens.revoke_user("alice")
    assert await is_good(tokens, one) == (False, False)
    assert await is_good(tokens, await tokens.issue("alice")) == (True, True)
    await tokens.revoke_all_before()
    assert await is_good(tokens, all_) == (False, False)


async def test_a_cutoff_of_a_revocation_list_holds_here_too(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    await RevocationList(redis).revoke_user("alice")
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)
    await RevocationList(redis).revoke((bob := await tokens.issue("bob")).token_id)
    with pytest.raises(TokenRevoked):
        await tokens.verify(bob.access_token)


async def test_services_of_several_issuers_know_their_own_users(redis: RedisManager) -> None:
    one, other = service(redis, by_issuer=True), service(redis, issuer="https://other.example", by_issuer=True)
    pairs = [await one.issue("alice"), await other.issue("alice")]
    assert await one.revoke_user("alice") == 1
    assert await is_good(one, pairs[0]) == (False, False)
    assert await is_good(other, pairs[1]) == (True, True)
    pair = await one.issue("alice")
    assert await one.revoke(pair.access_token)
    assert await RevocationList(redis, by_issuer=True).is_revoked(pair.token_id, issuer=ISSUER)
    assert await is_good(one, pair) == (False, True)


async def test_who_revoked_and_why_is_recorded_if_it_is_said(redis: RedisManager) -> None:
    tokens = service(redis)
    said: Any = {"reason": "stolen", "actor": "support:7", "ip": "192.0.2.7"}
    pair = await tokens.issue("alice")
    assert await tokens.revocation_of(pair.token_id) is None
    await tokens.revoke(pair.access_token, **said)
    note = await tokens.revocation_of(pair.token_id) or {}
    assert abs(note.pop("at") - time.time()) < 5
    assert note == {"user": "alice", **said}
    await tokens.revoke_family(pair.family, **said)
    with pytest.raises(RefreshRefused) as caught:
        await tokens.refresh(pair.refresh_token)
    assert abs(caught.value.why.pop("at") - time.time()) < 5
    assert caught.value.why == said
    assert "stolen" not in str(caught.value)


async def test_of_a_plain_revocation_nothing_is_recorded_but_that_it_is_one(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    await tokens.revoke_id(pair.token_id)
    assert await tokens.revocation_of(pair.token_id) == {}
    await redis.execute("SET", redis.keys.token("", "theirs"), "banned!")
    assert await tokens.revocation_of("theirs") == {}


async def test_a_reason_that_is_too_long_is_refused_before_anything_is_ended(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    with pytest.raises(ValueError, match="reason, actor, ip"):
        await tokens.revoke_family(pair.family, reason="x" * 600)
    assert await is_good(tokens, pair) == (True, True)


async def test_statistics_tell_what_was_revoked_and_what_became_of_refresh_tokens(redis: RedisManager) -> None:
    tokens = service(redis, max_replays=1)
    first, _ = await tokens.issue("alice"), await tokens.issue("bob")
    second = await tokens.refresh(first.refresh_token)
    await tokens.refresh(first.refresh_token)
    with pytest.raises(RefreshRefused):
        await tokens.refresh(first.refresh_token)
    await tokens.revoke_id(second.token_id)
    found = await tokens.statistics()
    families = found["families"]
    assert found["revoked"]["revoked"] == 2, "the login that was ended, and the token"
    assert families["alive"] == 1
    counted = {name: sum(families[name].values()) for name in ("begun", "rotated", "replayed", "reused", "ended")}  # type: ignore[literal-required]
    assert counted == {"begun": 2, "rotated": 1, "replayed": 1, "reused": 1, "ended": 1}


async def test_an_expired_token_is_refused_before_redis_is_asked(manager: CountingManager) -> None:
    clock = Clock()
    tokens = service(manager, clock=clock)
    pair = await tokens.issue("alice")
    await asyncio.sleep(0)
    before, clock.ahead = manager.round_trips, 611.0
    with pytest.raises(TokenInvalid, match="expired"):
        await tokens.verify(pair.access_token)
    assert manager.round_trips == before
