"""Claim: each extra limit costs less than 10 % of what the whole request costs with one limit.

Our guarded app with one to four limits: under uvicorn + wrk (the claim), and driven in this process (the guards' share
of it is larger there). The cost of a request is the inverse of its rate; the cost of an extra limit is the slope of the
line through the four, fitted in each round, so that four apps in turns tell of less noise than two would.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import cycle, islice
from statistics import median

import uvloop
from _asgi import Application, drive, load_app, running
from _common import (
    Rounds,
    alternate,
    alternate_async,
    arguments,
    finish,
    header,
    stop_cleanly_on_sigterm,
    table,
    verdict,
)
from _load import USERS, Load, token, wrk_script
from _servers import Valkey, uvicorn_app, valkey

LIMITS = ("1000000/minute", "10000000/hour", "100000000/day", "1000000000/month")
COUNTS = range(1, len(LIMITS) + 1)
REQUESTS = 1000  # of a turn in process; turns are short, and four times as many


def side(count: int) -> str:
    """The name of the app with so many limits."""
    return f"{count} limit{'s' * (count > 1)}"


def under_wrk(server: Valkey, tokens: Sequence[str], rounds: int, seconds: float) -> Rounds:
    """Four uvicorn children in turns."""
    with ExitStack() as stack:
        load = Load(stack.enter_context(wrk_script(tokens)), seconds)
        apps = []
        for count in COUNTS:
            limits = ";".join(LIMITS[:count])
            child = uvicorn_app("ours", name=side(count), redis_url=server.url, BENCH_LIMITS=limits)
            apps.append(stack.enter_context(child))
        return alternate({app.name: lambda app=app: load(app) for app in apps}, rounds)


async def in_process(server: Valkey, tokens: Sequence[str], rounds: int) -> Rounds:
    """Four apps on one loop, in turns."""

    async def turn(app: Application) -> Mapping[str, float]:
        count, seconds = await drive(app, islice(cycle(tokens), REQUESTS))
        return {"requests/s": count / seconds}

    async with AsyncExitStack() as stack:
        loaded = {side(count): load_app("ours", server.url, LIMITS[:count]) for count in COUNTS}
        apps = {name: await stack.enter_async_context(running(app)) for name, app in loaded.items()}
        return await alternate_async({name: lambda app=app: turn(app) for name, app in apps.items()}, rounds)


def slope(costs: Sequence[float]) -> float:
    """The least-squares slope of the costs of 1, 2, 3 … limits."""
    mean_x, mean_y = sum(COUNTS) / len(COUNTS), sum(costs) / len(costs)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(COUNTS, costs, strict=True))
    return above / sum((x - mean_x) ** 2 for x in COUNTS)


def extra_cost(rounds: Rounds) -> float:
    """What one more limit costs, as a share of the request with one: the median over the rounds."""
    rates = zip(*(rounds.readings[side(count)]["requests/s"] for count in COUNTS), strict=True)
    costs = [[1 / rate for rate in row] for row in rates]
    return median(slope(row) / row[0] for row in costs)


def report(title: str, rounds: Rounds) -> None:
    """Print the rates, and the cost of a request relative to the one with one limit."""
    units = list(rounds.readings[side(1)])
    rows = []
    for name in rounds.readings:
        cost = rounds.ratio("requests/s", side(1), name)
        figures = [rounds.median(name, unit) for unit in units]
        rows.append((name, *figures, f"{cost:.3f}", f"{rounds.spread(name, 'requests/s'):.0%}"))
    table((title, *units, "cost", "+-"), rows)


def main() -> None:
    """Measure both ways and report."""
    options = arguments(__doc__, rounds=15, seconds=1).parse_args()
    stop_cleanly_on_sigterm()
    tokens = [token(number) for number in range(USERS)]
    with valkey() as server:
        header("the cost of an extra limit", server.banner)
        http = under_wrk(server, tokens, options.rounds, options.seconds)
        inside = uvloop.run(in_process(server, tokens, options.rounds * 4))
    report("uvicorn + wrk", http)
    report("in process", inside)
    print(f"in process an extra limit costs {extra_cost(inside):.1%} of the request with one (no budget)")
    finish([verdict("extra limit, % of the whole request", extra_cost(http) * 100, at_most=10)])


if __name__ == "__main__":
    main()
