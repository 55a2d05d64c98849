"""What a lock costs: round trips, commands, connections, garbage."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.errors import LockBusy
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.locks.operations import Claim
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import get
from tests.garbage import garbage_of
from tests.redis.tools import PATIENCE, eventually, within


class Counted(NamedTuple):
    """A manager, what it sends to the server, and another manager whose commands are not counted."""

    manager: RedisManager
    counter: RoundTripCounter
    other: RedisManager

    def rounds(self) -> tuple[int, list[bytes]]:
        """Round trips and commands since the last time."""
        found = self.counter.round_trips, self.counter.commands
        self.counter.reset()
        return found


@pytest.fixture
async def counted(redis_url: str) -> AsyncIterator[Counted]:
    async with (
        RoundTripCounter(redis_url) as counter,
        RedisManager(counter.url, timeout=PATIENCE) as manager,
        RedisManager(redis_url, timeout=PATIENCE) as other,
    ):
        for _ in range(2):  # a script is loaded by its first use
            async with manager.lock("it"), manager.semaphore("it", 2), manager.lock("a", "b"):
                pass
        counter.reset()
        yield Counted(manager, counter, other)


async def test_a_lock_is_taken_in_one_round_trip_and_given_back_in_another(counted: Counted) -> None:
    lock = counted.manager.lock("it")
    assert await lock.acquire()
    assert counted.rounds() == (1, [b"EVALSHA"])
    await lock.release()
    assert counted.rounds() == (1, [b"EVALSHA"])
    async with counted.manager.lock("another"):
        assert counted.rounds() == (1, [b"EVALSHA"])
    assert counted.rounds() == (1, [b"EVALSHA"])


async def test_so_are_a_place_in_a_semaphore_and_several_locks(counted: Counted) -> None:
    for lock in (counted.manager.semaphore("it", 2), counted.manager.lock("a", "b")):
        async with lock:
            assert counted.rounds() == (1, [b"EVALSHA"])
        assert counted.rounds() == (1, [b"EVALSHA"])


async def test_who_does_not_wait_hears_in_one_round_trip_that_it_is_another_s(counted: Counted) -> None:
    async with counted.other.lock("it", ttl=30):
        with pytest.raises(LockBusy) as caught:
            await counted.manager.lock("it", wait=0).__aenter__()
        assert 29 < caught.value.retry_after <= 30
        assert counted.rounds() == (1, [b"EVALSHA"])


async def test_locks_of_one_turn_of_the_loop_share_a_round_trip(counted: Counted) -> None:
    locks = [counted.manager.lock(f"its own {number}") for number in range(50)]
    await asyncio.gather(*(lock.acquire() for lock in locks))
    trips, commands = counted.rounds()
    assert (trips, len(commands)) == (1, 50)
    await asyncio.gather(*(lock.release() for lock in locks))
    trips, commands = counted.rounds()
    assert (trips, len(commands)) == (1, 50)


async def test_however_many_wait_one_of_them_asks_over_one_subscription(counted: Counted) -> None:
    """In their order, and each with two commands."""
    order: list[int] = []
    key = Claim.of(counted.other.keys, ("it",), "anybody", 1).keys[0]

    async def wait(number: int) -> None:
        async with counted.manager.lock("it"):
            order.append(number)

    async with counted.other.lock("it"):
        waiting = [asyncio.create_task(wait(number)) for number in range(100)]
        await eventually(lambda: b"SUBSCRIBE" in counted.counter.commands)
        while (await counted.other.execute("GET", key))[:1] != b"w":
            pass
        _, commands = counted.rounds()
        assert (commands.count(b"EVALSHA"), commands.count(b"SUBSCRIBE")) == (2, 1)
    await within(asyncio.gather(*waiting))
    _, commands = counted.rounds()
    assert set(commands) == {b"EVALSHA"}
    assert len(commands) == 200
    assert order == [*range(100)]


async def test_taking_and_giving_back_leaves_nothing_to_the_collector_of_garbage(counted: Counted) -> None:
    async def pair() -> None:
        await lock.acquire()
        await lock.release()

    lock = counted.other.lock("it")
    assert await garbage_of(pair) < 1


async def test_nor_does_a_locked_request(counted: Counted) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["lock"].remaining() > 0
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    app = GuardMiddleware(page, [RouteLock("{path}")], redis=counted.other)
    assert (await get(app)).status == 200
    assert await garbage_of(lambda: get(app)) < 1
