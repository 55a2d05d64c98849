"""`generation.lua` and `invalidate.lua` on every kind of server: no old generation is ever valid again.

Time is given to the server's script, as in `tests/conformance/clockwork.py`, where a test sets the clock.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.script import HELD_BACK, PASSED, STOPPED, Batch, Operation, OperationKind, place_of
from asgi_redis_guard.redis.program import Program, program_of
from tests.conformance.clockwork import in_given_time
from tests.redis.tools import PATIENCE, kind, run, within

GENERATION = OperationKind.load("asgi_redis_guard.cache", "generation.lua")
INVALIDATE = OperationKind.load("asgi_redis_guard.cache", "invalidate.lua")
STORE = kind("", "call('SET', k, 'stored', 'PX', 60000)", keys="k", group="cache")
KEYS = Keys()
TAG, OTHER, ENTRY = KEYS.tag("user:7"), KEYS.tag("stats"), KEYS.resource(b"x" * 20)
NOW = 1_700_000_000_123_456  # µs
HOUR = 3_600_000  # ms


def read(tag: bytes = TAG, expected: bytes = b"", life: int = HOUR) -> Operation:
    return Operation(GENERATION, (tag,), (expected, life))


def invalidate(tag: bytes = TAG, *, soft: bool = False, life: int = HOUR, word: bytes = b"") -> Operation:
    return Operation(INVALIDATE, (tag,), (int(soft), life, KEYS.cache_channel, word))


def stamps(hard: int, soft: int | None = None) -> bytes:
    return b"%016d.%016d" % (hard, hard if soft is None else soft)


def split(generation: bytes) -> tuple[int, int]:
    hard, dot, soft = generation.partition(b".")
    assert (len(hard), dot, len(soft)) == (16, b".", 16)
    return int(hard), int(soft)


@pytest.fixture
async def manager(backend: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


async def at(manager: RedisManager, now: int, *operations: Operation) -> list[Any]:
    """Run a round at a time that is given; return the flat reply without the time."""
    shape = (place_of(False, tuple(operation.kind for operation in operations)),)
    keys = [key for operation in operations for key in operation.keys]
    args = [arg for operation in operations for arg in operation.args]
    source = in_given_time(Program(shape).source)
    *reply, _ = await manager.execute("EVAL", source, len(keys), *keys, *args, now)
    return reply


async def content(manager: RedisManager, tag: bytes = TAG) -> Any:
    return await manager.execute("GET", tag)


async def ends(manager: RedisManager, tag: bytes = TAG) -> int:
    """When a tag expires, ms by the given clock."""
    return int(await manager.execute("GET", tag + b"/ends"))


async def test_what_is_absent_is_made_once_however_many_ask_at_a_time(manager: RedisManager) -> None:
    replies = await within(asyncio.gather(*(run(manager, [read()]) for _ in range(50))))
    assert {status for status, _ in replies} == {PASSED}
    (generation,) = {generation for _, generation in replies}
    hard, soft = split(generation)
    assert hard == soft
    assert await content(manager) == generation
    assert 0 < await manager.execute("PTTL", TAG) <= HOUR


async def test_two_uses_of_one_tag_in_a_round_agree(manager: RedisManager) -> None:
    assert await at(manager, NOW, read(), read(OTHER), read()) == [PASSED, stamps(NOW)] * 3
    assert await content(manager) == await content(manager, OTHER) == stamps(NOW)


async def test_a_generation_stands_until_it_is_invalidated(manager: RedisManager) -> None:
    for later in (0, 1, 5_000_000):
        assert await at(manager, NOW + later, read()) == [PASSED, stamps(NOW)]
        assert await at(manager, NOW + later, read(expected=stamps(NOW))) == [PASSED, stamps(NOW)]
    assert await at(manager, NOW + 6_000_000, invalidate()) == [PASSED, NOW + 6_000_000]
    new = stamps(NOW + 6_000_000, NOW)
    assert await at(manager, NOW + 6_000_001, read(expected=stamps(NOW))) == [STOPPED, new]
    assert await at(manager, NOW + 6_000_001, read()) == [PASSED, new]


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_is_expected_and_absent_stops_and_is_another_from_then_on(
    manager: RedisManager, is_known: bool
) -> None:
    if is_known:
        await run(manager, [read()])
        await manager.execute("DEL", TAG)  # evicted
    status, new = await run(manager, [read(expected=stamps(NOW))])
    assert (status, await content(manager)) == (STOPPED, new)
    assert new != stamps(NOW)


async def test_nothing_is_stored_if_one_of_its_tags_was_invalidated_while_it_was_filled(manager: RedisManager) -> None:
    *_, one, _, other = await run(manager, [read(), read(OTHER)])
    store = [read(expected=one), read(OTHER, expected=other), Operation(STORE, (ENTRY,))]
    await run(manager, [invalidate(OTHER)])
    reply = await run(manager, store)
    assert [reply[0], reply[2], reply[4]] == [HELD_BACK, STOPPED, HELD_BACK]
    assert await content(manager, ENTRY) is None
    (_, now) = await run(manager, [read(OTHER)])
    store[1] = read(OTHER, expected=now)
    assert await run(manager, store) == [PASSED, one, PASSED, now, PASSED]
    assert await content(manager, ENTRY) == b"stored"


async def test_a_hard_and_a_soft_invalidation_change_one_stamp_each(manager: RedisManager) -> None:
    await at(manager, NOW, read())
    await at(manager, NOW + 10, invalidate(soft=True))
    assert await content(manager) == stamps(NOW, NOW + 10)
    await at(manager, NOW + 20, invalidate())
    assert await content(manager) == stamps(NOW + 20, NOW + 10)
    await at(manager, NOW + 30, invalidate(soft=True))
    assert await content(manager) == stamps(NOW + 20, NOW + 30)


@pytest.mark.parametrize("soft", [False, True])
async def test_invalidations_of_one_microsecond_all_count(manager: RedisManager, soft: bool) -> None:
    await at(manager, NOW, read())
    for step in range(1, 4):
        await at(manager, NOW, invalidate(soft=soft))
        assert split(await content(manager)) == ((NOW, NOW + step) if soft else (NOW + step, NOW))


@pytest.mark.parametrize("soft", [False, True])
async def test_a_clock_that_is_set_back_makes_no_stamp_that_was_there(manager: RedisManager, soft: bool) -> None:
    await at(manager, NOW, read())
    seen = {stamps(NOW)}
    for back in (1, 1000, 3_000_000, 0):
        await at(manager, NOW - back, invalidate(soft=soft))
        _, generation = await at(manager, NOW - back, read())
        assert generation not in seen
        seen.add(generation)


@pytest.mark.parametrize("seed", range(3))
async def test_no_generation_comes_back_after_any_history(manager: RedisManager, seed: int) -> None:
    dice = random.Random(seed)
    now = NOW
    _, current = await at(manager, now, read())
    seen = {current}
    for _ in range(80):
        now += dice.choice([0, 1, 700, 1_000_000, -1, -999, -5_000_000])
        is_soft = dice.random() < 0.5
        await at(manager, now, invalidate(soft=is_soft))
        _, new = await at(manager, now, read())
        assert new not in seen
        assert split(new)[not is_soft] == split(current)[not is_soft]
        seen.add(new)
        current = new


async def test_what_was_evicted_is_replaced_by_another_though_the_clock_was_set_back(manager: RedisManager) -> None:
    await at(manager, NOW, read())
    await at(manager, NOW, invalidate())
    old = await content(manager)
    await manager.execute("DEL", TAG, TAG + b"/ends")
    for later in (NOW - 1, NOW):
        assert (await at(manager, later, read(expected=old)))[0] == STOPPED
        assert (await at(manager, later, read()))[1] == stamps(NOW - 1)


async def test_what_expires_is_replaced_by_another(manager: RedisManager) -> None:
    await at(manager, NOW, read(life=1000))
    assert await at(manager, NOW + 999_000, read(life=1)) == [PASSED, stamps(NOW)]
    later = NOW + 1_002_000
    assert await at(manager, later, read(expected=stamps(NOW))) == [STOPPED, stamps(later)]
    assert await at(manager, later, read()) == [PASSED, stamps(later)]


async def test_it_lives_as_long_as_the_longest_use_asks_for(manager: RedisManager) -> None:
    ms = NOW // 1000
    await at(manager, NOW, read(life=1000))
    assert await ends(manager) == ms + 1000
    await at(manager, NOW, read(life=500))
    assert await ends(manager) == ms + 1000
    await at(manager, NOW, read(life=5000))
    assert await ends(manager) == ms + 5000
    await at(manager, NOW, invalidate(life=10))
    assert await ends(manager) == ms + 5000
    await at(manager, NOW, invalidate(life=7000))
    assert await ends(manager) == ms + 7000
    await at(manager, NOW, read(expected=stamps(NOW), life=99_000))  # it stops, and prolongs nothing
    assert await ends(manager) == ms + 7000


async def test_an_invalidation_makes_what_is_absent_or_leaves_it_so(manager: RedisManager) -> None:
    assert await at(manager, NOW, invalidate(life=0)) == [PASSED, NOW]
    assert await content(manager) is None
    assert await at(manager, NOW, invalidate(soft=True, life=1000)) == [PASSED, NOW]
    assert (await content(manager), await ends(manager)) == (stamps(NOW), NOW // 1000 + 1000)


async def test_an_invalidation_that_asks_for_no_life_shortens_none(manager: RedisManager) -> None:
    await at(manager, NOW, read(life=1000))
    await at(manager, NOW + 1, invalidate(life=0))
    assert (await content(manager), await ends(manager)) == (stamps(NOW + 1, NOW), NOW // 1000 + 1000)


@pytest.mark.parametrize("names", [b" ", b" accept-language,:user", b" x" * 3000])
async def test_what_follows_the_generation_is_kept(manager: RedisManager, names: bytes) -> None:
    await manager.execute("SET", ENTRY, stamps(NOW) + names, "PX", HOUR)
    await run(manager, [invalidate(ENTRY, life=0)])
    marked = await content(manager, ENTRY)
    assert split(marked[:33])[0] > NOW
    assert split(marked[:33])[1] == NOW
    assert marked[33:] == names
    assert await run(manager, [read(ENTRY)]) == [PASSED, marked[:33]]
    assert await content(manager, ENTRY) == marked


@pytest.mark.parametrize("text", [b"", b"1.2", b"x" * 33, b" " + stamps(NOW), stamps(NOW)[:-1]])
async def test_what_is_no_generation_counts_as_absent_to_an_invalidation(manager: RedisManager, text: bytes) -> None:
    await manager.execute("SET", TAG, text, "PX", HOUR)
    await run(manager, [invalidate()])
    hard, soft = split(await content(manager))
    assert hard == soft > NOW


@pytest.mark.parametrize("text", [b"", b"1.2", b"x" * 33, b" " + stamps(NOW), stamps(NOW)[:-1]])
async def test_what_is_no_generation_is_replaced_when_it_is_read(manager: RedisManager, text: bytes) -> None:
    await manager.execute("SET", TAG, text, "PX", HOUR)
    status, generation = await run(manager, [read(expected=stamps(NOW))])
    assert (status, await content(manager)) == (STOPPED, generation)
    assert split(generation)[0] > NOW
    assert await run(manager, [read(expected=generation)]) == [PASSED, generation]


async def test_a_tag_without_an_expiry_gets_one(manager: RedisManager) -> None:
    await manager.execute("SET", TAG, stamps(NOW))
    await run(manager, [read()])
    assert 0 < await manager.execute("PTTL", TAG) <= HOUR
    await manager.execute("SET", TAG, stamps(NOW))
    await run(manager, [invalidate(life=0)])
    assert await manager.execute("PTTL", TAG) != -1


async def test_what_is_of_another_type_is_as_good_as_absent_and_is_written_over(manager: RedisManager) -> None:
    await manager.execute("SADD", TAG, "x")
    status, generation = await run(manager, [read(expected=stamps(NOW))])
    assert (status, await content(manager)) == (STOPPED, generation)
    assert await run(manager, [read()]) == [PASSED, generation]
    await manager.execute("DEL", TAG)
    await manager.execute("SADD", TAG, "x")
    await run(manager, [invalidate()])
    assert split(await content(manager))[0] > NOW


async def test_an_invalidation_is_heard(manager: RedisManager) -> None:
    async with manager.pubsub.subscribe(KEYS.cache_channel.decode()) as messages:
        await run(manager, [invalidate(word=b"user:7")])
        await run(manager, [invalidate(), invalidate(OTHER, life=0, word=b"stats")])
        heard = [(await within(anext(messages))).data for _ in range(2)]
    assert [word[:-16] for word in heard] == [b"user:7", b"stats"]
    assert all(word[-16:].isdigit() for word in heard), "the server's time is added to it"


async def test_reading_and_invalidating_in_one_round_leaves_what_is_read_invalid(manager: RedisManager) -> None:
    for operations in ([read(), invalidate()], [invalidate(), read()]):
        await manager.execute("DEL", TAG)
        await run(manager, [read()])
        reply = await run(manager, operations)
        (generation,) = [word for word in reply if isinstance(word, bytes)]
        assert await content(manager) != generation


def test_both_may_be_sent_again() -> None:
    batch = Batch([read(), invalidate()])
    assert program_of((place_of(False, batch.kinds),)).repeatable
