"""Sockets with tokens while Redis cannot be asked: nobody is closed by that alone, and nothing that is said is lost."""

import time
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, RedisUnavailable, RevocationList
from asgi_redis_guard.jwt import sockets
from asgi_redis_guard.pubsub import suspects
from asgi_redis_guard.pubsub.messages import Gap
from tests.jwt.sockets import TOPIC, begin, closed, is_quiet, leave, looked, opened, stack
from tests.jwt.tokens import sign
from tests.middleware.calls import TestRedis, noting
from tests.redis.tools import eventually, within
from tests.servers import Server

REVOKED, AWAY = (4401, "token revoked"), (1013, "try again later")


@pytest.fixture
async def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that can be away; who could not be told looks again when the test says so."""
    monkeypatch.setattr(suspects, "_AGAIN", 3600)
    async with noting() as redis:
        yield redis


def name(redis: RedisManager, jti: str) -> bytes:
    return redis.keys.token("", jti)[-20:]


async def told(redis: RedisManager, *jtis: str) -> None:
    await redis.pubsub.feed.tell(TOPIC, [name(redis, jti) for jti in jtis])


def could_not_be_told(redis: RedisManager, number: int) -> bool:
    """True if so many have asked in vain, and nobody asks now."""
    those = redis.pubsub.feed.suspects(TOPIC)
    return len(those._later) == number and not those._working


async def back(redis: TestRedis) -> None:
    """Let Redis be there again, and wait until everybody has been told."""
    redis.away = None
    redis.pubsub.feed.suspects(TOPIC)._again()
    await looked(redis)


async def test_closed_closes_who_is_named_and_nobody_else(memory: TestRedis) -> None:
    named, other = await opened(stack(memory), memory, sign(jti="named"), sign(jti="other"))
    memory.away = RedisUnavailable()
    await told(memory, "named")
    assert await closed(named) == AWAY
    memory.pubsub.feed._hear(TOPIC, Gap("reconnected"))
    await eventually(lambda: could_not_be_told(memory, 1))
    assert other.kinds == ["websocket.accept"]
    await back(memory)
    assert other.kinds == ["websocket.accept"]
    await leave(named, other)


async def test_open_keeps_who_is_named_until_redis_can_be_asked(memory: TestRedis) -> None:
    gone, there = await opened(stack(memory, on_outage="open"), memory, sign(jti="gone"), sign(jti="there"))
    memory.away = RedisUnavailable()
    assert await RevocationList(memory).revoke("gone", ttl=60)
    await told(memory, "there")
    await eventually(lambda: could_not_be_told(memory, 2))
    assert gone.kinds == there.kinds == ["websocket.accept"]
    await back(memory)
    assert await closed(gone) == REVOKED
    assert there.kinds == ["websocket.accept"]
    await leave(gone, there)
    assert is_quiet(memory)


async def test_last_known_goes_by_the_mirror_and_closes_who_is_named_when_that_is_too_old(memory: TestRedis) -> None:
    revocations = RevocationList(memory, mode="mirror")
    await within(revocations.mirrored())
    app = stack(memory, revocation=revocations, on_outage="last_known", max_age=3600)
    gone, there, old = await opened(app, memory, *(sign(jti=jti) for jti in ("gone", "there", "old")))
    memory.away = RedisUnavailable()
    assert await revocations.revoke("gone", ttl=60)
    await told(memory, "there")
    assert await closed(gone) == REVOKED
    await eventually(lambda: could_not_be_told(memory, 1))
    assert there.kinds == ["websocket.accept"]
    await back(memory)
    mirror: Any = revocations._mirror()
    await mirror.aclose()
    mirror._proven = float("-inf")
    memory.away = RedisUnavailable()
    await told(memory, "old")
    assert await closed(old) == AWAY
    memory.away = None
    assert there.kinds == ["websocket.accept"]
    await leave(gone, there, old)


async def test_what_was_revoked_during_a_gap_is_found_after_it(redis: RedisManager) -> None:
    gone, there = await opened(stack(redis), redis, sign(jti="gone"), sign(jti="there"))
    await redis.execute("SET", redis.keys.token("", "gone"), "", "EX", "60")  # nobody hears of it
    await looked(redis)
    assert gone.kinds == ["websocket.accept"]
    redis.pubsub.feed._hear(TOPIC, Gap("reconnected"))
    assert await closed(gone) == REVOKED
    await looked(redis)
    assert there.kinds == ["websocket.accept"]
    await leave(gone, there)


async def test_a_spoiled_key_of_one_user_is_no_reason_to_close_and_hurts_no_other(
    redis: RedisManager, revocations: RevocationList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_AGAIN", 0.002)
    spoiled, other = await opened(stack(redis), redis, sign(jti="a"), sign(jti="b", sub="bob"))
    key = redis.keys.user("", "alice")
    await redis.execute("LPUSH", key, "not a string")
    redis.pubsub.feed._hear(TOPIC, Gap("reconnected"))
    await revocations.revoke("b", ttl=60)
    assert await closed(other) == REVOKED
    assert spoiled.kinds == ["websocket.accept"]
    await redis.execute("SET", key, str(10**17), "EX", "60")
    assert await closed(spoiled) == REVOKED
    await leave(spoiled, other)


@pytest.mark.parametrize("who", ["writer", "listener"])
async def test_an_account_without_a_channel_closes_its_sockets_late_but_does(
    fresh_server: Server, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Redis 7 gives new accounts no channel: words are lost, on one side or the other, and nobody says so."""
    fresh_server.command("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
    muted = fresh_server.url.replace("://", "://mute:x@")
    urls = (muted, fresh_server.url) if who == "writer" else (fresh_server.url, muted)
    monkeypatch.setattr(sockets, "_ASK_SELDOM", 0.0)
    async with RedisManager(urls[0], timeout=10) as writer, RedisManager(urls[1], timeout=10) as listener:
        call = begin(stack(listener, clock=time.time), sign(jti="t", iat=time.time(), exp=time.time() + 600))
        await within(call.sees("websocket.accept"))
        assert await RevocationList(writer).revoke("t")
        assert await closed(call) == REVOKED
        await leave(call)
