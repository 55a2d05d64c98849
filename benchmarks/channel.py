"""Claim: the channel does >= 8 times the GETs/s of redis-py's own pooled client at 64 callers, >= 1.3 times at one.

Same server, same running loop, same parser (hiredis), on uvloop and on asyncio's own loop. Every caller has a key of
its own and checks that each reply is its own. redis-py's client is used as it comes: `Redis.from_url`, its pool large
enough for every caller.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import redis.asyncio
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey

from asgi_redis_guard import RedisManager

BUDGETS = {1: 1.3, 64: 8.0}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
Get = Callable[[str], Awaitable[bytes | None]]
Turn = Callable[[], Awaitable[Mapping[str, float]]]


class Clock:
    """Tells the callers of a turn to stop, without a look at the time for each command."""

    def __init__(self, seconds: float) -> None:
        self.running = True
        asyncio.get_running_loop().call_later(seconds, self._stop)

    def _stop(self) -> None:
        self.running = False


async def caller(get: Get, number: int, clock: Clock) -> int:
    """Get one key again and again; the number of replies."""
    key, value, count = f"bench:{number}", f"value-{number}".encode(), 0
    while clock.running:
        if await get(key) != value:
            raise SystemExit(f"caller {number} got another's reply")
        count += 1
    return count


def turn(get: Get, callers: int, seconds: float) -> Turn:
    """One measured turn of one side."""

    async def run() -> Mapping[str, float]:
        started, cpu, clock = time.perf_counter(), time.process_time(), Clock(seconds)
        counts = await asyncio.gather(*(caller(get, number, clock) for number in range(callers)))
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        return {"GET/s": sum(counts) / elapsed, "CPU us": cpu / sum(counts) * 1e6}

    return run


async def measure(url: str, callers: int, rounds: int, seconds: float) -> Rounds:
    """Both sides in turns on the running loop."""
    pooled = redis.asyncio.Redis.from_url(url, max_connections=256)
    async with RedisManager(url) as manager:
        ours = partial(manager.execute, "GET")
        sides = {"redis-py": turn(pooled.get, callers, seconds), "ours": turn(ours, callers, seconds)}
        figures = await alternate_async(sides, rounds)
    await pooled.aclose()
    return figures


def run(server: Valkey, url: str, rounds: int, seconds: float) -> list[bool]:
    """Every loop with every number of callers."""
    with server.client() as client:
        client.mset({f"bench:{number}": f"value-{number}" for number in range(max(BUDGETS))})
    rows, budgets = [], []
    for loop, factory in LOOPS.items():
        for callers, budget in BUDGETS.items():
            with asyncio.Runner(loop_factory=factory) as runner:
                figures = runner.run(measure(url, callers, rounds, seconds))
            ratio = figures.ratio("GET/s", "ours", "redis-py")
            medians = [figures.median(side, unit) for unit in ("GET/s", "CPU us") for side in ("redis-py", "ours")]
            rows.append((loop, callers, *medians, f"{ratio:.2f}x", f"{figures.spread('ours', 'GET/s'):.0%}"))
            budgets.append((f"{loop}, {callers} callers", ratio, budget))
    table(("loop", "callers", "redis-py GET/s", "ours GET/s", "redis-py CPU us", "ours CPU us", "ratio", "+-"), rows)
    return [verdict(claim, ratio, at_least=budget) for claim, ratio, budget in budgets]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=9, seconds=1)
    parser.add_argument("--unix", action="store_true", help="a unix socket instead of TCP")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        url = server.unix_url if options.unix else server.url
        header(f"the channel against redis-py's pool, {'a unix socket' if options.unix else 'TCP'}", server.banner)
        verdicts = run(server, url, options.rounds, options.seconds)
    finish(verdicts)


if __name__ == "__main__":
    main()
