"""Claim: at 64 tasks, >= 3 times the uncontended acquire/release pairs a second of every peer.

Same server, same process, same parser (hiredis), on uvloop and on asyncio's own loop. Every task has a lock of its own
and makes the object once. Ours as it comes: renewed while it is held, which is registered and given up in each pair;
redis-py's and pottery's are not renewed. python-redis-lock has no asyncio: its callers are threads, the best it can do.
pottery's Redlock has one master, as all have.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import redis
import redis.asyncio
import redis_lock
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import valkey
from pottery import AIORedlock

from asgi_redis_guard import RedisManager

BUDGET = 3.0
CALLERS = (1, 64)
TTL = 30
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
PEERS = ("redis-py", "python-redis-lock", "pottery")
Figures = Mapping[str, float]


class Clock:
    """Tells the callers of a turn to stop, without a look at the time for each pair."""

    def __init__(self, seconds: float) -> None:
        self.running = True
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        timer.start()

    def _stop(self) -> None:
        self.running = False


Start = Callable[[int, Clock], Awaitable[int]]


async def caller(lock: object, clock: Clock) -> int:
    """Take one lock and give it back, again and again; the number of pairs."""
    count = 0
    while clock.running:
        if not await lock.acquire():
            raise SystemExit(f"{lock!r} was not to be had, though nobody else wants it")
        await lock.release()
        count += 1
    return count


def thread(lock: redis_lock.Lock, clock: Clock) -> int:
    """The same for a lock that blocks."""
    count = 0
    while clock.running:
        if not lock.acquire():
            raise SystemExit(f"{lock!r} was not to be had, though nobody else wants it")
        lock.release()
        count += 1
    return count


def tasks(locks: Sequence[object]) -> Start:
    """Callers that are tasks."""
    return lambda number, clock: caller(locks[number], clock)


def in_threads(locks: Sequence[redis_lock.Lock], threads: ThreadPoolExecutor) -> Start:
    """Callers that are threads."""
    return lambda number, clock: asyncio.get_running_loop().run_in_executor(threads, thread, locks[number], clock)


async def turn(start: Start, callers: int, seconds: float) -> Figures:
    """One measured turn of one side."""
    started, cpu, clock = time.perf_counter(), time.process_time(), Clock(seconds)
    counts = await asyncio.gather(*(start(number, clock) for number in range(callers)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"pairs/s": sum(counts) / elapsed, "CPU us": cpu / sum(counts) * 1e6}


async def measure(url: str, callers: int, rounds: int, seconds: float) -> Rounds:
    """All sides in turns on the running loop."""
    pooled = redis.asyncio.Redis.from_url(url, max_connections=256)
    blocking = redis.Redis.from_url(url, max_connections=256)
    names = [f"bench:{number}" for number in range(callers)]
    with ThreadPoolExecutor(callers) as threads:
        async with RedisManager(url) as manager:
            starts = {
                "ours": tasks([manager.lock(name, ttl=TTL) for name in names]),
                "redis-py": tasks([pooled.lock(name, timeout=TTL) for name in names]),
                "pottery": tasks([AIORedlock(key=name, masters={pooled}, auto_release_time=TTL) for name in names]),
                "python-redis-lock": in_threads(
                    [redis_lock.Lock(blocking, name, expire=TTL) for name in names], threads
                ),
            }
            sides = {side: partial(turn, start, callers, seconds) for side, start in starts.items()}
            figures = await alternate_async(sides, rounds)
    await pooled.aclose()
    blocking.close()
    return figures


def run(url: str, rounds: int, seconds: float) -> list[bool]:
    """Every loop with every number of callers."""
    rows, verdicts = [], []
    for loop, factory in LOOPS.items():
        for callers in CALLERS:
            with asyncio.Runner(loop_factory=factory) as runner:
                figures = runner.run(measure(url, callers, rounds, seconds))
            for side in ("ours", *PEERS):
                ratio = figures.ratio("pairs/s", "ours", side)
                medians = [figures.median(side, unit) for unit in ("pairs/s", "CPU us")]
                rows.append(
                    (f"{loop}, {callers}", side, *medians, f"{ratio:.2f}x", f"{figures.spread(side, 'pairs/s'):.0%}")
                )
                if callers == 64 and side in PEERS:
                    verdicts.append((f"{loop}, 64 tasks, ours / {side}", ratio))
    table(("loop, tasks", "lock", "pairs/s", "CPU us", "ours is", "+-"), rows)
    return [verdict(claim, ratio, at_least=BUDGET) for claim, ratio in verdicts]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=7, seconds=1)
    parser.add_argument("--unix", action="store_true", help="a unix socket instead of TCP")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        url = server.unix_url if options.unix else server.url
        header("uncontended locks", server.banner, ("python-redis-lock", "pottery"))
        verdicts = run(url, options.rounds, options.seconds)
    finish(verdicts)


if __name__ == "__main__":
    main()
