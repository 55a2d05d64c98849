"""Claim: a waiter gets the lock in under 5 ms (the median) after it was released, in its process or another.

The holder keeps the lock for a while chosen at random, so that polling has no phase, and notes the time just before it
calls `release`; the waiter notes it when its `acquire` returns. Both clocks are the machine's monotonic one. Peers poll
as they come (redis-py 0.1 s, pottery up to 0.2 s); python-redis-lock waits in a BLPOP, a connection for each waiter,
and within one process in a thread.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import redis
import redis.asyncio
import redis_lock
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import stop, valkey
from pottery import AIORedlock

from asgi_redis_guard import RedisManager

BUDGET_MS = 5.0
TTL = 30
SIDES = ("ours", "redis-py", "python-redis-lock", "pottery")
Waiter = Callable[[], Awaitable[float]]


class InThreads:
    """A lock that blocks, for callers that await."""

    def __init__(self, lock: redis_lock.Lock) -> None:
        self._lock = lock

    async def acquire(self) -> bool:
        """Take it in a thread."""
        return await asyncio.to_thread(self._lock.acquire)

    async def release(self) -> None:
        """Give it back from a thread."""
        await asyncio.to_thread(self._lock.release)


@asynccontextmanager
async def locks(side: str, url: str) -> AsyncIterator[Callable[[], object]]:
    """Makes locks on one name, as many as are asked for."""
    if side == "ours":
        async with RedisManager(url) as manager:
            yield lambda: manager.lock("bench", ttl=TTL)
        return
    if side == "python-redis-lock":
        with redis.Redis.from_url(url) as blocking:
            yield lambda: InThreads(redis_lock.Lock(blocking, "bench", expire=TTL))
        return
    client = redis.asyncio.Redis.from_url(url)
    try:
        if side == "redis-py":
            yield lambda: client.lock("bench", timeout=TTL)
        else:
            yield lambda: AIORedlock(key="bench", masters={client}, auto_release_time=TTL)
    finally:
        await client.aclose()


async def acquired_at(lock: object) -> float:
    """Wait for the lock; when it was had."""
    if not await lock.acquire():
        raise SystemExit(f"{lock!r} was not to be had")
    now = time.monotonic()
    await lock.release()
    return now


async def wait_here(make: Callable[[], object]) -> float:
    """A waiter in the holder's own process."""
    return await acquired_at(make())


async def wait_there(side: str, url: str) -> None:
    """The waiter's process: a line in is a wait to begin, a line out the time when it was over."""
    async with locks(side, url) as make:
        await acquired_at(make())  # connections, scripts, threads
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(await acquired_at(make()), flush=True)


class There:
    """A waiter in another process."""

    def __init__(self, side: str, url: str) -> None:
        command = [sys.executable, __file__, "--wait", side, "--url", url]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def line(self) -> str:
        """What it says next."""
        said = await asyncio.to_thread(self.child.stdout.readline)
        if not said:
            raise SystemExit("the waiter's process has ended")
        return said.decode().strip()

    async def wait(self) -> float:
        """Have it wait once."""
        self.child.stdin.write(b"wait\n")
        self.child.stdin.flush()
        return float(await self.line())


async def sample(make: Callable[[], object], wait: Waiter, dice: random.Random) -> float:
    """Hold the lock until somebody waits for it, release it: milliseconds until he had it."""
    lock = make()
    await lock.acquire()
    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0.06 + dice.random() * 0.1)
    released = time.monotonic()
    await lock.release()
    return (await waiting - released) * 1000


async def measure(url: str, side: str, samples: int, *, other_process: bool) -> Sequence[float]:
    """All wake-ups of one side, sorted."""
    dice = random.Random(1)
    async with locks(side, url) as make:
        if not other_process:
            await sample(make, partial(wait_here, make), dice)
            return sorted([await sample(make, partial(wait_here, make), dice) for _ in range(samples)])
        there = There(side, url)
        try:
            await there.line()
            await sample(make, there.wait, dice)
            return sorted([await sample(make, there.wait, dice) for _ in range(samples)])
        finally:
            await asyncio.to_thread(stop, there.child)


def report(found: Mapping[tuple[str, str], Sequence[float]]) -> list[bool]:
    """Print the table and the verdicts."""
    rows, verdicts = [], []
    for (where, side), times in found.items():
        middle, late = times[len(times) // 2], times[int(len(times) * 0.99)]
        rows.append((where, side, f"{middle:.2f}", f"{late:.2f}", f"{times[0]:.2f}", f"{times[-1]:.2f}"))
        if side == "ours":
            verdicts.append((f"ms from release to acquire, {where}", middle))
    table(("waiter", "lock", "median ms", "p99 ms", "least", "most"), rows)
    return [verdict(claim, middle, at_most=BUDGET_MS) for claim, middle in verdicts]


def main() -> None:
    """Measure and report, or be the waiter's process."""
    parser = arguments(__doc__, rounds=1, seconds=0)
    parser.add_argument("--samples", type=int, default=200, help="wake-ups of every side (default 200)")
    parser.add_argument("--wait", choices=SIDES, help="be the waiter of a side, told by lines of standard input")
    parser.add_argument("--url", help="the server of that")
    options = parser.parse_args()
    if options.wait:
        asyncio.run(wait_there(options.wait, options.url))
        return
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("wake-up of a waiter", server.banner, ("python-redis-lock", "pottery"))
        found = {
            (where, side): asyncio.run(measure(server.url, side, options.samples, other_process=other))
            for where, other in (("another process", True), ("the same process", False))
            for side in SIDES
        }
        verdicts = report(found)
    finish(verdicts)


if __name__ == "__main__":
    main()
