"""Claim: the server spends <= 6 microseconds on a lone GCRA decision, <= 3 microseconds on each further limit.

From `INFO commandstats`, for programs of one to four limits of one identity, every limit with a key of its own, sent
500 at a time, so that the server is what limits. What a further limit costs is the slope of the line through the four.
The identities are 1,000 in turns. What a server spends on reading, parsing and replying is not in `commandstats`.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import median
from typing import Any

import redis
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import CPUS, Valkey, pin, valkey

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.core.script import Batch, place_of
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import KINDS
from asgi_redis_guard.redis.program import program_of

DECISIONS, AT_ONCE, IDENTITIES = 20_000, 500, 1000
COUNTS = range(1, 5)
#: Limits that nobody reaches; a log takes no more than these.
LIMITS = ("10000/minute", "10000/5minutes", "10000/10minutes", "10000/15minutes")
CALENDAR = ("1000000/hour", "10000000/day", "100000000/month", "900000000/year")

Rounded = tuple[Any, list[tuple[Batch]]]


def rounds_of(manager: RedisManager, algorithm: str, count: int) -> Rounded:
    """The program with so many limits, and what it is sent for every identity."""
    notations = (CALENDAR if algorithm == "calendar" else LIMITS)[:count]
    limits = make_limits(notations, Style(algorithm, name=f"{algorithm} {count}"))  # type: ignore[arg-type]
    program = program_of((place_of(False, tuple(limit.kind for limit in limits)),))
    now = time.time()
    names = [digest(f"user-{number}") for number in range(IDENTITIES)]
    return program, [(Batch([limit.operation(manager.keys, name, now=now) for limit in limits]),) for name in names]


async def turn(manager: RedisManager, rounds: Rounded, client: "redis.Redis[bytes]") -> Mapping[str, float]:
    """Send rounds faster than the server carries them out; what it counted for each."""
    program, batches = rounds
    waiting = cycle(batches)
    client.flushall()
    for sent in (DECISIONS // 10, DECISIONS):
        client.config_resetstat()
        for _ in range(sent // AT_ONCE):
            replies = await asyncio.gather(*[manager.evaluate(program, next(waiting)) for _ in range(AT_ONCE)])
    if any(reply[0] != 1 for reply in replies):
        raise SystemExit("a decision was not what it must be")
    stats = client.info("commandstats")["cmdstat_evalsha"]
    return {"us": stats["usec"] / stats["calls"]}


async def measure(server: Valkey, rounds: int) -> Rounds:
    """Every algorithm with one to four limits, in turns."""
    async with RedisManager(server.unix_url, timeout=10) as manager:
        with server.client() as client:
            sides = {}
            for algorithm in KINDS:
                for count in COUNTS:
                    prepared = rounds_of(manager, algorithm, count)
                    sides[f"{algorithm} {count}"] = lambda prepared=prepared: turn(manager, prepared, client)
            return await alternate_async(sides, rounds)


def slope(costs: Sequence[float]) -> float:
    """The least-squares slope of the costs of 1, 2, 3 … limits."""
    mean_x, mean_y = sum(COUNTS) / len(COUNTS), sum(costs) / len(costs)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(COUNTS, costs, strict=True))
    return above / sum((x - mean_x) ** 2 for x in COUNTS)


def further(rounds: Rounds, algorithm: str) -> float:
    """What one more limit costs: the median over the rounds of the slope in each."""
    return median(slope(row) for row in zip(*(rounds.readings[f"{algorithm} {n}"]["us"] for n in COUNTS), strict=True))


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=7, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"server time of a decision, {DECISIONS:,} a turn", server.banner)
        if len(CPUS) > 1:
            pin(server.pid, CPUS[-1:])
            pin(0, CPUS[:-1])
        rounds = uvloop.run(measure(server, options.rounds))
    rows = []
    for algorithm in KINDS:
        costs = [rounds.median(f"{algorithm} {count}", "us") for count in COUNTS]
        rows.append((algorithm, *costs, further(rounds, algorithm), f"{rounds.spread(f'{algorithm} 1', 'us'):.0%}"))
    table(("algorithm", *(f"{n} limit{'s' * (n > 1)}, us" for n in COUNTS), "each further", "+-"), rows)
    finish(
        [
            verdict("server microseconds for a lone gcra decision", rounds.median("gcra 1", "us"), at_most=6),
            verdict("server microseconds for each further gcra limit", further(rounds, "gcra"), at_most=3),
        ]
    )


if __name__ == "__main__":
    main()
