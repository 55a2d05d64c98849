"""Claim: a hit costs one round trip to Redis (two for a large body, or when a process meets its route), a miss two.

Counted at the socket, by a proxy between one app in this process and its server; round trips on several connections
add up. `ours_stack` is our cache behind JWT, blacklist and two limits, an entry for each user and language, with two
tags: the round trips are the same. One request at a time, so that nothing of two callers travels together:

    miss        nothing stored, by a process that has met the route before
    first hit   by a process that has not, its connections open already
    hit         again
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import uvloop
from _asgi import Application, load_app, request, running
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import token
from _servers import Valkey, valkey
from apps import work
from response_cache import OURS, PEERS, VERSIONS

from asgi_redis_guard.testing import RoundTripCounter

STACK = "cached_ours_stack"
PATHS = ("/small", "/large")
QUIET = 0.05  # seconds without a byte: what follows a response has arrived


class Cost(NamedTuple):
    """What one request made of traffic."""

    round_trips: int
    commands: int
    bytes_up: int
    bytes_down: int


async def settle(counter: RoundTripCounter) -> None:
    """Wait until nothing crosses the proxy any more."""
    while True:
        seen = counter.bytes_up + counter.bytes_down
        await asyncio.sleep(QUIET)
        if counter.bytes_up + counter.bytes_down == seen:
            return


async def cost(app: Application, bearer: str, path: str, counter: RoundTripCounter, *, runs: int) -> Cost:
    """One request that has to be a hit (`runs=0`) or a miss (`runs=1`)."""
    await settle(counter)
    counter.reset()
    before, up, down = work.runs, counter.bytes_up, counter.bytes_down
    if await request(app, bearer, path) != 200 or work.runs - before != runs:
        raise SystemExit(f"{path} was refused, or called its handler {work.runs - before} times, not {runs}")
    await settle(counter)
    return Cost(counter.round_trips, len(counter.commands), counter.bytes_up - up, counter.bytes_down - down)


async def rows_of(name: str, path: str, server: Valkey, counter: RoundTripCounter) -> dict[str, Cost]:
    """A miss of a known route, the first hit of another process, and a hit."""
    bearer, costs = token(1) if name == STACK else "", {}
    other = "/large" if path == "/small" else "/small"
    with server.client() as client:
        client.flushdb()
        async with running(load_app(name, counter.url)) as app:
            await request(app, bearer, path)
            await settle(counter)
            client.flushdb()
            costs["miss"] = await cost(app, bearer, path, counter, runs=1)
        async with running(load_app(name, counter.url)) as app:
            await request(app, bearer, other)
            costs["first hit"] = await cost(app, bearer, path, counter, runs=0)
            costs["hit"] = await cost(app, bearer, path, counter, runs=0)
    return costs


async def measure(names: Sequence[str], server: Valkey) -> dict[tuple[str, str, str], Cost]:
    """All apps, one after another, through one proxy."""
    costs = {}
    async with RoundTripCounter(server.unix_url) as counter:
        for name in names:
            for path in PATHS:
                for kind, figures in (await rows_of(name, path, server, counter)).items():
                    costs[name, path, kind] = figures
    return costs


def report(costs: dict[tuple[str, str, str], Cost]) -> list[bool]:
    """Print the table and the verdicts."""
    rows = [(f"{name.removeprefix('cached_')} {path}", kind, *cost) for (name, path, kind), cost in costs.items()]
    table(("app and body", "request", "round trips", "commands", "bytes up", "bytes down"), rows)
    verdicts = []
    for (name, path, kind), figures in costs.items():
        if name in (OURS, STACK):
            budget = 1 if (path, kind) == ("/small", "hit") else 2
            claim = f"round trips of {name.removeprefix('cached_')}, {path}, {kind}"
            verdicts.append(verdict(claim, figures.round_trips, at_most=budget))
    return verdicts


def main() -> None:
    """Count and report."""
    parser = arguments(__doc__, rounds=1, seconds=1)
    parser.add_argument("--only", default=",".join((OURS, STACK, *PEERS)), help="the apps to look at, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("round trips of a response cache", server.banner, VERSIONS)
        verdicts = report(uvloop.run(measure(options.only.split(","), server)))
    finish(verdicts)


if __name__ == "__main__":
    main()
