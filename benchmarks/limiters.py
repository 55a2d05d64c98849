"""Claim: decisions per second are >= 5 times those of the best rival at 64 tasks, >= 1.3 times with one task.

One limit that nobody reaches, one of 1,000 keys at a time, one process, one uvloop, TCP to one server; all in turns.
The same work is what headers need: allowed, remaining and reset. Sides that say yes or no alone are marked bare, and
stand outside of the claim; ours has no such mode.

With many tasks the server has a CPU of its own. With one, client and server take turns and both are on one CPU: on two,
most of a decision's time is the kernel waking an idle CPU, the same for everybody and the machine's affair; the column
`apart` tells of that, without a claim. `CPU us` is what a decision takes of the process and of the server at 64 tasks:
what other work there is on the machine changes that least.
"""

import asyncio
import gc
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import cycle

import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _limiters import BARE, KEYS, OURS, WHOLE, Decide, Quota
from _servers import CPUS, Valkey, pin, valkey

#: Each column's number of tasks, and whether client and server are on CPUs of their own.
COLUMNS = {"1": (1, False), "apart": (1, True), "64": (64, True)}
OUR, QUOTA = "ours gcra", Quota(1_000_000)
RIVALS = ("throttled-py", "pyrate-limiter", "fastapi-limiter", "slowapi", "fastapi-redis-sdk")


async def drive(decide: Decide, tasks: int, seconds: float) -> float:
    """Decide for so many seconds; decisions per second."""
    waiting, perf_counter = cycle(KEYS), time.perf_counter

    async def caller() -> int:
        count = 0
        while perf_counter() < end:
            if not await decide(next(waiting)):
                raise SystemExit("a decision was not what it must be")
            count += 1
        return count

    gc.collect()
    started = perf_counter()
    end = started + seconds
    counts = await asyncio.gather(*(caller() for _ in range(tasks)))
    return sum(counts) / (perf_counter() - started)


async def turn(server: Valkey, opened: Mapping[int, Decide], seconds: float) -> Mapping[str, float]:
    """One side in all columns."""
    figures = {}
    for column, (tasks, apart) in COLUMNS.items():
        pin(0, CPUS[:1])
        pin(server.pid, CPUS[-1:] if apart else CPUS[:1])
        own, its = time.process_time(), server.cpu_seconds()
        figures[column] = await drive(opened[tasks], tasks, seconds)
        count = figures[column] * seconds / 1e6
        figures[f"{column} own"] = (time.process_time() - own) / count
        figures[f"{column} server"] = (server.cpu_seconds() - its) / count
    return figures


async def measure(server: Valkey, rounds: int, seconds: float) -> Rounds:
    """All sides on one loop, in turns."""
    async with AsyncExitStack() as stack:
        sides = {}
        for name, side in {**OURS, **WHOLE, **BARE}.items():
            opened = {
                tasks: await stack.enter_async_context(side(server, tasks, QUOTA)) for tasks, _ in COLUMNS.values()
            }
            sides[name] = lambda opened=opened: turn(server, opened, seconds)
        return await alternate_async(sides, rounds)


def report(rounds: Rounds) -> None:
    """Print decisions per second, and how many times as many ours makes."""
    rows = []
    for name in rounds.readings:
        cells: list[object] = [name]
        for column in COLUMNS:
            cells += [rounds.median(name, column), f"{rounds.ratio(column, OUR, name):.2f}x"]
        rows.append((*cells, rounds.median(name, "64 own"), rounds.median(name, "64 server")))
    names = ("1 task /s", "ours is", "apart /s", "ours is", "64 tasks /s", "ours is", "CPU us", "of the server")
    table(("side", *names), rows)


def compare(rounds: Rounds, column: str, budget: float) -> bool:
    """Compare ours with the best that does the same work, and tell of the best of the others."""
    words = f"{column} task{'s' * (column != '1')}"
    bare = max(BARE, key=lambda name: rounds.median(name, column))
    print(
        f"        {words}: {rounds.ratio(column, OUR, bare):.2f} times {bare}, which says yes or no alone (no budget)"
    )
    best = max(WHOLE, key=lambda name: rounds.median(name, column))
    return verdict(f"{words}, times the best rival, {best}", rounds.ratio(column, OUR, best), at_least=budget)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=7, seconds=0.5).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f'decisions per second against "{QUOTA}", {len(KEYS):,} keys', server.banner, RIVALS)
        rounds = uvloop.run(measure(server, options.rounds, options.seconds))
    report(rounds)
    finish([compare(rounds, "64", 5), compare(rounds, "1", 1.3)])


if __name__ == "__main__":
    main()
