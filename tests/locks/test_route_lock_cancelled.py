"""A request may be cancelled at any step of its way: no lock, no lease and no place in line is left behind."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.locks.guard import RouteLock
from tests.drive import App, get
from tests.guards import asking, count
from tests.locks.work import Work, held, stack
from tests.middleware.calls import Call, settled
from tests.redis.tools import PATIENCE

#: Turns of the loop after which a request is cancelled; the last ones come after its end.
STEPS = range(60)


async def turns(number: int) -> None:
    """Let so many turns of the loop pass."""
    for _ in range(number):
        await asyncio.sleep(0)


async def nothing_is_left(manager: RedisManager) -> None:
    await settled(manager)
    assert await held(manager) == 0
    assert (len(manager.leases), len(manager.flights)) == (0, 0)


@pytest.mark.parametrize("options", [{}, {"wait": PATIENCE}, {"permits": 1}], ids=repr)
@pytest.mark.parametrize("keys", [["x"], ["x", "y"]])
async def test_a_request_that_gets_its_lock_at_once(
    manager: RedisManager, options: dict[str, Any], keys: list[str]
) -> None:
    app = stack(App(), manager, RouteLock(keys, **options), asking(count("behind")))
    await get(app)
    for steps in STEPS:
        call = Call(app).start()
        await turns(steps)
        call.task.cancel()
        await asyncio.wait([call.task])
        await nothing_is_left(manager)
    assert (await get(app)).status == 200


@pytest.mark.parametrize("keys", [["x"], ["x", "y"]])
async def test_a_request_that_waits_for_its_lock_and_one_behind_it(manager: RedisManager, keys: list[str]) -> None:
    """The holder goes on in the middle; who stands behind the cancelled one gets its turn all the same."""
    guard = RouteLock(keys, wait=PATIENCE)
    for steps in STEPS:
        work = Work()
        app = stack(work, manager, guard)
        first = Call(app).start()
        await work.runs(1)
        second, third = Call(app).start(), Call(app).start()
        await turns(steps // 2)
        work.open.set()
        await turns(steps - steps // 2)
        second.task.cancel()
        await asyncio.wait([second.task])
        await asyncio.gather(first.task, third.task)
        assert (first.status, third.status, work.most) == (200, 200, 1)
        await nothing_is_left(manager)
