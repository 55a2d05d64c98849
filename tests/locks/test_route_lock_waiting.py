"""`RouteLock(wait=…)`: requests stand in line, are woken by the release, and are told when it took too long."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.locks.guard import RouteLock
from tests.drive import App, get, handshake
from tests.guards import asking, count
from tests.locks.work import Work, held, stack
from tests.middleware.calls import Call, TestRedis, http
from tests.redis.tools import PATIENCE, eventually


async def waiting(manager: RedisManager, number: int) -> None:
    """Wait until so many requests stand in line behind the first one that waits, and that one is told of."""
    await eventually(lambda: sum(flight.waiting for flight in manager.flights._flights.values()) == number - 1)


async def marked(manager: RedisManager) -> None:
    """Wait until who holds the lock knows that somebody waits."""

    async def is_marked() -> bool:
        keys = await manager.execute("KEYS", "guard:k:*")
        return bool(keys) and (await manager.execute("GET", keys[0]) or b"-").startswith(b"w")

    async with asyncio.timeout(PATIENCE):
        while not await is_marked():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_who_waits_is_woken_by_the_release(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("x", wait=PATIENCE))
    first = Call(app).start()
    await work.runs(1)
    second = Call(app).start()
    await marked(manager)
    assert work.running == 1
    work.open.set()
    await asyncio.gather(first.task, second.task)
    assert (first.status, second.status, work.most) == (200, 200, 1)
    fences = [lock.fence for lock in work.locks if lock is not None]
    assert fences == sorted(set(fences))
    assert await held(manager) == 0


async def test_who_waits_is_woken_by_a_release_in_another_process(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as one, RedisManager(redis_url, timeout=PATIENCE) as two:
        work = Work()
        first = Call(stack(work, one, RouteLock("x", wait=PATIENCE))).start()
        await work.runs(1)
        second = Call(stack(work, two, RouteLock("x", wait=PATIENCE))).start()
        await marked(one)
        work.open.set()
        await asyncio.gather(first.task, second.task)
        assert (second.status, work.most) == (200, 1)


async def test_first_come_first_served(memory: TestRedis) -> None:
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["path"])
        await work(scope, receive, send)

    work = Work()
    guarded = stack(app, memory, RouteLock("x", wait=PATIENCE))
    calls = [Call(guarded, http(path="/0")).start()]
    await work.runs(1)
    for number in range(1, 6):
        calls.append(Call(guarded, http(path=f"/{number}")).start())
        await eventually(lambda: len(memory.flights) == 1)
        await waiting(memory, number)
    work.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert order == [f"/{number}" for number in range(6)]


async def test_who_comes_while_others_stand_in_line_does_not_push_in(memory: TestRedis) -> None:
    """Nor does it ask: one of a process is enough."""
    work = Work()
    app = stack(work, memory, RouteLock("x", wait=PATIENCE))
    calls = [Call(app).start()]
    await work.runs(1)
    calls.append(Call(app).start())
    await marked(memory)
    asked = len(memory.rounds)
    for number in range(2, 10):
        calls.append(Call(app).start())
        await waiting(memory, number)
    assert len(memory.rounds) == asked
    work.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert work.most == 1


async def test_who_has_waited_too_long_is_told_when_to_come_again(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("x", ttl=20, wait=0.05))
    first = Call(app).start()
    await work.runs(1)
    late = await get(app)
    assert (late.status, late["content-type"]) == (503, "application/problem+json")
    assert 1 < int(late["retry-after"]) <= 20
    assert (await handshake(app)).status == 503
    assert await held(manager) == 1
    work.open.set()
    await first.task
    assert await held(manager) == 0


async def test_who_was_second_in_line_is_told_the_time_of_the_holder_too(manager: RedisManager) -> None:
    work = Work()
    first = Call(stack(work, manager, RouteLock("x"))).start()
    await work.runs(1)
    second = Call(stack(work, manager, RouteLock("x", wait=PATIENCE))).start()
    await marked(manager)
    third = Call(stack(work, manager, RouteLock("x", wait=0.3))).start()
    await waiting(manager, 2)
    second.task.cancel()
    await third.task
    assert (third.status, 1 < int(dict(third.headers)[b"retry-after"]) <= 30) == (503, True)
    work.open.set()
    await first.task


async def test_who_leaves_while_it_waits_leaves_no_lock(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("x", wait=PATIENCE))
    first = Call(app).start()
    await work.runs(1)
    second = Call(app).start()
    await marked(manager)
    second.task.cancel()
    await asyncio.wait([second.task])
    work.open.set()
    await first.task
    assert second.task.cancelled()
    assert await held(manager) == 0
    assert len(manager.leases) == 0
    assert not manager.flights


async def test_a_killed_holder_s_lock_is_had_when_its_time_is_up(manager: RedisManager) -> None:
    await get(stack(App(), manager, RouteLock("x")))
    assert await held(manager) == 0
    (fence,) = await manager.execute("KEYS", "guard:kf:*")
    key = fence.replace(b":kf:", b":k:")
    await manager.execute("SET", key, "-" + "0" * 16 + "killed", "PX", 300)
    response = await get(stack(App(), manager, RouteLock("x", wait=PATIENCE)))
    assert response.status == 200


@pytest.mark.parametrize("permits", [None, 2])
async def test_many_who_wait_all_get_their_turn(manager: RedisManager, permits: Any) -> None:
    inside = most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await manager.execute("PING")
        inside -= 1
        await App()(scope, receive, send)

    guarded = stack(app, manager, RouteLock("x", wait=PATIENCE, permits=permits))
    answers = await asyncio.gather(*(get(guarded) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert most <= (permits or 1)
    assert await held(manager) == 0


async def test_who_waits_for_several_locks_gets_them_all_at_once(manager: RedisManager) -> None:
    gates = {query: Work() for query in (b"a=1&b=1", b"a=2&b=2", b"a=1&b=2")}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gates[scope["query_string"]](scope, receive, send)

    guarded = stack(app, manager, RouteLock(["a:{query:a}", "b:{query:b}"], wait=PATIENCE))
    calls = [Call(guarded, http(query_string=query)).start() for query in list(gates)[:2]]
    for query in list(gates)[:2]:
        await gates[query].runs(1)
    last = Call(guarded, http(query_string=b"a=1&b=2")).start()
    await marked(manager) if await held(manager) == 1 else None
    gates[b"a=1&b=1"].open.set()
    await calls[0].task
    assert gates[b"a=1&b=2"].running == 0, "one of its locks is still another's"
    gates[b"a=2&b=2"].open.set()
    gates[b"a=1&b=2"].open.set()
    await asyncio.gather(calls[1].task, last.task)
    assert last.status == 200
    assert await held(manager) == 0


async def test_guards_behind_take_effect_when_the_wait_is_over_and_not_before(memory: TestRedis) -> None:
    work = Work()
    app = stack(work, memory, RouteLock("x", wait=PATIENCE), asking(count("behind")))
    first = Call(app).start()
    await work.runs(1)
    second = Call(app).start()
    await marked(memory)
    assert await memory.value("behind") == b"1"
    work.open.set()
    await asyncio.gather(first.task, second.task)
    assert await memory.value("behind") == b"2"
