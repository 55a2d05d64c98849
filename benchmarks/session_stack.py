"""Claim: with a session beside JWT, blacklist and two limits the stack keeps >= 70 % of the bare app's requests/s.

As `stack.py`, with a session of 9 fields that every request reads and none changes, against peers that do the same with
their own sessions (`apps/*_session.py`). Every user logs in first; every app has to show that its session is there.
`--freeze` as in `stack.py`. `--forget`: ours remembers no session, so that each is sent and decoded each time, as where
requests of one session go to many processes and change it often.
"""

import json
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack

from _common import Rounds, alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, Load, token, wrk_script
from _servers import App, uvicorn_app, valkey

AT_LEAST = {"redis_sdk_session": 5, "alcazaba_session": 5, "starsessions_session": 4}
VERSIONS = ("fastapi-redis-sdk", "fastapi-alcazaba", "starsessions", "httptools")


def login(app: App, bearer: str) -> str:
    """Log a user in; return the line for wrk: the token and the cookie."""
    request = urllib.request.Request(f"{app.url}/login", method="POST", headers={"Authorization": f"Bearer {bearer}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        cookie = (response.headers.get("set-cookie") or "").partition(";")[0]
    return f"{bearer} {cookie}".rstrip()


def prove(app: App, line: str) -> None:
    """End the benchmark if a session is not there: its speed would mean nothing."""
    bearer, _, cookie = line.partition(" ")
    request = urllib.request.Request(
        f"{app.url}/cart/7", headers={"Authorization": f"Bearer {bearer}", "Cookie": cookie}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        if json.loads(response.read())["cart"] != 3:
            raise SystemExit(f"{app.name} does not keep its sessions")


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdicts."""
    rows = []
    for name in rounds.readings:
        figures = [rounds.median(name, unit) for unit in ("requests/s", "p50 ms", "p99 ms", "CPU us")]
        share = f"{rounds.ratio('requests/s', name, 'bare_session'):.1%}"
        rows.append((name, *figures, share, f"{rounds.ratio('requests/s', 'ours_session', name):.2f}x"))
    table(("app", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "of bare", "ours is"), rows)
    verdicts = [verdict("share of bare", rounds.ratio("requests/s", "ours_session", "bare_session"), at_least=0.7)]
    for peer, least in AT_LEAST.items():
        if peer in rounds.readings:
            verdicts.append(verdict(f"times {peer}", rounds.ratio("requests/s", "ours_session", peer), at_least=least))
    return verdicts


def measure(names: Sequence[str], redis_url: str, options: object) -> Rounds:
    """Start every app, log everybody in, then load them in turns."""
    tokens = [token(number) for number in range(1000, 1000 + USERS)]
    with ExitStack() as running:
        loads = {}
        for name in names:
            freeze = "1" if options.freeze else "0"
            memory = {"BENCH_REMEMBERED": "0"} if options.forget else {}
            app = running.enter_context(uvicorn_app(name, redis_url=redis_url, BENCH_FREEZE=freeze, **memory))
            lines = [login(app, bearer) for bearer in tokens]
            prove(app, lines[0])
            load = Load(running.enter_context(wrk_script(lines, "/cart/7")), options.seconds, options.connections)
            loads[name] = lambda app=app, load=load: load(app)
        return alternate(loads, options.rounds)


def main() -> None:
    """Prove, measure, report."""
    parser = arguments(__doc__, rounds=11, seconds=1)
    parser.add_argument("--freeze", action="store_true", help="every app calls gc.freeze() when it has been loaded")
    parser.add_argument("--forget", action="store_true", help="ours remembers no session")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="ours_session," + ",".join(AT_LEAST), help="the apps to measure, by commas")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("the whole stack with a session under uvicorn + wrk", server.banner, VERSIONS)
        frozen = ", gc.freeze() everywhere" if options.freeze else ""
        frozen += ", nothing remembered" if options.forget else ""
        print(f"{options.connections} connections, {USERS} users, Redis over TCP{frozen}\n")
        verdicts = report(measure(["bare_session", *options.only.split(",")], server.url, options))
    finish(verdicts)


if __name__ == "__main__":
    main()
