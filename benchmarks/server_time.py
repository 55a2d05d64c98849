"""Claim: the Redis server spends <= 10 microseconds for the blacklist and two GCRA limits of one request.

From `INFO commandstats` over 20,000 requests sent through the ASGI apps in this process, in turns with the same work by
hand (EXISTS and two scripts of `limits`). Commands inside of a script are part of the script's own time. What a server
spends on reading, parsing and replying is not in `commandstats`; the number of commands for a request tells of it.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import redis
import uvloop
from _asgi import drive, load_app, running
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, token
from _servers import Valkey, valkey

REQUESTS = 20_000
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


async def measure(server: Valkey, rounds: int) -> Rounds:
    """Both apps on one loop, in turns."""
    tokens = [token(number) for number in range(USERS)]
    apps = {name: load_app(name, server.unix_url) for name in SENT}
    with server.client() as client:
        async with running(apps["by_hand"]), running(apps["ours"]):
            sides = {name: lambda name=name: turn(name, apps[name], client, tokens) for name in apps}
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
    finish([verdict("server microseconds for a request", figures.median("ours", "server us"), at_most=10)])


if __name__ == "__main__":
    main()
