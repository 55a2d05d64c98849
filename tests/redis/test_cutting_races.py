"""Rounds over several slots that cross each other: nothing is admitted beyond its limit, nothing is left behind."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from asgi_redis_guard import LockBusy, RedisManager
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.core.script import HELD_BACK, PASSED, STOPPED, Batch, Operation, place_of
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.ratelimit.concurrency import TAKE
from asgi_redis_guard.redis.program import Program, program_of
from asgi_redis_guard.redis.undoing import Undoing
from tests.conformance.operations import ALGORITHMS, DRAINING, KEYS, Bound
from tests.cutting import CuttingLane
from tests.redis.tools import PATIENCE, within


class Crossing(CuttingLane):
    """A lane on which every program takes a way of its own length."""

    dice = random.Random(7)
    #: Programs that have undone something.
    undoings = 0

    def _send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        self.undoings += any(kind.name.endswith(("_settle", "_release", "undo")) for kind in batches[0].kinds)
        return asyncio.ensure_future(self._late(program, batches))

    async def _late(self, program: Program, batches: Sequence[Batch]) -> Any:
        for _ in range(self.dice.randrange(12)):
            await asyncio.sleep(0)
        return await self.lane.evaluate(program, batches)


@pytest.fixture
async def manager(redis_url: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def lane(manager: RedisManager) -> CuttingLane:
    links = manager.links
    links.lane1 = lane = Crossing(links.lane1, links, PATIENCE)
    return lane


async def ask(manager: RedisManager, *guards: Sequence[Operation]) -> list[Any]:
    batches = [Batch(guard) for guard in guards]
    program = program_of(tuple(place_of(False, batch.kinds) for batch in batches))
    return list(await within(manager.evaluate(program, batches)))


class For(Bound):
    """A limit of somebody."""

    def __init__(self, algorithm: Any, amount: int, who: str) -> None:
        super().__init__(algorithm, amount, 3600, amount)
        self.who = digest(who)

    def asked(self) -> Operation:
        return self.limit.operation(KEYS, self.who, 1)

    async def left(self, manager: RedisManager) -> int:
        flat = await ask(manager, [self.limit.operation(KEYS, self.who, 0)])
        left: int = flat[1]
        return left


@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if one != "calendar"])
async def test_limits_in_several_slots_count_together_or_not_at_all(
    manager: RedisManager, lane: Crossing, algorithm: Any
) -> None:
    one, two, three = For(algorithm, 40, "one"), For(algorithm, 30, "two"), For(algorithm, 35, "three")
    guards = [[one.asked()], [two.asked(), three.asked()]]
    replies = await asyncio.gather(*(ask(manager, *guards) for _ in range(120)))
    await manager.links.drain()
    statuses = [tuple(flat[at] for at in (0, 4, 8)) for flat in replies]
    passed = statuses.count((PASSED, PASSED, PASSED))
    assert 0 < passed <= 30
    assert {status for all_of_it in statuses for status in all_of_it} <= {PASSED, STOPPED, HELD_BACK, 3}
    assert lane.undoings, "no race was lost with something to undo"
    left = [await limit.left(manager) for limit in (one, two, three)]
    lost = [amount - passed - rest for amount, rest in zip((40, 30, 35), left, strict=True)]
    # What a bucket has drained between a commit and its undoing is not given back: milliseconds.
    assert all(0 <= units <= (algorithm in DRAINING) for units in lost)


async def test_what_runs_at_once_in_several_slots_is_given_back_where_one_is_full(
    manager: RedisManager, lane: Crossing
) -> None:
    def take(who: bytes, amount: int, number: int) -> Operation:
        return Operation(TAKE, (KEYS.concurrency(b"x", who),), (amount, 60_000_000, 1, b"lease%d" % number))

    async def run(number: int) -> bool:
        flat = await ask(manager, [take(b"a", 9, number)], [take(b"b", 7, number)])
        return (flat[0], flat[4]) == (PASSED, PASSED)

    running = sum(await asyncio.gather(*(run(number) for number in range(60))))
    await manager.links.drain()
    assert running <= 7, "and maybe none: each may have kept others out until it was undone"
    assert lane.undoings
    for who in (b"a", b"b"):
        assert await manager.execute("ZCARD", KEYS.concurrency(b"x", who)) == running
    assert [await run(number) for number in range(60, 68)] == [True] * (7 - running) + [False] * (running + 1)


async def test_several_locks_are_held_by_one_and_nothing_of_them_is_left_behind(
    manager: RedisManager, lane: Crossing
) -> None:
    held: dict[str, int] = {}
    taken = 0

    async def work(number: int) -> None:
        nonlocal taken
        names = random.Random(number).sample("abcd", 3)
        try:
            async with manager.lock(*names, ttl=30, wait=None if number % 2 else 0):
                for name in names:
                    assert held.setdefault(name, number) == number
                await asyncio.sleep(0)
                for name in names:
                    del held[name]
                taken += 1
        except LockBusy:
            assert number % 2 == 0

    await within(asyncio.gather(*(work(number) for number in range(40))), 60)
    await manager.links.drain()
    assert taken >= 20, "all that wait have had their turn"
    assert lane.undoings
    assert await manager.execute("KEYS", "guard:k:*") == []


# What undoes.


class Flaky:
    """Sends what it is given to nowhere; `says` is what comes of it, one after the other."""

    def __init__(self, *says: Any) -> None:
        self.says = [*says]
        self.tasks: list[Any] = []

    def send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        said = self.says.pop(0)
        future = asyncio.get_running_loop().create_future()
        if isinstance(said, RedisUnavailable) and not said.maybe_executed:
            raise said
        if isinstance(said, Exception):
            future.set_exception(said)
        else:
            future.set_result(said)
        return future

    async def undo(self, operation: Operation) -> None:
        Undoing(self.send, self.tasks.append, PATIENCE)("slot", operation)
        (task,) = self.tasks
        await within(task)


async def test_what_undoes_is_tried_again_while_it_was_not_sent() -> None:
    flaky = Flaky(RedisUnavailable("away"), RedisUnavailable("away"), [PASSED, 1])
    await flaky.undo(Bound("gcra", 1, 1, 1).settle(0, 1, 0))
    assert flaky.says == []


async def test_what_may_have_undone_is_not_repeated_where_twice_is_more_than_once() -> None:
    flaky = Flaky(RedisUnavailable("broke", maybe_executed=True), [PASSED, 1])
    settle = Bound("gcra", 1, 1, 1).settle(0, 1, 0)
    assert not settle.kind.repeatable
    await flaky.undo(settle)
    assert flaky.says == [[PASSED, 1]]


async def test_what_may_have_been_released_is_released_again() -> None:
    flaky = Flaky(RedisUnavailable("broke", maybe_executed=True), [PASSED, 1])
    release = TAKE.undoing(Operation(TAKE, (b"c",), (1, 60, 1, b"lease")), 5)
    assert release is not None
    await flaky.undo(release)
    assert flaky.says == []


async def test_what_fails_at_the_server_is_given_up() -> None:
    flaky = Flaky([b"WRONGTYPE", 1])
    await flaky.undo(Bound("gcra", 1, 1, 1).settle(0, 1, 0))
    assert flaky.says == []
