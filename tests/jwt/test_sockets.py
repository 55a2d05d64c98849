"""A WebSocket lives no longer than the token it was opened with."""

import asyncio
import time
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Revocation, RevocationList
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.testing import ManualClock
from tests.jwt.sockets import TOPIC, begin, closed, is_quiet, leave, listens, looked, opened, stack, words
from tests.jwt.tokens import NOW, sign
from tests.redis.tools import within

REVOKED, EXPIRED = (4401, "token revoked"), (4401, "token expired")
ISSUERS = ("https://a.example", "https://b.example")


@pytest.mark.parametrize("way", ["by its id", "with others", "by its user", "by its user, later"])
async def test_a_socket_is_closed_when_its_token_is_revoked(
    redis: RedisManager, revocations: RevocationList, way: str
) -> None:
    app = stack(redis)
    mine, other = await opened(app, redis, sign(jti="mine"), sign(jti="other", sub="bob"))
    if way == "by its id":
        assert await revocations.revoke("mine", ttl=60)
    elif way == "with others":
        assert await revocations.revoke_many([*map(str, range(300)), Revocation("mine", ttl=60)]) == 301
    else:
        await revocations.revoke_user("alice", before=None if way == "by its user" else time.time() + 60)
    assert await closed(mine) == REVOKED
    await looked(redis)
    assert other.kinds == ["websocket.accept"]
    await leave(mine, other)
    assert is_quiet(redis)


async def test_a_socket_goes_by_its_issuer_and_without_an_id_by_what_was_signed(redis: RedisManager) -> None:
    app = stack(redis, issuer=ISSUERS)
    revocations = RevocationList(redis, by_issuer=True)
    tokens = [sign(iss=issuer, jti=jti) for issuer in ISSUERS for jti in ("same", None)]
    seen: list[Any] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["user"])
        await listens(scope, receive, send)

    app = stack(redis, notes, issuer=ISSUERS)
    sockets = await opened(app, redis, *tokens)
    for number in (0, 3):
        assert await revocations.revoke_token(seen[number])
        assert await closed(sockets[number]) == REVOKED
    await looked(redis)
    assert [call.kinds for call in (sockets[1], sockets[2])] == [["websocket.accept"]] * 2
    await revocations.revoke_user("alice", issuer=ISSUERS[0])
    assert await closed(sockets[1]) == REVOKED
    await looked(redis)
    assert sockets[2].kinds == ["websocket.accept"]
    await leave(*sockets)


async def test_a_word_that_means_another_token_closes_nothing(redis: RedisManager, revocations: RevocationList) -> None:
    call, witness = await opened(stack(redis), redis, sign(jti="mine"), sign(jti="witness", sub="bob"))
    await revocations.revoke_user("alice", before=NOW - 3600)  # the token is younger than that
    await revocations.revoke("mine", ttl=60)
    keys = redis.keys
    await closed(call)
    (again,) = await opened(stack(redis), redis, sign(jti="again"))
    await redis.pubsub.feed.tell(TOPIC, words(keys, keys.user("", "alice"), keys.token("", "again")))
    await revocations.revoke("witness", ttl=60)
    assert await closed(witness) == REVOKED
    await looked(redis)
    assert again.kinds == ["websocket.accept"], "nothing was set, whatever was said"
    await leave(call, again, witness)


async def test_a_socket_whose_token_was_revoked_during_the_handshake_is_closed(
    redis: RedisManager, revocations: RevocationList
) -> None:
    async def meanwhile(scope: Scope, receive: Receive, send: Send) -> None:
        assert await revocations.revoke("t-1", ttl=60)  # the blacklist was asked, and nobody listens yet
        await listens(scope, receive, send)

    call = begin(stack(redis, meanwhile), sign())
    assert await closed(call) == REVOKED
    await leave(call)
    assert is_quiet(redis)


@pytest.mark.parametrize("revocation", [True, False])
@pytest.mark.parametrize("leeway", [0, 5])
async def test_a_socket_is_closed_when_its_token_is_over(redis: RedisManager, revocation: bool, leeway: int) -> None:
    clock = ManualClock(NOW)
    app = stack(redis, clock=clock, leeway=leeway, revocation=revocation)
    brief, long = begin(app, sign(exp=NOW + 0.02, jti="brief")), begin(app, sign(exp=NOW + 3600, jti="long"))
    for call in (brief, long):
        await within(call.sees("websocket.accept"))
    clock.advance(leeway + 0.02)
    if leeway:  # the time of this host has to come as well, and that is reckoned anew within a minute
        (timer, _) = sorted(timers_of(app), key=lambda timer: timer.when())
        asyncio.get_running_loop().call_soon(timer._callback)
        timer.cancel()
    assert await closed(brief) == EXPIRED
    assert long.kinds == ["websocket.accept"]
    assert ("tokens" in repr(redis.pubsub.feed)) is revocation, "what nobody can revoke is not listened for"
    await leave(brief, long)
    assert is_quiet(redis)
