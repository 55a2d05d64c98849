"""Claim: the whole stack keeps >= 75 % of the bare app's requests/s, and >= 5 times the requests/s of every peer.

JWT (HS256), blacklist and two limits a user under uvicorn and `wrk -t1 -c64`, against the bare FastAPI app and against
peers that do the same work for a request (`apps/`). Before anything is measured, every guarded app has to show that it
refuses a forged token, a revoked token and a user over a limit. `--cold` sends a different token with every request, so
that no cache of verified tokens helps anybody; `--freeze` keeps the collector of every app off what was loaded at its
start; `--only` measures some of the apps.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count

from _common import Rounds, alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, Load, token, wrk_script
from _servers import CPUS, App, Valkey, pin, uvicorn_app, valkey

PEERS = ("by_hand", "by_hand_headers", "redis_sdk", "alcazaba")
COLD_TOKENS = 100_000
SERIAL = count(10**9)  # of the tokens that the proofs use
PEER_VERSIONS = ("fastapi-redis-sdk", "fastapi-alcazaba", "httptools")


def ask(app: App, bearer: str, path: str = "/items/7", method: str = "GET") -> tuple[int, object]:
    """One real request: the status and the JSON body."""
    request = urllib.request.Request(app.url + path, method=method, headers={"Authorization": f"Bearer {bearer}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code, None


def expect(app: App, what: str, got: object, wanted: object) -> None:
    """End the benchmark if an app does not do its work: its speed would mean nothing."""
    if got != wanted:
        raise SystemExit(f"{app.name} is no fair peer: {what} gave {got}, not {wanted}")


def prove(name: str, redis_url: str) -> None:
    """Show that an app verifies, revokes and limits, with a user of its own and both limits in turn set to three."""
    for low, limits in enumerate(("3/minute;10000000/hour", "1000000/minute;3/hour")):
        with uvicorn_app(name, redis_url=redis_url, BENCH_LIMITS=limits) as app:
            user = f"{name}-{low}"
            good, revoked = token(next(SERIAL), f"{user}-good"), token(next(SERIAL), f"{user}-revoked")
            expect(app, "a good token", ask(app, good), (200, {"id": 7, "user": f"{user}-good"}))
            expect(app, "no token", ask(app, "")[0], 401)
            expect(app, "a forged token", ask(app, good[:-8] + "AAAAAAAA")[0], 401)
            expect(app, "a token before its logout", ask(app, revoked)[0], 200)
            expect(app, "the logout", ask(app, revoked, "/logout", "POST")[0], 200)
            expect(app, "a revoked token", ask(app, revoked)[0], 401)
            statuses = [ask(app, token(next(SERIAL), f"{user}-busy"))[0] for _ in range(5)]
            expect(app, "five requests of three", statuses, [200, 200, 200, 429, 429])


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdicts."""
    rows = []
    for name in rounds.readings:
        figures = [rounds.median(name, unit) for unit in ("requests/s", "p50 ms", "p99 ms", "CPU us")]
        share = f"{rounds.ratio('requests/s', name, 'bare'):.1%}"
        faster = f"{rounds.ratio('requests/s', 'ours', name):.2f}x" if "ours" in rounds.readings else "-"
        rows.append((name, *figures, share, faster, f"{rounds.spread(name, 'requests/s'):.0%}"))
    table(("app", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "of bare", "ours is", "+-"), rows)
    if "ours" not in rounds.readings:
        return []
    verdicts = [verdict("share of bare", rounds.ratio("requests/s", "ours", "bare"), at_least=0.75)]
    peers = [peer for peer in PEERS if peer in rounds.readings]
    return verdicts + [verdict(f"times {peer}", rounds.ratio("requests/s", "ours", peer), at_least=5) for peer in peers]


def measure(names: Sequence[str], server: Valkey, redis_url: str, options: object) -> Rounds:
    """Start every app, then load them in turns."""
    tokens = [token(number) for number in range(1000, 1000 + (COLD_TOKENS if options.cold else USERS))]
    with ExitStack() as running:
        script = running.enter_context(wrk_script(tokens))
        prefix: tuple[str, ...] = ()
        freeze = "1" if options.freeze else "0"
        apps = [running.enter_context(uvicorn_app(name, redis_url=redis_url, BENCH_FREEZE=freeze)) for name in names]
        if options.pin and len(CPUS) > 1:  # the app alone on one CPU, wrk and the Redis server on the others
            prefix = ("taskset", "-c", ",".join(map(str, CPUS[1:])))
            for pid, cpus in ((server.pid, CPUS[1:]), *((app.pid, CPUS[:1]) for app in apps)):
                pin(pid, cpus)
        load = Load(script, options.seconds, options.connections, prefix)
        return alternate({app.name: lambda app=app: load(app) for app in apps}, options.rounds)


def main() -> None:
    """Prove, measure, report."""
    parser = arguments(__doc__, rounds=11, seconds=1)
    parser.add_argument("--cold", action="store_true", help="a different token with every request")
    parser.add_argument("--freeze", action="store_true", help="every app calls gc.freeze() when it has been loaded")
    parser.add_argument("--unix", action="store_true", help="reach Redis over a unix socket instead of TCP")
    parser.add_argument("--pin", action="store_true", help="pin the apps to one CPU, wrk and Redis to the others")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="bare,ours," + ",".join(PEERS), help="the apps to measure, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    names = ["bare", *(name for name in options.only.split(",") if name != "bare")]
    with valkey() as server:
        redis_url = server.unix_url if options.unix else server.url
        header("the whole stack under uvicorn + wrk", server.banner, PEER_VERSIONS)
        for name in names[1:]:
            prove(name, redis_url)
        kind = f"{COLD_TOKENS:,} tokens, one after another" if options.cold else f"{USERS} tokens of {USERS} users"
        transport = "a unix socket" if options.unix else "TCP"
        frozen = ", gc.freeze() everywhere" if options.freeze else ""
        print(f"{options.connections} connections, {kind}, Redis over {transport}{frozen}; refusals were shown first\n")
        verdicts = report(measure(names, server, redis_url, options))
    finish(verdicts)


if __name__ == "__main__":
    main()
