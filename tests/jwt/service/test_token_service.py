"""A token service on every kind of server: what a login gives, what a refresh gives, what is verified."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import ConfigurationError, RefreshRefused, TokenInvalid
from asgi_redis_guard.jwt.service.access import RESERVED
from asgi_redis_guard.jwt.service.events import TokenEvent
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.signing import SigningKey
from tests.jwt.conftest import CountingManager
from tests.jwt.services import ISSUER, REFRESH_KEY, Clock, claims_of, header_of, service
from tests.jwt.tokens import OTHER_SECRET, SECRET, private_pem, sign


async def refused(tokens: Any, refresh_token: Any, **options: Any) -> RefreshRefused:
    with pytest.raises(RefreshRefused) as caught:
        await tokens.refresh(refresh_token, **options)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def test_a_login_gives_a_pair_whose_access_token_says_who_it_is_for(redis: RedisManager) -> None:
    before = int(time.time())
    tokens = service(redis, private_pem("ed25519"))
    pair = await tokens.issue(
        "alice", {"roles": ["admin"]}, ["read", "write"], device="phone", session="s-1", client="web"
    )
    claims = claims_of(pair.access_token)
    assert header_of(pair.access_token) == {"alg": "EdDSA", "kid": tokens.keys.active.kid, "typ": "at+jwt"}
    assert before - 1 <= claims["iat"] <= int(time.time())
    assert before + 600 <= claims["exp"] == pair.expires_at <= int(time.time()) + 600
    assert 0 <= claims["iat"] - claims["auth_time"] <= 1
    assert {name: claims[name] for name in ("iss", "sub", "aud", "client_id", "scope", "sid", "dev", "roles")} == {
        "iss": ISSUER,
        "sub": "alice",
        "aud": ISSUER,
        "client_id": "web",
        "scope": "read write",
        "sid": "s-1",
        "dev": "phone",
        "roles": ["admin"],
    }
    assert (claims["jti"], claims["fam"]) == (pair.token_id, pair.family)
    assert (pair.user, pair.scopes, pair.replayed) == ("alice", ("read", "write"), False)
    assert abs(pair.refresh_expires_at - (time.time() + 14 * 86_400)) < 5


async def test_what_is_issued_is_verified(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice", scopes="read", device="phone", session="s-1", client="web")
    for form in (pair.access_token, pair.access_token.encode()):
        access = await tokens.verify(form)
        assert (access.user, access.scopes, access.client) == ("alice", ("read",), "web")
        assert (access.device, access.session, access.family) == ("phone", "s-1", pair.family)
        assert access.token_id == pair.token_id
    assert (await service(redis).verify(pair.access_token)).user == "alice"


async def test_a_login_and_its_refreshes_are_one_family_with_one_time_of_login(redis: RedisManager) -> None:
    tokens = service(redis)
    first = await tokens.issue("alice", {"tenant": 7}, "read", device="phone", session="s-1", client="web")
    second = await tokens.refresh(first.refresh_token)
    third = await service(redis).refresh(second.refresh_token)
    said = [claims_of(pair.access_token) for pair in (first, second, third)]
    same = ("sub", "fam", "gen", "sid", "dev", "client_id", "scope", "auth_time", "tenant")
    assert len({tuple(claims[name] for name in same) for claims in said}) == 1
    assert len({claims["jti"] for claims in said}) == 3
    assert len({pair.refresh_token for pair in (first, second, third)}) == 3
    for pair in (first, second, third):
        assert (await tokens.verify(pair.access_token)).user == "alice"


async def test_fifty_refreshes_of_one_token_at_once_are_one_rotation_with_one_answer(redis: RedisManager) -> None:
    events: list[TokenEvent] = []
    tokens = service(redis, hooks=[events.append])
    first = await tokens.issue("alice")
    pairs = await asyncio.gather(*(tokens.refresh(first.refresh_token) for _ in range(50)))
    assert Counter(pair.replayed for pair in pairs) == {False: 1, True: 49}
    assert len({(pair.refresh_token, pair.token_id, pair.family) for pair in pairs}) == 1
    assert len({claims_of(pair.access_token)["iat"] for pair in pairs}) == 1
    assert Counter(event.kind for event in events) == {"replay": 49}
    assert (await tokens.refresh(pairs[0].refresh_token)).replayed is False


async def test_a_token_that_was_used_before_ends_its_family_and_that_is_told_once(redis: RedisManager) -> None:
    events: list[TokenEvent] = []
    tokens = service(redis, grace=0, hooks=[events.append])
    first = await tokens.issue("alice", device="phone", session="s-1", client="web")
    second = await tokens.refresh(first.refresh_token)
    assert (await refused(tokens, first.refresh_token)).reason == "reused"
    assert (await refused(tokens, first.refresh_token)).reason == "revoked"
    assert (await refused(tokens, second.refresh_token)).reason == "revoked"
    assert events == [TokenEvent("reuse", "alice", first.family, 1, "phone", "s-1", "web")]
    for pair in (first, second):
        with pytest.raises(TokenInvalid, match="was revoked"):
            await tokens.verify(pair.access_token)


async def test_replays_are_capped(redis: RedisManager) -> None:
    tokens = service(redis, max_replays=2)
    first = await tokens.issue("alice")
    assert [(await tokens.refresh(first.refresh_token)).replayed for _ in range(3)] == [False, True, True]
    assert (await refused(tokens, first.refresh_token)).reason == "reused"


async def test_a_refresh_token_ends_with_its_time(redis: RedisManager) -> None:
    tokens = service(redis, access_ttl=1, leeway=0, refresh_ttl=1, grace=0, lifetime=1)
    pair = await tokens.issue("alice")
    assert pair.refresh_expires_at <= time.time() + 1
    await asyncio.sleep(1.1)  # the server's clock, which nobody can move here
    error = await refused(tokens, pair.refresh_token)
    assert (error.reason, error.error) == ("unknown", "invalid_grant")
    with pytest.raises(TokenInvalid, match="expired"):
        await tokens.verify(pair.access_token)


async def test_no_access_token_outlives_its_family(redis: RedisManager) -> None:
    tokens = service(redis, access_ttl=600, refresh_ttl=700, lifetime=700)
    first = await tokens.issue("alice")
    later = service(redis, access_ttl=600, refresh_ttl=700, lifetime=700)
    late = await later.refresh(first.refresh_token)
    assert late.expires_at <= first.refresh_expires_at + 1
    short = service(redis, access_ttl=600, leeway=0, refresh_ttl=600, lifetime=600)
    assert (await short.refresh(late.refresh_token)).expires_at <= first.refresh_expires_at - 99


@pytest.mark.parametrize("garbage", ["", "rt1.x.1.y", "a.b.c", "ключ", b"\xff" * 100, "x" * 100_000])
async def test_garbage_costs_no_round_trip(manager: CountingManager, garbage: Any) -> None:
    tokens = service(manager)
    assert (await refused(tokens, garbage)).reason == "malformed"
    with pytest.raises(TokenInvalid):
        await tokens.verify(garbage)
    assert await tokens.revoke(garbage) is False
    assert manager.round_trips == 0


async def test_tokens_of_others_cost_no_round_trip(manager: CountingManager) -> None:
    tokens, others = service(manager), service(manager, OTHER_SECRET, refresh_keys=REFRESH_KEY[::-1])
    elsewhere = service(manager, issuer="https://elsewhere.example")
    pairs = [await others.issue("alice"), await elsewhere.issue("alice")]
    before = manager.round_trips
    for pair in pairs:
        assert (await refused(tokens, pair.refresh_token)).reason == "malformed"
        with pytest.raises(TokenInvalid):
            await tokens.verify(pair.access_token)
    with pytest.raises(TokenInvalid):  # a token of ours for something else
        await tokens.verify(sign(iss=ISSUER, aud=ISSUER, header={"typ": "JWT"}))
    assert manager.round_trips == before


async def test_issuing_refreshing_and_verifying_take_one_round_trip_each(manager: CountingManager) -> None:
    tokens = service(manager)
    counted = []
    pair = await tokens.issue("alice")
    counted.append(await settled(manager))
    pair = await tokens.refresh(pair.refresh_token)
    counted.append(await settled(manager))
    await tokens.verify(pair.access_token)
    counted.append(await settled(manager))
    assert counted == [2, 4, 5]  # the first two are followed by one for statistics, in the background


async def settled(manager: CountingManager) -> int:
    for _ in range(20):
        await asyncio.sleep(0)
    return manager.round_trips


async def test_scopes_may_be_fewer_for_one_access_token(redis: RedisManager) -> None:
    tokens = service(redis)
    first = await tokens.issue("alice", scopes="read write")
    second = await tokens.refresh(first.refresh_token, scopes="read")
    assert (await tokens.verify(second.access_token)).scopes == ("read",)
    assert (await tokens.refresh(second.refresh_token)).scopes == ("read", "write")
    error = await refused(tokens, second.refresh_token, scopes="read delete")
    assert (error.reason, error.error) == ("wrong_scope", "invalid_scope")
    assert (await tokens.refresh(second.refresh_token)).replayed


async def test_a_refresh_token_that_another_client_presents_ends_its_family(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice", client="web")
    pair = await tokens.refresh(pair.refresh_token, client="web")
    assert (await refused(tokens, pair.refresh_token, client="app")).reason == "wrong_client"
    assert (await refused(tokens, pair.refresh_token, client="web")).reason == "revoked"
    nobody = await tokens.issue("alice")
    assert await tokens.refresh(nobody.refresh_token, client=ISSUER)


async def test_the_app_says_anew_of_a_user_what_may_have_changed(redis: RedisManager) -> None:
    roles = {"alice": ["admin"]}

    async def asked(user: str) -> dict[str, Any]:
        return {"roles": roles[user]}

    for hook in (asked, lambda user: {"roles": roles[user]}):
        roles["alice"] = ["admin"]
        tokens = service(redis, claims=hook)
        first = await tokens.issue("alice", {"tenant": 7, "roles": ["none"]})
        assert claims_of(first.access_token)["roles"] == ["admin"]
        roles["alice"] = ["reader"]
        said = claims_of((await tokens.refresh(first.refresh_token)).access_token)
        assert (said["roles"], said["tenant"]) == (["reader"], 7)


async def test_a_refresh_whose_claims_fail_can_be_repeated(redis: RedisManager) -> None:
    failing = [False]

    def hook(user: str) -> dict[str, Any]:
        if failing[0]:
            raise LookupError(user)
        return {}

    tokens = service(redis, claims=hook)
    first = await tokens.issue("alice")
    failing[0] = True
    with pytest.raises(LookupError):
        await tokens.refresh(first.refresh_token)
    failing[0] = False
    assert (await tokens.refresh(first.refresh_token)).replayed


@pytest.mark.parametrize("name", sorted(RESERVED))
async def test_no_claim_of_the_app_takes_the_place_of_one_of_the_service(manager: CountingManager, name: str) -> None:
    with pytest.raises(ValueError, match=f"claims: {name} given"):
        await service(manager).issue("alice", {name: "mine"})
    with pytest.raises(ValueError, match=f"claims: {name} given"):
        await service(manager, claims=lambda user: {name: "mine"}).issue("alice")
    assert manager.round_trips == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"user": ""}, "user: "),
        ({"user": None}, "user: "),
        ({"user": True}, "user: "),
        ({"user": "x" * 256}, "user: "),
        ({"scopes": ["a b"]}, "scopes: "),
        ({"device": ""}, "device: "),
        ({"session": 7}, "session: "),
        ({"client": "x" * 256}, "client: "),
        ({"claims": {"x": object()}}, "claims: "),
        ({"claims": {"x": "y" * 3000}}, "note: "),
        ({"user": "\ud800"}, "claims: "),
    ],
)
async def test_what_cannot_stand_in_a_token_is_told_before_anything_is_written(
    manager: CountingManager, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        await service(manager).issue(**{"user": "alice", **given})
    assert manager.round_trips == 0


async def test_a_login_whose_claims_are_too_long_for_a_token_leaves_no_family(redis: RedisManager) -> None:
    tokens = service(redis, max_size=800, claims=lambda user: {"x": "y" * 800})
    with pytest.raises(ValueError, match=r"a token of \d+ bytes; allowed are 800"):
        await tokens.issue("alice")
    assert await tokens.revoke_user("alice") == 0


async def test_a_number_is_a_user_by_its_text(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue(42)
    assert (await tokens.verify(pair.access_token)).user == "42"
    assert await tokens.revoke_user(42) == 1


async def test_no_token_outlives_what_is_kept_of_its_login_whatever_the_clock_of_its_host(redis: RedisManager) -> None:
    clock = Clock()
    clock.ahead = 5 * 3600.0
    pair = await service(redis, clock=clock).issue("alice")
    await service(redis).revoke_family(pair.family)
    left = await redis.execute("PTTL", redis.keys.family_mark("", pair.family))
    assert claims_of(pair.access_token)["exp"] <= time.time() + left / 1000


@pytest.mark.parametrize("ahead", [-3600.0, -5.0, 5.0, 290.0])
async def test_a_host_whose_clock_is_wrong_issues_what_it_accepts_itself(redis: RedisManager, ahead: float) -> None:
    clock = Clock()
    clock.ahead = ahead
    tokens = service(redis, clock=clock)
    pair = await tokens.issue("alice")
    pair = await tokens.refresh(pair.refresh_token)
    assert (await tokens.verify(pair.access_token)).user == "alice"
    claims = claims_of(pair.access_token)
    assert claims["iat"] <= time.time()
    assert claims["iat"] <= clock()
    assert 598 <= claims["exp"] - clock() <= 600


@pytest.mark.parametrize(("ahead", "accepted"), [(-9.0, True), (9.0, True), (-11.5, False)])
async def test_hosts_accept_each_other_within_the_leeway(redis: RedisManager, ahead: float, accepted: bool) -> None:
    clock = Clock()
    clock.ahead = ahead
    pair = await service(redis).issue("alice")
    verifying = service(redis, clock=clock).verify(pair.access_token)
    if accepted:
        assert (await verifying).user == "alice"
    else:
        with pytest.raises(TokenInvalid, match="issued in the future"):
            await verifying


async def test_a_pair_is_what_a_token_endpoint_answers(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice", scopes="read write")
    assert pair.response(pair.expires_at - 500.5) == {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": 500,
        "refresh_token": pair.refresh_token,
        "scope": "read write",
    }
    assert "scope" not in (await tokens.issue("alice")).response(0)
    assert pair.response(pair.expires_at + 10)["expires_in"] == 0


async def test_neither_tokens_nor_keys_are_shown(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    shown = repr(pair) + repr(tokens) + repr(await tokens.verify(pair.access_token))
    for secret in (pair.access_token, pair.refresh_token, SECRET.decode(), REFRESH_KEY):
        assert secret not in shown
    assert isinstance(pair, TokenPair)


def test_faults_are_told_when_a_service_is_made() -> None:
    for options in ({"issuer": ""}, {"refresh_keys": "short"}, {"keys": b"short"}, {"access_ttl": 0}):
        with pytest.raises(ConfigurationError):
            service(RedisManager("memory://"), **options)
    with pytest.raises(TypeError, match="did you mean"):
        service(RedisManager("memory://"), access_tll=7)
    assert service(RedisManager("memory://"), SigningKey(SECRET, algorithm="HS512")).keys.algorithms == ("HS512",)
