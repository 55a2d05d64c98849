"""Operations of locks and semaphores where a server is full, forgets, or holds under their keys what is not theirs."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.script import Operation, Replies
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import OperationFailed
from asgi_redis_guard.locks.operations import Claim
from asgi_redis_guard.redis.asking import carry_out
from tests.conftest import BACKENDS, MakeServer
from tests.servers import Server

KEYS = Keys()
HOUR = 3_600_000  # ms
Make = Callable[..., Claim]


def lock(token: str, ttl: float = 30, name: str = "it") -> Claim:
    return Claim.of(KEYS, (name,), token, ttl)


def place(token: str, ttl: float = 30, name: str = "it") -> Claim:
    return Claim.of(KEYS, (name,), token, ttl, 1)


both = pytest.mark.parametrize("make", [lock, place])


async def do(manager: RedisManager, *operations: Operation) -> Replies:
    return await carry_out(manager, Ask(operations))


async def fence_of(manager: RedisManager, claim: Claim) -> int:
    """Take it, and return its fence."""
    (reply,) = await do(manager, claim.acquire())
    assert reply.passed
    number: int = reply.values[0]
    return number


async def content(manager: RedisManager) -> dict[bytes, Any]:
    """Every key, and what is in it."""
    keys = await manager.execute("KEYS", "*")
    return {key: await manager.execute("DUMP", key) for key in keys}


@both
async def test_every_key_ends_by_itself(manager: RedisManager, make: Make) -> None:
    mine, other = make("mine"), make("other")
    steps = [mine.acquire, other.attend, mine.renew, mine.acquire, lambda: mine.extend(1000, "add")]
    for step in steps:
        await do(manager, step())
        left = [await manager.execute("PTTL", key) for key in mine.keys]
        assert 20_000 < left[0] <= 31_000
        assert HOUR - 10_000 < left[1] <= HOUR
    assert set(await manager.execute("KEYS", "*")) == set(mine.keys)
    await do(manager, mine.release())
    assert await manager.execute("KEYS", "*") == [mine.keys[1]]


@both
async def test_a_lock_without_an_end_of_somebody_else_s_making_gets_one_when_it_is_renewed(
    manager: RedisManager, make: Make
) -> None:
    mine = make("mine")
    await fence_of(manager, mine)
    await manager.execute("PERSIST", mine.keys[0])
    await do(manager, mine.renew())
    assert 20_000 < await manager.execute("PTTL", mine.keys[0]) <= 30_000


@both
async def test_what_was_flushed_is_lost_for_its_holder_and_the_next_fence_is_higher(
    manager: RedisManager, make: Make
) -> None:
    first = await fence_of(manager, make("mine"))
    await manager.execute("FLUSHALL")
    for operation in (make("mine").renew(), make("mine").extend(1, "set")):
        (reply,) = await do(manager, operation)
        assert not reply.passed
    assert (await do(manager, make("mine").release()))[0].values == [0, 0]
    assert await manager.execute("KEYS", "*") == []
    assert await fence_of(manager, make("other")) > first


@both
@pytest.mark.parametrize(
    "last", [b"nonsense", b"", b"-5", b"1", b"0000000000000001", b"inf", b"-inf", b"nan", b"9" * 16, b"1" * 300]
)
async def test_fences_go_by_the_clock_where_the_last_one_makes_no_sense(
    manager: RedisManager, make: Make, last: bytes
) -> None:
    await manager.execute("SET", make("mine").keys[1], last)
    seconds, micros = await manager.execute("TIME")
    first = await fence_of(manager, make("mine"))
    assert 0 <= first - (int(seconds) * 1_000_000 + int(micros)) < 10**9
    await do(manager, make("mine").release())
    assert await fence_of(manager, make("other")) > first


@both
async def test_fences_go_on_from_one_that_is_ahead_of_the_clock(manager: RedisManager, make: Make) -> None:
    await manager.execute("SET", make("mine").keys[1], "3000000000000000")
    assert await fence_of(manager, make("mine")) == 3_000_000_000_000_001
    await do(manager, make("mine").release())
    assert await fence_of(manager, make("other")) == 3_000_000_000_000_002


@both
@pytest.mark.parametrize("which", [0, 1], ids=["its own key", "the fence's"])
async def test_what_is_no_lock_fails_alone_and_stays_as_it_is(manager: RedisManager, make: Make, which: int) -> None:
    mine = make("mine")
    await manager.execute("RPUSH", mine.keys[which], "somebody's")
    before = await content(manager)
    touching = [mine.acquire(), mine.acquire(all_or_none=True)]
    if which == 0:
        touching += [mine.attend(), mine.renew(), mine.extend(1, "add"), mine.release(), mine.peek()]
    for operation in touching:
        with pytest.raises(OperationFailed, match="WRONGTYPE"):
            await do(manager, operation)
        assert await content(manager) == before
    neighbour = make("mine", name="neighbour")
    with pytest.raises(OperationFailed, match="WRONGTYPE"):
        await do(manager, neighbour.acquire(), mine.acquire())
    assert (await do(manager, neighbour.peek()))[0].values[0] == 1


@pytest.mark.parametrize("text", [b"x", b"", b"somebody's lock of another kind"])
async def test_a_lock_of_another_program_is_another_s_for_ever(manager: RedisManager, text: bytes) -> None:
    mine = lock("mine")
    await manager.execute("SET", mine.keys[0], text)
    (reply,) = await do(manager, mine.acquire())
    assert (reply.passed, reply.values) == (False, [0, -1])
    assert not (await do(manager, mine.renew()))[0].passed
    assert (await do(manager, mine.release()))[0].values == [0, 0]
    assert await manager.execute("GET", mine.keys[0]) == text


@both
async def test_several_are_taken_all_or_none(manager: RedisManager, make: Make) -> None:
    names = ["a", "b", "c"]
    await fence_of(manager, make("other", name="b"))
    before = await content(manager)
    wanted = [make("mine", name=name).acquire(all_or_none=True) for name in names]
    replies = await do(manager, *wanted)
    assert [(reply.passed, reply.committed) for reply in replies] == [(True, False), (False, True), (True, False)]
    assert await content(manager) == before
    await do(manager, make("other", name="b").release())
    for _ in range(2):  # again: the reply was lost
        assert (await do(manager, *wanted)).passed
    assert [(await do(manager, make("mine", name=name).peek()))[0].values[0] for name in names] == [1, 1, 1]


# Full memory.


@pytest.fixture(params=[kind for kind in BACKENDS if kind != "memory"])
def server(request: pytest.FixtureRequest, make_server: MakeServer) -> Server:
    return make_server(request.param, maxmemory_policy="noeviction")


@pytest.fixture
async def full(server: Server) -> AsyncIterator[RedisManager]:
    """A server whose memory is full once `fill` is called."""
    async with RedisManager(server.url, timeout=20) as manager:
        yield manager


def fill(server: Server) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")


@both
async def test_full_memory_refuses_new_holders_and_nothing_is_half_written(
    server: Server, full: RedisManager, make: Make
) -> None:
    await fence_of(full, make("other"))
    before = await content(full)
    fill(server)
    new = make("mine", name="new")
    for operation in (new.acquire(), new.acquire(all_or_none=True)):
        with pytest.raises(OperationFailed, match="OOM"):
            await do(full, operation)
        assert await content(full) == before
    (reply,) = await do(full, make("mine").acquire())
    assert not reply.passed, "that it is another's is told all the same"


async def test_full_memory_refuses_a_place_also_where_old_ones_could_be_cleared_away(
    server: Server, full: RedisManager
) -> None:
    await fence_of(full, place("old"))
    await full.execute("ZADD", place("old").keys[0], 1, "old")  # its time is up
    before = await content(full)
    fill(server)
    with pytest.raises(OperationFailed, match="OOM"):
        await do(full, place("mine").acquire())
    assert await content(full) == before


@both
async def test_full_memory_takes_nothing_from_who_holds(server: Server, full: RedisManager, make: Make) -> None:
    mine = make("mine", 5)
    await fence_of(full, mine)
    fill(server)
    longer = make("mine", 50)
    for operation, least in [
        (longer.acquire(), 45_000),
        (mine.extend(10_000, "set"), 9_000),
        (mine.extend(10_000, "add"), 18_000),
        (longer.renew(), 45_000),
    ]:
        assert (await do(full, operation)).passed
        state, left, *_ = (await do(full, mine.peek()))[0].values
        assert (state, least < left <= 50_000) == (1, True)
    assert (await do(full, mine.release()))[0].values == [1, 0]
    assert await full.execute("EXISTS", mine.keys[0]) == 0


@both
async def test_who_releases_while_memory_is_full_tells_who_waits(
    server: Server, full: RedisManager, make: Make
) -> None:
    mine = make("mine")
    await fence_of(full, mine)
    await do(full, make("other").attend())
    fill(server)
    async with full.pubsub.subscribe(KEYS.locks_channel) as heard:
        await do(full, mine.release())
        async for message in heard:
            assert message.data == mine.word  # type: ignore[union-attr]
            break
