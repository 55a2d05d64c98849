"""Claim: a hit is answered >= 4 times as often a second as by every peer, and >= 1.2 times as by the bare route.

Routes that return ready objects, of 550 bytes and of 50 KB as JSON, under uvicorn and `wrk -t1 -c64`; every app caches
them in one Redis server as its documentation says (`apps/cached_*.py`), in turns. The same objects have to come out of
every app, and no handler of a cache may run while it is measured. All clients ask for one entry, or each for the next
of 1,000: cashews reads an entry once for all callers that want it at that moment, which helps with the first alone.
`--freeze` as in `stack.py`; `--memory-ttl` gives ours a first level in the process.
"""

import json
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack

from _common import Rounds, alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import Load, wrk_script
from _servers import App, uvicorn_app, valkey
from apps import work

BODIES = {"/small": work.SMALL, "/large": work.LARGE, "/tagged/#": work.SMALL}
ENTRIES = 1000  # of the last: `/tagged/1` and so on, in turns
BARE, OURS = "cached_bare", "cached_ours"
PEERS = ("cached_fastapi_cache", "cached_cashews", "cached_redis_sdk", "cached_alcazaba", "cached_hishel")
VERSIONS = ("fastapi-cache2", "cashews", "fastapi-redis-sdk", "fastapi-alcazaba", "hishel", "httptools")


def runs(app: App) -> int:
    """How often the handlers of an app have run."""
    request = urllib.request.Request(f"{app.url}/runs", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(response.read())


def prove(app: App) -> None:
    """End the benchmark unless an app returns its objects, and soon without its handlers.

    Some store a response after they have sent it, so that the next request may still be a miss.
    """
    for path, wanted in BODIES.items():
        for _ in range(100):
            before = runs(app)
            with urllib.request.urlopen(app.url + path.replace("#", "1"), timeout=10) as response:
                if json.loads(response.read()) != wanted:
                    raise SystemExit(f"{app.name} returns something else at {path}")
            if app.name == BARE or runs(app) == before:
                break
            time.sleep(0.02)
        else:
            raise SystemExit(f"{app.name} does not cache {path}")


def report(path: str, rounds: Rounds) -> list[bool]:
    """Print one body's table and verdicts."""
    size, rows = len(json.dumps(BODIES[path], separators=(",", ":"))), []
    title = f"{size:,} bytes, {ENTRIES if '#' in path else 1} of them"
    for name in rounds.readings:
        figures = [rounds.median(name, unit) for unit in ("requests/s", "p50 ms", "p99 ms", "CPU us")]
        of_bare = f"{rounds.ratio('requests/s', name, BARE):.2f}x"
        faster = f"{rounds.ratio('requests/s', OURS, name):.2f}x" if OURS in rounds.readings else "-"
        rows.append(
            (name.removeprefix("cached_"), *figures, of_bare, faster, f"{rounds.spread(name, 'requests/s'):.0%}")
        )
    table((title, "requests/s", "p50 ms", "p99 ms", "CPU us/request", "of bare", "ours is", "+-"), rows)
    if OURS not in rounds.readings:
        return []
    verdicts = [verdict(f"times bare, {path}", rounds.ratio("requests/s", OURS, BARE), at_least=1.2)]
    for peer in PEERS:
        if peer in rounds.readings:
            claim = f"times {peer.removeprefix('cached_')}, {path}"
            verdicts.append(verdict(claim, rounds.ratio("requests/s", OURS, peer), at_least=4))
    return verdicts


def hits(apps: Sequence[App], load: Load, rounds: int) -> Rounds:
    """Fill the caches by a turn that does not count, then load the apps in turns; a handler that runs ends it."""
    for app in apps:
        load(app)
    filled = {app: runs(app) for app in apps}
    result = alternate({app.name: lambda app=app: load(app) for app in apps}, rounds, warm_up=False)
    for app, before in filled.items():
        if app.name != BARE and runs(app) != before:
            raise SystemExit(f"{app.name} was not measured with hits alone: {runs(app) - before} misses")
    return result


def measure(names: Sequence[str], redis_url: str, options: object) -> dict[str, Rounds]:
    """Start every app, then measure one kind of request after the other."""
    result = {}
    with ExitStack() as running:
        settings = {"BENCH_FREEZE": "1" if options.freeze else "0", "BENCH_MEMORY_TTL": str(options.memory_ttl)}
        apps = [running.enter_context(uvicorn_app(name, redis_url=redis_url, **settings)) for name in names]
        for app in apps:
            prove(app)
        for path in BODIES:
            lines = [""] * (ENTRIES if "#" in path else 1)
            script = running.enter_context(wrk_script(lines, path))
            result[path] = hits(apps, Load(script, options.seconds, options.connections), options.rounds)
    return result


def main() -> None:
    """Prove, measure, report."""
    parser = arguments(__doc__, rounds=11, seconds=1)
    parser.add_argument("--freeze", action="store_true", help="every app calls gc.freeze() when it has been loaded")
    parser.add_argument("--unix", action="store_true", help="reach Redis over a unix socket instead of TCP")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--memory-ttl", type=float, default=0.0, help="seconds of our first level in the process")
    parser.add_argument("--only", default=",".join((OURS, *PEERS)), help="the apps to measure, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    names = [BARE, *(name for name in options.only.split(",") if name != BARE)]
    with valkey() as server:
        header("hits of a response cache under uvicorn + wrk", server.banner, VERSIONS)
        transport = "a unix socket" if options.unix else "TCP"
        frozen = ", gc.freeze() everywhere" if options.freeze else ""
        print(f"{options.connections} connections, Redis over {transport}{frozen}\n")
        rounds = measure(names, server.unix_url if options.unix else server.url, options)
        verdicts = [met for path in BODIES for met in report(path, rounds[path])]
    finish(verdicts)


if __name__ == "__main__":
    main()
