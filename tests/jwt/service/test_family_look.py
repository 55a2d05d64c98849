"""A look at a refresh token says what would become of it, and changes nothing."""

from collections.abc import Awaitable, Callable

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.service.families import FamilyLimits, Owner, Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.jwt.services import service

Deed = Callable[[TokenService, TokenPair], Awaitable[object]]


async def nothing(tokens: TokenService, pair: TokenPair) -> None:
    """Leave it as it is."""


async def twice(tokens: TokenService, pair: TokenPair) -> None:
    await tokens.refresh((await tokens.refresh(pair.refresh_token)).refresh_token)


async def reuse(tokens: TokenService, pair: TokenPair) -> None:
    await twice(tokens, pair)
    with pytest.raises(RefreshRefused):
        await tokens.refresh(pair.refresh_token)


CASES: list[tuple[Deed, Verdict, bytes]] = [
    (nothing, Verdict.ROTATED, b""),
    (lambda tokens, pair: tokens.refresh(pair.refresh_token), Verdict.SAME, b""),
    (twice, Verdict.REUSED, b""),
    (reuse, Verdict.REVOKED, b"x"),
    (lambda tokens, pair: tokens.revoke_family(pair.family), Verdict.REVOKED, b"f"),
    (lambda tokens, pair: tokens.revoke_user("alice"), Verdict.REVOKED, b"u"),
    (lambda tokens, pair: tokens.revoke_device("alice", "phone"), Verdict.REVOKED, b"d"),
    (lambda tokens, pair: tokens.revoke_all_before(), Verdict.REVOKED, b""),
]


@pytest.mark.parametrize(("deed", "verdict", "ended_by"), CASES)
async def test_it_tells_what_a_refresh_would(
    redis: RedisManager, deed: Deed, verdict: Verdict, ended_by: bytes
) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice", scopes="read", device="phone")
    await deed(tokens, pair)
    looks = [await tokens.look(pair.refresh_token) for _ in range(3)]
    assert looks[0] is not None
    assert looks[0] == looks[1] == looks[2]
    assert (looks[0].verdict, looks[0].ended_by) == (verdict, ended_by)
    assert looks[0].note is not None
    assert (looks[0].note.user, looks[0].note.scopes) == ("alice", ("read",))
    assert looks[0].is_good == (verdict in (Verdict.ROTATED, Verdict.SAME))
    assert looks[0].was_ended_everywhere == (ended_by == b"u")
    if looks[0].is_good:
        pair = await tokens.refresh(pair.refresh_token)
        assert pair.replayed == (verdict is Verdict.SAME)
    else:
        with pytest.raises(RefreshRefused):
            await tokens.refresh(pair.refresh_token)


async def test_replays_that_are_used_up_and_a_time_that_is_over_are_seen(redis: RedisManager) -> None:
    pair = await service(redis).issue("alice")
    await service(redis).refresh(pair.refresh_token)
    for options, verdict in (
        ({"max_replays": 0}, Verdict.REUSED),
        ({"grace": 0}, Verdict.REUSED),
        ({"max_replays": 1}, Verdict.SAME),
    ):
        look = await service(redis, **options).look(pair.refresh_token)
        assert look is not None
        assert look.verdict is verdict


async def test_a_family_that_never_was_and_a_token_that_is_none(redis: RedisManager) -> None:
    tokens = service(redis)
    forged = tokens.refresh_keys.text(b"abcdef0123456789abcdef", 1)
    look = await tokens.look(forged)
    assert look is not None
    assert (look.verdict, look.note, look.is_good) == (Verdict.UNKNOWN, None, False)
    assert await tokens.look("x") is None


async def test_a_family_that_is_in_no_index_is_over_with_its_user_s_generation(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    owner = Owner.of("", "alice")
    assert await redis.execute("DEL", redis.keys.families(*owner)) == 1
    await tokens.revoke_user("alice")
    look = await tokens.look(pair.refresh_token)
    assert look is not None
    assert (look.verdict, look.was_ended_everywhere) == (Verdict.REVOKED, True)
    with pytest.raises(RefreshRefused, match="revoked"):
        await tokens.refresh(pair.refresh_token)


async def test_limits_that_were_made_shorter_hold_at_once(redis: RedisManager) -> None:
    tokens = service(redis)
    token = tokens.refresh_keys.read((await tokens.issue("alice")).refresh_token)
    assert token is not None
    for limits in ({"idle": 0, "lifetime": 60_000}, {"idle": 60_000, "lifetime": 0}):
        shorter = FamilyLimits(grace=20_000, most_replays=1, keep=60_000, **limits)
        look = await FamilyStore(redis, shorter).look(token)
        assert (look.verdict, look.is_good) == (Verdict.EXPIRED, False)
    assert not (await tokens.refresh(tokens.refresh_keys.text(*token))).replayed
