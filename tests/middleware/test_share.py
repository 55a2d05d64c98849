"""Work that one does for all who want it, in the background."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.middleware.trips import RoundTrips


@pytest.fixture
async def trips() -> AsyncIterator[RoundTrips]:
    async with RedisManager("memory://") as manager:
        yield RoundTrips(manager)


class Work:
    """Notes that it was begun; ends when it is told."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.go_on.wait()


async def test_it_is_done_once_for_all_who_come_while_it_is_under_way(trips: RoundTrips) -> None:
    work = Work()
    waiting = [asyncio.create_task(trips.share("a", work).wait()) for _ in range(20)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    other = Work()
    apart = asyncio.create_task(trips.share("b", other).wait())  # type: ignore[arg-type]
    work.go_on.set()
    await asyncio.gather(*waiting)
    assert (work.begun, len(trips.flights)) == (1, 1)
    assert not apart.done()
    other.go_on.set()
    await apart


async def test_who_comes_after_its_end_has_it_done_anew(trips: RoundTrips) -> None:
    work = Work()
    work.go_on.set()
    for _ in range(3):
        await trips.share("a", work).wait()
    assert work.begun == 3


async def test_it_begins_although_nobody_waits(trips: RoundTrips) -> None:
    work = Work()
    trips.share("a", work)
    work.go_on.set()
    await trips.manager.links.drain()
    assert (work.begun, len(trips.flights)) == (1, 0)


async def test_one_that_is_over_when_it_is_waited_for_is_over(trips: RoundTrips) -> None:
    work = Work()
    work.go_on.set()
    shared = trips.share("a", work)
    await trips.manager.links.drain()
    await shared.wait()
    assert work.begun == 1


async def test_nobody_s_leaving_ends_it(trips: RoundTrips) -> None:
    work = Work()
    first, second = (asyncio.create_task(trips.share("a", work).wait()) for _ in range(2))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go_on.set()
    await second
    assert work.begun == 1


async def test_one_that_fails_is_over_and_logged(trips: RoundTrips, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "asgi_redis_guard.middleware"):
        await trips.share("a", fails).wait()
    assert "work in the background failed" in caplog.text
    assert not len(trips.flights)


async def test_a_manager_that_closes_lets_go_who_waits() -> None:
    async with RedisManager("memory://", timeout=0.05) as manager:
        waiting = asyncio.create_task(RoundTrips(manager).share("a", Work()).wait())  # type: ignore[arg-type]
        await asyncio.sleep(0)
    await waiting
