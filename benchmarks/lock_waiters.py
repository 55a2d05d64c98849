"""Claim: 10,000 waiters on one lock cost a process flat memory, one subscription and, while they wait, no commands.

Each side is a process of its own, whose waiters are tasks; another process holds the lock meanwhile. redis-py's waiters
poll ten times a second each, over a pool that blocks where it is exhausted; they are fewer, for at 10,000 they take a
core each to themselves and to the server. After that the lock is released, and it is measured how long it takes until
everybody had it once. Memory is what the process has resident, and what Python allocated by a run of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import redis
import redis.asyncio
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey

from asgi_redis_guard import RedisManager

TTL = 600
WAITERS = {"ours": 10_000, "redis-py": 1_000}
BUDGET_BYTES = 8 * 1024
SETTLING, WATCHED = 3.0, 3.0  # seconds
Make = Callable[[], object]


def resident() -> int:
    """Bytes of memory that this process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def locks(side: str, url: str) -> AsyncIterator[Make]:
    """Makes locks on one name, as many as are asked for."""
    if side == "ours":
        async with RedisManager(url) as manager:
            yield lambda: manager.lock("bench", ttl=TTL)
        return
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=256, timeout=600)
    async with redis.asyncio.Redis(connection_pool=pool) as client:
        yield lambda: client.lock("bench", timeout=TTL)


class Process:
    """The process of one side's waiters, and what the server has to do meanwhile."""

    def __init__(self, url: str, side: str, waiters: int) -> None:
        self.url, self.side, self.waiters = url, side, waiters
        self.had = 0

    async def _wait(self, make: Make) -> None:
        async with make():
            self.had += 1

    async def run(self, *, traced: bool) -> Mapping[str, float]:
        """Wait, look, let go, and report."""
        async with locks(self.side, self.url) as make, redis.asyncio.Redis.from_url(self.url) as server:
            holder = make()
            await holder.acquire()
            if traced:
                tracemalloc.start()
            before, allocated = resident(), tracemalloc.get_traced_memory()[0]
            tasks = [asyncio.create_task(self._wait(make)) for _ in range(self.waiters)]
            await asyncio.sleep(SETTLING)
            settled, cpu, commands = resident(), time.process_time(), await calls(server)
            grown = tracemalloc.get_traced_memory()[0] - allocated
            await asyncio.sleep(WATCHED)
            commands, cpu = await calls(server) - commands, time.process_time() - cpu
            figures = {
                "bytes": (settled - before) / self.waiters,
                "traced": grown / self.waiters,
                "growth": (resident() - settled) / self.waiters,
                "commands": commands / WATCHED,
                "cpu": cpu / WATCHED * 100,
                "connections": len(await server.client_list()) - 1,
                "subscribed": sum("sub=1" in line for line in await lines(server)),
            }
            started = time.perf_counter()
            await holder.release()
            await asyncio.gather(*tasks)
            if self.had != self.waiters:
                raise SystemExit(f"{self.had} of {self.waiters} had the lock")
            return {**figures, "each us": (time.perf_counter() - started) / self.waiters * 1e6}


async def calls(server: redis.asyncio.Redis) -> int:
    """Commands that the server has carried out, without those of scripts."""
    stats = await server.info("commandstats")
    outside = ("cmdstat_evalsha", "cmdstat_set", "cmdstat_ping", "cmdstat_subscribe")
    return sum(stats[name]["calls"] for name in outside if name in stats)


async def lines(server: redis.asyncio.Redis) -> list[str]:
    """What the server tells of its connections."""
    return [" ".join(f"{key}={value}" for key, value in one.items()) for one in await server.client_list()]


def measure(server: Valkey, side: str, waiters: int) -> Mapping[str, float]:
    """Both runs of a side, each in a new process on an empty server."""
    figures: dict[str, float] = {}
    for traced in (False, True):
        with server.client() as client:
            client.flushall()
        command = [sys.executable, __file__, "--side", side, "--url", server.url, "--waiters", str(waiters)]
        said = subprocess.run([*command, *(["--traced"] if traced else [])], stdout=subprocess.PIPE, check=True).stdout
        found = json.loads(said)
        figures = {**figures, "traced": found["traced"]} if traced else found
    return figures


def report(found: Mapping[str, Mapping[str, float]], waiters: Mapping[str, int]) -> list[bool]:
    """Print the table and the verdicts."""
    units = ("bytes", "traced", "growth", "commands", "cpu", "connections", "subscribed", "each us")
    rows = [(side, waiters[side], *(f"{figures[unit]:,.0f}" for unit in units)) for side, figures in found.items()]
    columns = ("RSS B", "Python B", "RSS B later", "commands/s", "CPU %", "connections", "subscribed", "us a turn")
    table(("lock", "waiters", *columns), rows)
    ours = found["ours"]
    return [
        verdict("bytes resident for a waiter", ours["bytes"], at_most=BUDGET_BYTES),
        verdict("bytes more for a waiter, 3 s later", ours["growth"], at_most=64),
        verdict("commands a second while 10,000 wait", ours["commands"], at_most=1),
        verdict("subscriptions", ours["subscribed"], at_most=1),
    ]


def main() -> None:
    """Measure and report, or be the process of the waiters."""
    parser = arguments(__doc__, rounds=1, seconds=0)
    parser.add_argument("--side", choices=WAITERS, help="be the process of one side's waiters")
    parser.add_argument("--url", help="the server of that")
    parser.add_argument("--waiters", type=int, help="how many of them")
    parser.add_argument("--traced", action="store_true", help="count what Python allocates, which is slow")
    options = parser.parse_args()
    if options.side:
        waiting = Process(options.url, options.side, options.waiters)
        print(json.dumps(asyncio.run(waiting.run(traced=options.traced))))
        return
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("waiters on one lock", server.banner)
        found = {side: measure(server, side, options.waiters or waiters) for side, waiters in WAITERS.items()}
        verdicts = report(found, {side: options.waiters or waiters for side, waiters in WAITERS.items()})
    finish(verdicts)


if __name__ == "__main__":
    main()
