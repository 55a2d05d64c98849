"""Claim: 200 callers in each of 4 processes who miss the same entry at once make its handler run once.

A route that takes 50 ms, under 4 uvicorn processes with one Redis server; all callers are connected before the first
asks, and each round asks for a new entry. Peers with the cache that their documentation begins with, and `guarded` with
the strongest protection that they offer. `last ms` tells when everybody had an answer, which has no budget.
"""

import asyncio
import contextlib
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count

from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import App, uvicorn_app, valkey
from response_cache import OURS, PEERS, VERSIONS, runs

GUARDED = ("cached_cashews", "cached_alcazaba")
SERIAL = count(1)  # of the entries
PATIENCE = 60  # seconds, for all answers of a round


async def connect(app: App) -> tuple[StreamReader, StreamWriter]:
    """One caller's connection."""
    host, _, port = app.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def ask(connection: tuple[StreamReader, StreamWriter], path: str) -> bool:
    """Ask once; whether the answer was a 200."""
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer.startswith(b"HTTP/1.1 200 ")


async def stampede(apps: Sequence[App], route: str, callers: int) -> Mapping[str, float]:
    """One round against all processes of one app."""
    path, before = f"/{route}/{next(SERIAL)}", sum(map(runs, apps))
    connections = [await connect(app) for _ in range(callers) for app in apps]
    started = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        answers = await asyncio.gather(*(ask(connection, path) for connection in connections))
    last = (time.perf_counter() - started) * 1000
    return {"runs": sum(map(runs, apps)) - before, "last ms": last, "not 200": answers.count(False)}


def measure(names: Sequence[str], redis_url: str, options: object) -> Rounds:
    """Start all processes of all apps, then let the callers loose on them in turns."""
    with ExitStack() as running:
        sides = {}
        for name in names:
            one = partial(uvicorn_app, name, redis_url=redis_url)
            apps = [running.enter_context(one()) for _ in range(options.processes)]
            sides[name] = partial(stampede, apps, "slow", options.callers)
            if name in GUARDED:
                sides[f"{name}, guarded"] = partial(stampede, apps, "guarded", options.callers)
        return asyncio.run(alternate_async(sides, options.rounds))


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdict."""
    rows = []
    for name, readings in rounds.readings.items():
        figures = [
            f"{value:g}" for value in (min(readings["runs"]), rounds.median(name, "runs"), max(readings["runs"]))
        ]
        rows.append((name.removeprefix("cached_"), *figures, rounds.median(name, "last ms"), sum(readings["not 200"])))
    table(("app", "least runs", "median", "most runs", "last ms", "not 200"), rows)
    if OURS not in rounds.readings:
        return []
    ours = rounds.readings[OURS]
    return [
        verdict("calls of the handler, the worst round", max(ours["runs"]), at_most=1),
        verdict("answers that were no 200", sum(ours["not 200"]), at_most=0),
    ]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=9, seconds=1)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--callers", type=int, default=200, help="of each process")
    parser.add_argument("--only", default=",".join((OURS, *PEERS)), help="the apps to measure, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("many who miss one entry at once", server.banner, VERSIONS)
        print(
            f"{options.callers} callers in each of {options.processes} processes, a handler of 50 ms, Redis over TCP\n"
        )
        verdicts = report(measure(options.only.split(","), server.url, options))
    finish(verdicts)


if __name__ == "__main__":
    main()
