"""Claim: to invalidate a tag of 10,000 entries takes less than 1 ms, whatever else the server holds.

Each app in this process fills its cache through its own route (`/tagged/{id}`), then `evict()` is timed: its library's
own call, seen from the caller. The peers are those that can forget a group at once; before that the group's entries
have to be hits, and afterwards misses. `--beside` puts keys of others next to them: some peers walk through all keys.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import ModuleType

import uvloop
from _asgi import load_app, request, running
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey
from apps import work
from response_cache import OURS, VERSIONS

PEERS = ("cached_fastapi_cache", "cached_cashews", "cached_redis_sdk", "cached_alcazaba")
ENTRIES = 10_000
CALLERS = 32


async def ask(module: ModuleType, numbers: range) -> int:
    """Ask for these entries, 32 at a time; how many of them were misses."""
    waiting, before = iter(numbers), work.runs

    async def caller() -> None:
        for number in waiting:
            if await request(module.app, "", f"/tagged/{number}") != 200:
                raise SystemExit(f"{module.__name__} refused a request")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return work.runs - before


async def turn(module: ModuleType, server: Valkey, beside: int) -> Mapping[str, float]:
    """Fill one app's cache, and time its eviction."""
    with server.client() as client:
        client.flushdb()
        for start in range(0, beside, 10_000):
            client.mset({f"other:{number}": "x" for number in range(start, min(start + 10_000, beside))})
    missed = await ask(module, range(ENTRIES))
    for _ in range(50):  # some store a response after it has been sent
        again = await ask(module, range(0, ENTRIES, 100))
        if not again:
            break
        await asyncio.sleep(0.02)
    gc.collect()
    started = time.perf_counter()
    await module.evict()
    took = time.perf_counter() - started
    after = await ask(module, range(0, ENTRIES, 100))
    if (missed, again, after) != (ENTRIES, 0, ENTRIES // 100):
        raise SystemExit(f"{module.__name__} does not evict: {missed} misses, then {again}, then {after}")
    return {"ms": took * 1000}


async def measure(names: Sequence[str], server: Valkey, options: object) -> Rounds:
    """All apps on one loop, in turns."""
    async with AsyncExitStack() as stack:
        sides = {}
        for name in names:
            await stack.enter_async_context(running(load_app(name, server.url)))
            module = sys.modules[f"apps.{name}"]
            sides[name] = partial(turn, module, server, options.beside)
        return await alternate_async(sides, options.rounds)


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdict."""
    rows = []
    for name, readings in rounds.readings.items():
        slower = f"{rounds.ratio('ms', name, OURS):,.0f}x" if OURS in rounds.readings else "-"
        row = (f"{rounds.median(name, 'ms'):.3f}", f"{max(readings['ms']):.3f}", slower)
        rows.append((name.removeprefix("cached_"), *row))
    table(("app", "median ms", "worst ms", "times ours"), rows)
    if OURS not in rounds.readings:
        return []
    return [verdict("milliseconds of an invalidation", rounds.median(OURS, "ms"), at_most=1)]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=7, seconds=1)
    parser.add_argument("--beside", type=int, default=0, help="keys of others on the same server (default 0)")
    parser.add_argument("--only", default=",".join((OURS, *PEERS)), help="the apps to measure, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("one invalidation of many entries", server.banner, VERSIONS)
        print(f"{ENTRIES:,} entries of one tag, {options.beside:,} other keys, Redis over TCP\n")
        verdicts = report(uvloop.run(measure(options.only.split(","), server, options)))
    finish(verdicts)


if __name__ == "__main__":
    main()
