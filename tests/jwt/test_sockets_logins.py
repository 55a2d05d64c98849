"""Sockets opened with access tokens of a token service: they end with their login, and outlive a refresh."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.revocation.revocation_list import RevocationList
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.jwt.services import service
from tests.jwt.sockets import closed, is_quiet, leave, listens, looked, opened
from tests.redis.tools import within

REVOKED = (4401, "token revoked")


async def reuse(tokens: TokenService, pair: TokenPair) -> None:
    """Present a refresh token twice, the second time too late."""
    await tokens.refresh(pair.refresh_token)
    with pytest.raises(RefreshRefused):
        await tokens.refresh(pair.refresh_token)


WAYS: dict[str, Callable[[TokenService, TokenPair], Awaitable[Any]]] = {
    "its access token": lambda tokens, pair: tokens.revoke(pair.access_token),
    "its refresh token": lambda tokens, pair: tokens.revoke(pair.refresh_token),
    "its id": lambda tokens, pair: tokens.revoke_id(pair.token_id),
    "its family": lambda tokens, pair: tokens.revoke_family(pair.family),
    "its device": lambda tokens, pair: tokens.revoke_device("alice", "phone"),
    "its session": lambda tokens, pair: tokens.revoke_session("alice", "s-1"),
    "reuse": reuse,
}


def stack(redis: RedisManager, tokens: TokenService) -> GuardMiddleware:
    return GuardMiddleware(listens, [tokens.guard()], redis=redis)


@pytest.mark.parametrize("mode", ["remote", "mirror"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_socket_ends_with_its_login_and_no_other_does(redis: RedisManager, way: str, mode: Any) -> None:
    revocations = RevocationList(redis, mode=mode)
    if mode == "mirror":
        await within(revocations.mirrored())
    tokens = service(redis, grace=0, revocation=revocations)
    pair = await tokens.issue("alice", device="phone", session="s-1")
    others = [await tokens.issue("alice", device="desk", session="s-2"), await tokens.issue("bob", device="phone")]
    app = stack(redis, tokens)
    mine, *rest = await opened(app, redis, pair.access_token, *(other.access_token for other in others))
    await WAYS[way](tokens, pair)
    assert await closed(mine) == REVOKED
    await looked(redis)
    assert [call.kinds for call in rest] == [["websocket.accept"]] * 2
    await leave(mine, *rest)
    assert is_quiet(redis)


async def test_all_sockets_of_a_user_end_with_his_logins_and_those_of_later_ones_live(redis: RedisManager) -> None:
    tokens = service(redis)
    app = stack(redis, tokens)
    pairs = [await tokens.issue(user) for user in ("alice", "alice", "bob")]
    first, second, other = await opened(app, redis, *(pair.access_token for pair in pairs))
    await tokens.revoke_user("alice")
    assert [await closed(first), await closed(second)] == [REVOKED, REVOKED]
    (later,) = await opened(app, redis, (await tokens.issue("alice")).access_token)
    await looked(redis)
    assert (later.kinds, other.kinds) == (["websocket.accept"], ["websocket.accept"])
    await leave(first, second, other, later)
    assert is_quiet(redis)


async def test_a_change_of_password_ends_all_sockets_but_those_of_this_login(redis: RedisManager) -> None:
    tokens = service(redis)
    here, there = await tokens.issue("alice"), await tokens.issue("alice")
    again = await tokens.refresh(there.refresh_token)
    calls = await opened(stack(redis, tokens), redis, *(one.access_token for one in (here, there, again)))
    await tokens.revoke_others("alice", here.family)
    assert [await closed(call) for call in calls[1:]] == [REVOKED, REVOKED]
    await looked(redis)
    assert calls[0].kinds == ["websocket.accept"]
    await leave(*calls)


async def test_everybody_s_sockets_end_with_a_cutoff_for_all_and_younger_ones_live(redis: RedisManager) -> None:
    tokens = service(redis)
    app = stack(redis, tokens)
    calls = await opened(app, redis, *[(await tokens.issue(user)).access_token for user in ("alice", "bob", "carol")])
    await tokens.revoke_all_before(time.time() - 3600)
    await looked(redis)
    assert {tuple(call.kinds) for call in calls} == {("websocket.accept",)}, "they are younger than that"
    await tokens.revoke_all_before()
    assert [await closed(call) for call in calls] == [REVOKED] * 3
    await leave(*calls)
    assert is_quiet(redis)


async def test_a_refresh_closes_nothing(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    first, witness = await opened(
        stack(redis, tokens), redis, pair.access_token, (await tokens.issue("bob")).access_token
    )
    for _ in range(3):
        pair = await tokens.refresh(pair.refresh_token)
    (second,) = await opened(stack(redis, tokens), redis, pair.access_token)
    await tokens.revoke_user("bob")
    await closed(witness)
    await looked(redis)
    assert (first.kinds, second.kinds) == (["websocket.accept"], ["websocket.accept"])
    await tokens.revoke_family(pair.family)
    assert [await closed(first), await closed(second)] == [REVOKED, REVOKED]
    await leave(first, second, witness)


async def test_another_process_hears_of_it(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=10) as here, RedisManager(redis_url, timeout=10) as there:
        tokens = service(here)
        pair = await service(there).issue("alice")
        (call,) = await opened(stack(here, tokens), here, pair.access_token)
        await service(there).revoke_family(pair.family)
        assert await closed(call) == REVOKED
        await leave(call)
