"""Locks whose manager, loop or process ends: nobody waits for ever, nothing is left."""

import asyncio
import os
import signal
import sys

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import LockLost, RedisUnavailable
from tests.faults.locks import FOR_LONG, is_attended, is_free, outcome, processes
from tests.faults.stories import ROOT, ends_well
from tests.redis.tools import PATIENCE, within
from tests.servers import Server


async def test_a_manager_that_closes_under_a_held_lock_tells_its_holder(redis_url: str) -> None:
    redis = RedisManager(redis_url, timeout=PATIENCE)
    inside = asyncio.Event()

    async def work() -> None:
        async with redis.lock("job", ttl=FOR_LONG):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await within(inside.wait())
    await within(redis.aclose())
    assert isinstance(await outcome(within(task)), LockLost)
    await within(redis.aclose())


async def test_a_manager_that_closes_lets_everybody_go_who_waits(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (other,):
        theirs = other.lock()
        assert await theirs.acquire()
        redis = RedisManager(redis_url, timeout=0.5)
        waiting = [asyncio.ensure_future(redis.lock("job", ttl=FOR_LONG).acquire()) for _ in range(10)]
        await is_attended(valkey)
        await within(redis.aclose())
        outcomes = await within(asyncio.gather(*waiting, return_exceptions=True))
        assert {type(error) for error in outcomes} == {RedisUnavailable}
        assert await theirs.owned()
        await theirs.release()
        await within(redis.aclose())
        await is_free(valkey)


ENDS = """
import asyncio, sys
from asgi_redis_guard.redis.manager import RedisManager

redis = RedisManager(sys.argv[1], timeout=20)
"""

LOOP_ENDS_UNDER_HOLDERS = """
async def work(inside):
    async with redis.lock("job", ttl=300):
        inside.set()
        await asyncio.Event().wait()

async def waiter():
    await redis.lock("job", ttl=300).acquire()

async def main():
    inside = asyncio.Event()
    asyncio.ensure_future(work(inside))
    await inside.wait()
    for _ in range(3):
        asyncio.ensure_future(waiter())
    await asyncio.sleep(0.1)

async def other():
    async with redis.lock("job", ttl=300, wait=0):
        pass

for _ in range(2):
    asyncio.run(main())
    asyncio.run(other())  # it was given back when the loop ended
print("well")
"""

LOOP_CLOSED_UNDER_HOLDERS = """
async def take():
    lock = redis.lock("job", ttl=300)
    assert await lock.acquire()
    await asyncio.sleep(0.1)  # what begins with the first use has ended
    return lock

loop = asyncio.new_event_loop()
lock = loop.run_until_complete(take())
loop.close()  # without a word to anybody

async def other():
    assert not await redis.lock("job", ttl=300).acquire(blocking=False)
    assert not redis.leases
    async with redis.lock("other", ttl=300, wait=0):
        pass

asyncio.run(other())
print("well")
"""

FORKED_WITH_A_LOCK = """
import os

async def main():
    async with redis.lock("job", ttl=2) as lock:
        if not (pid := os.fork()):
            asyncio._set_running_loop(None)
            asyncio.run(child())
            os._exit(0)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            await asyncio.sleep(0.01)
        assert not lock.lost.is_set()
        assert await lock.owned()
        assert lock.remaining() > 0
    await redis.aclose()

async def child():
    assert not await redis.lock("job", ttl=1).acquire(blocking=False)
    assert not redis.leases, "the parent renews it, the child does not"
    async with redis.lock("mine", ttl=2):
        await asyncio.sleep(2.5)

asyncio.run(main())
print("well")
"""


@pytest.mark.parametrize(
    "story", [LOOP_ENDS_UNDER_HOLDERS, LOOP_CLOSED_UNDER_HOLDERS, FORKED_WITH_A_LOCK], ids=["ends", "closed", "forked"]
)
def test_loops_and_processes_that_end_with_locks(redis_url: str, story: str) -> None:
    ends_well(ENDS + story, redis_url)


HOLDER = """
async def main():
    async with redis.lock("job", ttl=2) as lock:
        print(lock.fence, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_holder_that_crashes_is_followed_when_its_time_is_up(redis_url: str) -> None:
    """No sooner, and without its help: nobody says a word."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDS + HOLDER, redis_url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    fence = int(await within(holder.stdout.readline()))
    async with processes(redis_url, 1) as (one,):
        lock = one.lock(wait=None)
        waiting = asyncio.ensure_future(lock.acquire())
        await asyncio.sleep(2.2)  # it is renewed in the meantime
        assert not waiting.done()
        os.kill(holder.pid, signal.SIGKILL)
        await holder.wait()
        assert await within(waiting)
        assert lock.fence is not None
        assert lock.fence > fence
        await lock.release()
