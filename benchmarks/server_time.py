"""Claim: the Redis server spends <= 10 microseconds for the blacklist and two GCRA limits of one request.

From `INFO commandstats` over 20,000 requests, in turns: `by_hand` (EXISTS and two scripts of `limits`) and `ours` send
them through the ASGI apps in this process, which leave the server idle most of the time, with its caches gone cold in
between; `busy` sends the rounds of `ours` alone, 500 at a time, so that the server is what limits: what a request takes
of its capacity, and the budget's figure. Commands inside of a script are part of the script's own time. What a
server spends on reading, parsing and replying is not in `commandstats`; the number of commands tells of it.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import redis
import uvloop
from _asgi import drive, load_app, running
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, token
from _servers import Valkey, valkey

from asgi_redis_guard import RedisManager

REQUESTS = 20_000
AT_ONCE = 500
SENT = {"by_hand": ("evalsha", "exists"), "ours": ("evalsha",)}  # the rest of the statistics runs inside of scripts


def top_level(stats: Mapping[str, Mapping[str, Any]], sent: Sequence[str]) -> tuple[int, float]:
    """Calls and microseconds of the commands that came from the app."""
    chosen = [stats[f"cmdstat_{name}"] for name in sent]
    return sum(entry["calls"] for entry in chosen), sum(entry["usec"] for entry in chosen)


async def turn(name: str, app: Any, client: "redis.Redis[bytes]", tokens: Sequence[str]) -> Mapping[str, float]:
    """Drive one app; what the server counted for each of its requests."""
    await drive(app, tokens[:USERS])
    client.config_resetstat()
    count, seconds = await drive(app, islice(cycle(tokens), REQUESTS))
    stats = client.info("commandstats")
    calls, microseconds = top_level(stats, SENT[name])
    return {"server us": microseconds / count, "commands": calls / count, "requests/s": count / seconds}


async def capture(app: Any, manager: RedisManager, tokens: Sequence[str]) -> list[tuple[Any, Any]]:
    """Drive the guarded app once for each token; its rounds as they were sent."""
    rounds: list[tuple[Any, Any]] = []
    send = manager.evaluate

    def noting(program: Any, batches: Any, timeout: float | None = None) -> asyncio.Future[Any]:
        rounds.append((program, batches))
        return send(program, batches, timeout)

    manager.evaluate = noting  # type: ignore[method-assign]
    await drive(app, tokens)
    del manager.evaluate  # type: ignore[method-assign]
    return rounds


async def busy(
    manager: RedisManager, rounds: Sequence[tuple[Any, Any]], client: "redis.Redis[bytes]"
) -> Mapping[str, float]:
    """Send rounds faster than the server carries them out; what it counted for each."""
    client.config_resetstat()
    waiting = cycle(rounds)
    for _ in range(REQUESTS // AT_ONCE):
        await asyncio.gather(*[manager.evaluate(*next(waiting)) for _ in range(AT_ONCE)])
    calls, microseconds = top_level(client.info("commandstats"), SENT["ours"])
    return {"server us": microseconds / calls, "commands": calls / REQUESTS, "requests/s": 0.0}


async def measure(server: Valkey, rounds: int) -> Rounds:
    """Both apps and the rounds alone on one loop, in turns."""
    tokens = [token(number) for number in range(USERS)]
    apps = {name: load_app(name, server.unix_url) for name in SENT}
    with server.client() as client:
        async with running(apps["by_hand"]), running(apps["ours"]):
            manager = sys.modules["apps.ours"].redis
            recorded = await capture(apps["ours"], manager, tokens)
            sides = {name: lambda name=name: turn(name, apps[name], client, tokens) for name in apps}
            sides["busy"] = lambda: busy(manager, recorded, client)
            return await alternate_async(sides, rounds)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=5, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"server time a request, {REQUESTS:,} requests a turn", server.banner)
        figures = uvloop.run(measure(server, options.rounds))
    units = ("server us", "commands", "requests/s")
    rows = [(side, *(figures.median(side, unit) for unit in units)) for side in figures.readings]
    table(("side", "server us/request", "commands/request", "requests/s in process"), rows)
    finish([verdict("server microseconds for a request", figures.median("busy", "server us"), at_most=10)])


if __name__ == "__main__":
    main()
