"""Sockets with tokens while connections break, servers restart and crowds are revoked: none is forgotten or leaks."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, RevocationList
from asgi_redis_guard.testing import FaultProxy
from tests.jwt.services import service
from tests.jwt.sockets import TOPIC, begin, closed, is_quiet, leave, listens, looked, opened, stack
from tests.jwt.tokens import sign
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

REVOKED = (4401, "token revoked")


async def test_what_is_revoked_while_this_process_is_cut_off_is_found_when_it_is_back(redis_url: str) -> None:
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.2) as here,
        RedisManager(redis_url, timeout=PATIENCE) as there,
    ):
        calls = await opened(stack(here), here, *(sign(jti=f"t-{number}") for number in range(4)))
        for number in range(3):
            proxy.refuse()
            proxy.reset_all()
            await eventually(lambda: not here.pubsub.feed.hears(TOPIC))
            assert await RevocationList(there).revoke(f"t-{number}", ttl=600)
            proxy.heal()
            assert await closed(calls[number]) == REVOKED
            await looked_at_last(here)
            assert {tuple(call.kinds) for call in calls[number + 1 :]} == {("websocket.accept",)}
        await leave(*calls)
        assert is_quiet(here)


async def test_replies_that_are_lost_have_it_asked_again(redis_url: str) -> None:
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.2) as here,
        RedisManager(redis_url, timeout=PATIENCE) as there,
    ):
        (call,) = await opened(stack(here, on_outage="open"), here, sign(jti="gone"))
        proxy.cut_after_request(b"EVALSHA")
        await RevocationList(there).revoke("gone", ttl=600)
        assert await closed(call) == REVOKED
        await leave(call)
        assert is_quiet(here)


@pytest.mark.parametrize("mode", ["remote", "mirror"])
async def test_a_server_that_comes_back_empty_closes_nothing_and_is_heard_again(
    fresh_server: Server, mode: Any
) -> None:
    async with RedisManager(fresh_server.url, timeout=1) as redis:
        revocations = RevocationList(redis, mode=mode)
        if mode == "mirror":
            await within(revocations.mirrored())
        app = stack(redis, revocation=revocations)
        gone, there = await opened(app, redis, sign(jti="gone"), sign(jti="there", sub="bob"))
        fresh_server.kill()
        await eventually(lambda: not redis.pubsub.feed.hears(TOPIC))
        await asyncio.to_thread(fresh_server.start)
        await looked_at_last(redis)
        assert gone.kinds == there.kinds == ["websocket.accept"]
        await revocations.revoke("gone", ttl=600)
        assert await closed(gone) == REVOKED
        await looked_at_last(redis)
        assert there.kinds == ["websocket.accept"]
        await leave(gone, there)
        assert is_quiet(redis)


@pytest.mark.parametrize("way", ["revoke_user", "revoke_all_before", "revoke_others"])
async def test_a_crowd_of_sockets_is_closed_and_nothing_is_left_of_it(redis: RedisManager, way: str) -> None:
    tokens = service(redis)
    app = GuardMiddleware(listens, [tokens.guard()], redis=redis)
    kept = await tokens.issue("alice" if way == "revoke_others" else "bob")
    pairs = await asyncio.gather(*[tokens.issue("alice") for _ in range(500)])
    (witness,) = await opened(app, redis, kept.access_token)
    calls = [begin(app, pair.access_token) for _ in range(4) for pair in pairs]
    for call in calls:
        await within(call.sees("websocket.accept"))
    await looked(redis)
    if way == "revoke_user":
        assert await tokens.revoke_user("alice") == 500
    elif way == "revoke_others":
        assert await tokens.revoke_others("alice", kept.family) == 500
    else:
        await tokens.revoke_all_before()
    assert {await closed(call) for call in calls} == {REVOKED}
    if way == "revoke_all_before":
        assert await closed(witness) == REVOKED
    await looked(redis)
    assert (witness.kinds == ["websocket.accept"]) is (way != "revoke_all_before")
    await leave(witness, *calls)
    assert is_quiet(redis)
    assert len(redis.pubsub.feed.suspects(TOPIC)) == 0


async def test_a_crowd_that_comes_and_goes_while_others_are_revoked(redis: RedisManager) -> None:
    revocations = RevocationList(redis)
    app = stack(redis)

    async def one(number: int) -> tuple[bool, list[str]]:
        """Open a socket; every third is revoked, every other leaves by itself, perhaps before anybody has looked."""
        call = begin(app, sign(jti=f"t-{number}"))
        await within(call.sees("websocket.accept"))
        if number % 3 == 0:
            await revocations.revoke(f"t-{number}", ttl=600)
            await closed(call)
        await leave(call)
        return number % 3 == 0, call.kinds

    for revoked, kinds in await asyncio.gather(*[one(number) for number in range(600)]):
        assert kinds == ["websocket.accept", *(["websocket.close"] if revoked else [])]
    assert is_quiet(redis)


async def looked_at_last(redis: RedisManager) -> None:
    """Wait until words are heard again and all have been told."""
    await eventually(lambda: redis.pubsub.feed.hears(TOPIC) and not redis.pubsub.feed.suspects(TOPIC)._later)
    await looked(redis)
