"""Claim: 64 tasks in each of 4 processes against one limit for 10 s never get one too many: of a log in any period, of
a fixed window in each window; of the others not more than is stated.

Times are the server's own, read in the very scripts that decide. `worst` is the most that was admitted in any period
(its end excluded), `a period` the average over the run: a limit that gives away less than it has would show there.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from time import monotonic

import uvloop
from _common import alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch, place_of
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import KINDS, Limit
from asgi_redis_guard.redis.program import program_of

PROCESSES, TASKS, AMOUNT = 4, 64, 500
#: What a calendar counts is longer than a run, so that all of it is one period.
NOTATIONS = {"calendar": f"{AMOUNT}/day"}
#: The most in any period, in parts of the amount; `fixed` has a claim for each of its windows besides.
STATED = {"log": 1, "calendar": 1}
OTHERS = 2

#: When the server admitted a request, µs, and what it said is left.
Admitted = list[tuple[int, int]]


def limit_of(algorithm: str) -> Limit:
    """The limit that all run into."""
    return make_limits((NOTATIONS.get(algorithm, f"{AMOUNT}/second"),), Style(algorithm))[0]  # type: ignore[arg-type]


async def hammer(url: str, algorithm: str, seconds: float) -> tuple[int, Admitted]:
    """All tasks of a process: how many were asked for, and what was admitted."""
    limit, admitted, asked = limit_of(algorithm), [], 0
    program = program_of((place_of(False, (limit.kind,)),))
    async with RedisManager(url, timeout=10) as manager:
        call = (Batch([limit.operation(manager.keys, b"identity", now=time.time())]),)
        end = monotonic() + seconds

        async def task() -> None:
            nonlocal asked
            while monotonic() < end:
                reply = await manager.evaluate(program, call)
                asked += 1
                if reply[0] == 1:
                    admitted.append((reply[-1], reply[1]))

        await asyncio.gather(*(task() for _ in range(TASKS)))
    return asked, admitted


def work(url: str, algorithm: str, seconds: float) -> tuple[int, Admitted]:
    """What a process does."""
    return uvloop.run(hammer(url, algorithm, seconds))


def worst(times: Sequence[int], period: int) -> int:
    """How many of the sorted times are at most in one period, its end excluded."""
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - period:
            first += 1
        most = max(most, last - first + 1)
    return most


def windows(admitted: Admitted, amount: int, period: int) -> list[int]:
    """How many were admitted in each fixed window; one begins where all but one are left again.

    A window that begins too early is counted into the one before. (The server keeps its end in
    milliseconds, by a clock that it reads now and then.)
    """
    starts: list[int] = []
    for place, (moment, remaining) in enumerate(admitted):
        if remaining == amount - 1 and (not starts or moment - admitted[starts[-1]][0] >= period - 2000):
            starts.append(place)
    return [end - start for start, end in pairwise([*starts, len(admitted)])]


def turn(server: Valkey, pool: ProcessPoolExecutor, algorithm: str, seconds: float) -> Mapping[str, float]:
    """All processes against one limit."""
    with server.client() as client:
        client.flushall()
    parts = [pool.submit(work, server.url, algorithm, seconds) for _ in range(PROCESSES)]
    told = [part.result() for part in parts]
    admitted = sorted((entry for _, part in told for entry in part), key=lambda entry: (entry[0], -entry[1]))
    times, limit = [at for at, _ in admitted], limit_of(algorithm)
    period = limit.period * 1_000_000
    figures = {"asked": sum(asked for asked, _ in told), "admitted": len(times), "worst": worst(times, period)}
    lasted = max(period, times[-1] - times[0])
    in_window = max(windows(admitted, AMOUNT, period)) if algorithm == "fixed" else 0
    return {**figures, "a period": len(times) * period / lasted, "window": in_window}


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=1, seconds=10).parse_args()
    stop_cleanly_on_sigterm()
    spawn = multiprocessing.get_context("spawn")
    with valkey() as server, ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        header(f"{TASKS} tasks in each of {PROCESSES} processes against {AMOUNT} a period", server.banner)
        sides = {name: lambda name=name: turn(server, pool, name, options.seconds) for name in KINDS}
        rounds = alternate(sides, options.rounds, warm_up=False)
    units = ("asked", "admitted", "worst", "a period")
    rows = [(name, *(max(rounds.readings[name][unit]) for unit in units)) for name in rounds.readings]
    table(("algorithm", *units), [(row[0], *map(int, row[1:])) for row in rows])
    verdicts = []
    for name in rounds.readings:
        bound = STATED.get(name, OTHERS) * AMOUNT
        verdicts.append(verdict(f"{name}: most in any period", max(rounds.readings[name]["worst"]), at_most=bound))
    most = max(rounds.readings["fixed"]["window"])
    finish([*verdicts, verdict("fixed: most in one of its windows", most, at_most=AMOUNT)])


if __name__ == "__main__":
    main()
