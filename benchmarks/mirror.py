"""Claim: with the mirror, JWT and blacklist keep >= 90 % of the requests/s that JWT has alone.

Requests through uvicorn and `wrk`: the bare app, and JWT (HS256) with no blacklist, with one that Redis is asked about
for each request, and with one that is mirrored; the last two have to show first that they refuse a revoked token. Then
`TokenService.verify` by itself, asking and mirrored, by 1 task and by 64. How fast revocations reach mirrors, and what
an entry takes, is measured by `revocation_spread.py`.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count

import uvloop
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
from stack import ask, expect

from asgi_redis_guard import RedisManager, RevocationList
from asgi_redis_guard.jwt.service.token_service import TokenService

KINDS = {"bare": "bare", "JWT alone": "none", "asking": "remote", "mirrored": "mirror"}
CALLERS = (1, 64)
SECRET = "a secret of a benchmark, which nobody else has to know"
SERIAL = count(10**9)  # of the tokens that the proofs use


def prove(app: object) -> None:
    """End the benchmark if an app lets a revoked token in."""
    revoked = token(next(SERIAL))
    expect(app, "a token before its logout", ask(app, revoked)[0], 200)
    expect(app, "the logout", ask(app, revoked, "/logout", "POST")[0], 200)
    deadline = time.monotonic() + 5
    while ask(app, revoked)[0] != 401:
        if time.monotonic() > deadline:
            raise SystemExit(f"{app.name} does not refuse a revoked token")


def requests(server: Valkey, rounds: int, seconds: float, connections: int) -> Rounds:
    """Start every app, let them prove themselves, load them in turns."""
    tokens = [token(number) for number in range(1000, 1000 + USERS)]
    with ExitStack() as running:
        load = Load(running.enter_context(wrk_script(tokens)), seconds, connections)
        sides = {}
        for name, kind in KINDS.items():
            module = "bare" if name == "bare" else "ours_jwt"
            app = running.enter_context(
                uvicorn_app(
                    module, redis_url=server.url, name=name, BENCH_BLACKLIST=kind
                )  # what is read by one of them
            )
            if kind in ("remote", "mirror"):
                prove(app)
            sides[name] = lambda app=app: load(app)
        return alternate(sides, rounds)


async def turn(tokens: TokenService, pairs: list[str], seconds: float) -> Mapping[str, float]:
    """One measured turn of `verify`, each task with a token of its own."""
    until = time.perf_counter() + seconds

    async def caller(text: str) -> int:
        number = 0
        while time.perf_counter() < until:
            await tokens.verify(text)
            number += 1
        return number

    started = time.perf_counter()
    total = sum(await asyncio.gather(*map(caller, pairs)))
    return {"us": (time.perf_counter() - started) / total * 1e6}


async def verified(server: Valkey, rounds: int, seconds: float) -> Mapping[int, Rounds]:
    """Microseconds of each `verify`, by tasks."""
    async with RedisManager(server.url) as asking, RedisManager(server.url) as mirrored:
        sides = {}
        for name, manager in (("asking", asking), ("mirrored", mirrored)):
            revoked = RevocationList(manager, mode="mirror" if name == "mirrored" else "remote")
            options = {
                "issuer": "https://issuer.example",
                "refresh_keys": SECRET + " for refreshing",
                "revocation": revoked,
            }
            sides[name] = TokenService(manager, SECRET, **options)
        await sides["mirrored"].revocation.mirrored()
        pairs = [await sides["asking"].issue(f"user-{number}") for number in range(max(CALLERS))]
        texts = [pair.access_token for pair in pairs]
        return {
            callers: await alternate_async(
                {name: partial(turn, tokens, texts[:callers], seconds) for name, tokens in sides.items()}, rounds
            )
            for callers in CALLERS
        }


def report(rounds: Rounds, calls: Mapping[int, Rounds]) -> list[bool]:
    """Print the tables and the verdict."""
    rows = []
    for name in rounds.readings:
        figures = [rounds.median(name, unit) for unit in ("requests/s", "p50 ms", "p99 ms", "CPU us")]
        ratios = [f"{rounds.ratio('requests/s', name, base):.1%}" for base in ("bare", "JWT alone")]
        rows.append((name, *figures, *ratios, f"{rounds.spread(name, 'requests/s'):.0%}"))
    table(("app", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "of bare", "of JWT alone", "+-"), rows)
    rows = [
        (f"{callers}", *(each.median(name, "us") for name in each.readings), each.ratio("us", "asking", "mirrored"))
        for callers, each in calls.items()
    ]
    table(("tasks that verify", "us asking", "us mirrored", "times"), rows)
    share = rounds.ratio("requests/s", "mirrored", "JWT alone")
    return [verdict("share of JWT alone, mirrored", share, at_least=0.9)]


def main() -> None:
    """Prove, measure, report."""
    parser = arguments(__doc__, rounds=11, seconds=1)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("JWT with a mirrored blacklist under uvicorn + wrk", server.banner, ("httptools",))
        print(f"{options.connections} connections, {USERS} tokens of {USERS} users, Redis over TCP\n")
        rounds = requests(server, options.rounds, options.seconds, options.connections)
        calls = uvloop.run(verified(server, options.rounds, min(options.seconds, 0.5)))
        verdicts = report(rounds, calls)
    finish(verdicts)


if __name__ == "__main__":
    main()
