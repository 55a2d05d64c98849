"""The operations of idempotent requests over random histories, on all servers: every verdict and record is the model's.

A lease ends here by deleting its key, which is what its end does; times are looked at where they are set.
"""

import asyncio
import random
from typing import Any, Literal

import pytest

from asgi_redis_guard import OperationFailed, RedisManager
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.idempotency.operations import (
    BUSY,
    INLINE,
    MISMATCH,
    NOT_KEPT,
    REPLAY,
    RUN,
    UNREADABLE,
    Claim,
    Found,
    is_recorded,
)
from asgi_redis_guard.redis.asking import carry_out
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, within

KEYS = Keys()
WORD = digest("somebody", "key")
LEASE, TTL = 20.0, 5000.0
ACTIONS = [*["begin"] * 6, *["complete", "not kept"] * 2, *["release"] * 2, "renew", "renew", "attend", "end"]


def claim(token: int, fingerprint: bytes = b"a" * 20) -> Claim:
    return Claim.of(KEYS, WORD, fingerprint, lambda size: token.to_bytes(size, "big"), LEASE, TTL)


async def do(manager: RedisManager, operation: Operation) -> Any:
    return await carry_out(manager, Ask((operation,)))


async def begin(manager: RedisManager, wanted: Claim) -> Found:
    return Found.of(await do(manager, wanted.begin()))._replace(left=0.0)


class Model:
    """One record: nothing, or what it is, whose, of which request, what is replayed, and whether somebody waits."""

    def __init__(self) -> None:
        self.kind: Literal[b"P", b"D", b"U"] | None = None
        self.owner: Claim | None = None
        self.content = b""
        self.waited = False

    def is_run_by(self, one: Claim) -> bool:
        return self.kind == b"P" and self.owner is not None and self.owner.token == one.token

    def begin(self, one: Claim) -> Found:
        if self.kind is None or self.owner is None:
            self.kind, self.owner, self.waited = b"P", one, False
            return Found(RUN)
        if one.fingerprint != self.owner.fingerprint:
            return Found(MISMATCH)
        if self.kind == b"P":
            return Found(RUN if self.is_run_by(one) else BUSY)
        return Found(REPLAY if self.kind == b"D" else NOT_KEPT, 0.0, self.content)

    def complete(self, one: Claim, kind: Literal[b"D", b"U"], content: bytes) -> bool:
        if self.kind is None or self.is_run_by(one):
            self.kind, self.owner, self.content, self.waited = kind, one, content, False
            return True
        return self.owner is not None and self.owner.token == one.token

    def release(self, one: Claim) -> None:
        if self.is_run_by(one):
            self.kind = None

    def attend(self, one: Claim) -> None:
        self.waited = self.waited or (self.kind == b"P" and not self.is_run_by(one))

    def record(self) -> bytes | None:
        if self.kind is None or self.owner is None:
            return None
        mark = b"w" if self.waited else b"-"
        content = b"" if self.kind == b"P" else self.content
        return self.kind + mark + self.owner.fingerprint + self.owner.token + content


@pytest.mark.parametrize("seed", range(6))
async def test_every_verdict_and_every_record_is_the_model_s(manager: RedisManager, seed: int) -> None:
    dice, model, seen = random.Random(seed), Model(), set()
    key = KEYS.idempotent(WORD)
    for turn in range(250):
        one = claim(dice.choice([1, 2, 3, turn + 10]), dice.choice([b"a" * 20] * 4 + [b"b" * 20]))
        if model.owner is not None and dice.random() < 0.4:
            one = model.owner
        action = dice.choice(ACTIONS)
        if action == "begin":
            expected = model.begin(one)
            assert await begin(manager, one) == expected
            seen.add(expected.state)
        elif action in ("complete", "not kept"):
            kind: Literal[b"D", b"U"] = b"D" if action == "complete" else b"U"
            content = b"%d \x00\xff" % turn
            assert is_recorded(await do(manager, one.complete(kind, content))) == model.complete(one, kind, content)
        elif action == "renew":
            assert (await do(manager, one.renew())).passed == model.is_run_by(one)
        elif action == "end":
            await manager.execute("DEL", key)
            model.kind = None
        else:
            await do(manager, getattr(one, action)())
            getattr(model, action)(one)
        assert await manager.execute("GET", key) == model.record(), action
        left = await manager.execute("PTTL", key)
        if model.kind is not None:
            most = LEASE if model.kind == b"P" else TTL
            assert most * 1000 - PATIENCE * 1000 < left <= most * 1000
    assert seen == {RUN, REPLAY, BUSY, MISMATCH, NOT_KEPT}


async def test_who_asks_again_with_the_same_token_runs_and_has_a_whole_lease(manager: RedisManager) -> None:
    for _ in range(3):
        assert (await begin(manager, claim(1))).state == RUN
        left = await manager.execute("PTTL", claim(1).key)
        assert 0 < left <= LEASE * 1000
        await manager.execute("PEXPIRE", claim(1).key, 100_000)  # a commit sets it back


async def test_who_finds_it_under_way_is_told_for_how_long_at_most(manager: RedisManager) -> None:
    await begin(manager, claim(1))
    found = Found.of(await do(manager, claim(2).begin()))
    assert (found.state, 0 < found.left <= LEASE) == (BUSY, True)


@pytest.mark.parametrize("size", [0, 1, INLINE - 39, INLINE - 38])
async def test_a_record_travels_with_the_round_up_to_a_size(manager: RedisManager, size: int) -> None:
    await do(manager, claim(1).complete(b"D", b"x" * size))
    assert (await begin(manager, claim(2))).content == b"x" * size


async def test_a_larger_record_is_left_to_be_fetched(manager: RedisManager) -> None:
    await do(manager, claim(1).complete(b"D", b"x" * (INLINE - 37)))
    assert await begin(manager, claim(2)) == Found(REPLAY)
    whole = await manager.execute("GET", claim(1).key)
    assert claim(2).content_of(whole) == b"x" * (INLINE - 37)
    assert claim(2, b"b" * 20).content_of(whole) is None
    assert claim(2).content_of(None) is None
    assert claim(2).content_of(b"U" + whole[1:]) is None


async def test_the_word_is_said_when_it_is_through_or_given_back_if_somebody_waits(manager: RedisManager) -> None:
    words: asyncio.Queue[Any] = asyncio.Queue()
    listener = manager.pubsub.listen(KEYS.idempotency_channel, lambda event: words.put_nowait(event.data))
    await within(listener.ready())
    endings = [claim(1).complete(b"D", b""), claim(1).complete(b"U", b""), claim(1).release()]
    for waited in (False, True):
        for ending in endings:
            await do(manager, claim(1).begin())
            if waited:
                await do(manager, claim(2).attend())
            await do(manager, ending)
            if waited:
                assert await within(words.get()) == WORD
            await manager.execute("DEL", claim(1).key)
    await manager.execute("PUBLISH", KEYS.idempotency_channel, "last")
    assert await within(words.get()) == b"last"
    await listener.aclose()


@pytest.mark.parametrize("record", [b"P", b"x", b"P-" + b"a" * 35, b"Q-" + b"a" * 36, b"Px" + b"a" * 36])
async def test_what_is_no_record_is_unreadable_and_stays(manager: RedisManager, record: bytes) -> None:
    await manager.execute("SET", claim(1).key, record, "PX", 60_000)
    assert (await begin(manager, claim(1))).state == UNREADABLE
    await do(manager, claim(1).release())
    assert await manager.execute("GET", claim(1).key) == record


async def test_a_key_of_another_type_fails_every_operation_and_stays(manager: RedisManager) -> None:
    await manager.execute("RPUSH", claim(1).key, "a")
    one = claim(1)
    for operation in (one.begin(), one.attend(), one.renew(), one.complete(b"D", b""), one.release()):
        with pytest.raises(OperationFailed, match="WRONGTYPE"):
            await do(manager, operation)
    assert await manager.execute("LRANGE", one.key, 0, -1) == [b"a"]


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_refuses_to_begin_and_lets_what_has_begun_end(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        await begin(manager, claim(1))
        server.command("CONFIG", "SET", "maxmemory", "1")
        other = Claim.of(KEYS, digest("other"), b"a" * 20, bytes, LEASE, TTL)
        with pytest.raises(OperationFailed, match="OOM"):
            await do(manager, other.begin())
        with pytest.raises(OperationFailed, match="OOM"):
            await do(manager, other.complete(b"D", b""))
        assert await manager.execute("EXISTS", other.key) == 0
        assert (await do(manager, claim(1).renew())).passed
        assert is_recorded(await do(manager, claim(1).complete(b"D", b"answer")))
        assert (await begin(manager, claim(2))) == Found(REPLAY, 0.0, b"answer")
        assert 0 < await manager.execute("PTTL", claim(1).key) <= TTL * 1000
        server.command("CONFIG", "SET", "maxmemory", "0")
        await manager.execute("DEL", claim(1).key)
        await begin(manager, claim(1))
        server.command("CONFIG", "SET", "maxmemory", "1")
        await do(manager, claim(1).release())
        assert await manager.execute("EXISTS", claim(1).key) == 0
