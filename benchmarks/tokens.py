"""Claim: a refresh is one round trip, looking at the mirror none, revoking 1,000 tokens one of under 10 ms.

Round trips are counted at the socket, by a proxy: those that the caller waits for, and all that follow (statistics go
out after the reply, those of many calls together). Refreshes a second are compared with what articles show, with the
same access tokens (HS256): `GET, SET + DEL`, two round trips, which hands out a new token to each of those that come at
once; `GETDEL, SET`, which refuses all of them but one. Neither knows a token that was used before for a stolen one. No
peer that the other benchmarks know has refresh tokens.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

import jwt
import redis.asyncio
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.service import TokenService
from asgi_redis_guard.testing import RoundTripCounter

SECRET = "a secret of a benchmark, which nobody else has to know"
ISSUER, LIFE = "https://issuer.example", 14 * 86_400
CALLERS, AT_ONCE, MANY, SAMPLES = (1, 64), 50, 1000, 30
QUIET = 0.05  # seconds without a byte: what follows a call has arrived
BASE = "GETDEL, SET"

#: Gives a first refresh token; gives the next one for a token, None where it is refused.
Login = Callable[[str], Awaitable[str]]
Refresh = Callable[[str], Awaitable[str | None]]
Call = Callable[[], Awaitable[object]]


class Side(NamedTuple):
    """One way to keep refresh tokens."""

    login: Login
    refresh: Refresh


def service(manager: RedisManager) -> TokenService:
    """Ours, as it comes."""
    return TokenService(manager, SECRET, issuer=ISSUER, refresh_keys=SECRET)


def ours(manager: RedisManager) -> Side:
    """Its two calls."""
    tokens = service(manager)

    async def login(user: str) -> str:
        return (await tokens.issue(user, scopes="read write")).refresh_token

    async def refresh(token: str) -> str | None:
        try:
            return (await tokens.refresh(token)).refresh_token
        except RefreshRefused:
            return None

    return Side(login, refresh)


def by_hand(client: redis.asyncio.Redis, *, atomic: bool) -> Side:
    """A random token, its hash a key with a little JSON; a refresh replaces it."""

    def key(token: str) -> str:
        return f"refresh:{hashlib.sha256(token.encode()).hexdigest()}"

    def sign(said: Mapping[str, object]) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": ISSUER, "iat": now, "exp": now + 600, "jti": secrets.token_urlsafe(16)}
        return jwt.encode({**claims, **said}, SECRET, algorithm="HS256")

    async def login(user: str) -> str:
        token = secrets.token_urlsafe(32)
        await client.set(key(token), json.dumps({"sub": user, "scope": "read write"}), ex=LIFE)
        return token

    async def refresh(token: str) -> str | None:
        found = await (client.getdel(key(token)) if atomic else client.get(key(token)))
        if found is None:
            return None
        sign(json.loads(found))
        successor = secrets.token_urlsafe(32)
        if atomic:
            await client.set(key(successor), found, ex=LIFE)
            return successor
        async with client.pipeline(transaction=False) as pipeline:
            await pipeline.set(key(successor), found, ex=LIFE).delete(key(token)).execute()
        return successor

    return Side(login, refresh)


async def turn(side: Side, callers: int, seconds: float) -> Mapping[str, float]:
    """One measured turn: every caller has a login of its own, and refreshes it again and again."""
    tokens = await asyncio.gather(*(side.login(f"user-{number}") for number in range(callers)))
    until = time.perf_counter() + seconds

    async def caller(token: str) -> int:
        count, current = 0, token
        while time.perf_counter() < until:
            successor = await side.refresh(current)
            if successor is None:
                raise SystemExit("a refresh was refused, though nobody else has the token")
            count, current = count + 1, successor
        return count

    started, cpu = time.perf_counter(), time.process_time()
    count = sum(await asyncio.gather(*map(caller, tokens)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"refreshes/s": count / elapsed, "CPU us": cpu / count * 1e6}


async def at_once(side: Side) -> Mapping[str, float]:
    """`AT_ONCE` refreshes of one token: what they get, and how long that takes."""
    token = await side.login("alice")
    started = time.perf_counter()
    given = Counter(await asyncio.gather(*(side.refresh(token) for _ in range(AT_ONCE))))
    elapsed = time.perf_counter() - started
    refused = given.pop(None, 0)
    return {"refused": refused, "tokens": len(given), "ms": elapsed * 1000}


class Cost(NamedTuple):
    """Traffic of one call: round trips that it waits for, all round trips, commands."""

    waited: int
    round_trips: int
    commands: int


async def cost(counter: RoundTripCounter, call: Call) -> Cost:
    """Count what a call makes, once everything before it is quiet."""
    await settle(counter)
    counter.reset()
    await call()
    waited = counter.round_trips
    await settle(counter)
    return Cost(waited, counter.round_trips, len(counter.commands))


async def settle(counter: RoundTripCounter) -> None:
    """Wait until nothing crosses the proxy any more."""
    while True:
        seen = counter.bytes_up + counter.bytes_down
        await asyncio.sleep(QUIET)
        if counter.bytes_up + counter.bytes_down == seen:
            return


async def costs(server: Valkey) -> Mapping[str, Cost]:
    """All calls of a service, one after another, by a process that has made each of them before."""
    async with RoundTripCounter(server.unix_url) as counter, RedisManager(counter.url) as manager:
        for _ in range(2):
            calls = await calls_of(service(manager))
            found = {name: await cost(counter, call) for name, call in calls.items()}
        return found


async def calls_of(tokens: TokenService) -> Mapping[str, Call]:
    """Everything that is done in a login's life, in this order."""
    first, names = await tokens.issue("alice", device="phone"), new_names()
    return {
        "issue": lambda: tokens.issue("alice"),
        "verify": lambda: tokens.verify(first.access_token),
        "refresh": lambda: tokens.refresh(first.refresh_token),
        "refresh, again": lambda: tokens.refresh(first.refresh_token),
        f"revoke_many({MANY})": lambda: tokens.revoke_many(names),
        "revoke (access)": lambda: tokens.revoke(first.access_token),
        "revoke_device": lambda: tokens.revoke_device("alice", "phone"),
        "revoke_user": lambda: tokens.revoke_user("alice"),
    }


def new_names() -> list[str]:
    """Ids of `MANY` tokens, as issuers write them."""
    return [secrets.token_urlsafe(16) for _ in range(MANY)]


async def many(manager: RedisManager) -> Mapping[str, float]:
    """Milliseconds to revoke `MANY` tokens that were not revoked before."""
    tokens, names = service(manager), new_names()
    started = time.perf_counter()
    if await tokens.revoke_many(names) != MANY:
        raise SystemExit("not all of the tokens were revoked")
    return {"ms": (time.perf_counter() - started) * 1000}


async def measure(server: Valkey, rounds: int, seconds: float) -> tuple[Mapping[int, Rounds], Rounds, Rounds]:
    """Rates by callers, races, and revocations in bulk; the sides of each in turns."""
    client = redis.asyncio.Redis.from_url(server.url, max_connections=256)
    async with RedisManager(server.url, timeout=5) as manager:
        sides = {
            "ours": ours(manager),
            BASE: by_hand(client, atomic=True),
            "GET, SET + DEL": by_hand(client, atomic=False),
        }
        rates = {}
        for callers in CALLERS:
            turns = {name: partial(turn, side, callers, seconds) for name, side in sides.items()}
            rates[callers] = await alternate_async(turns, rounds)
        races = await alternate_async({name: partial(at_once, side) for name, side in sides.items()}, rounds)
        bulk = await alternate_async({"ours": partial(many, manager)}, SAMPLES)
    await client.aclose()
    return rates, races, bulk


def report(counted: Mapping[str, Cost], rates: Mapping[int, Rounds], races: Rounds, bulk: Rounds) -> list[bool]:
    """Print the tables and the verdicts."""
    table(("call", "round trips waited for", "in all", "commands"), [(name, *cost) for name, cost in counted.items()])
    rows = []
    for callers, rounds in rates.items():
        for side in rounds.readings:
            figures = [rounds.median(side, unit) for unit in ("refreshes/s", "CPU us")]
            ratio = f"{rounds.ratio('refreshes/s', 'ours', side):.2f}x"
            rows.append((f"{callers}", side, *figures, ratio, f"{rounds.spread(side, 'refreshes/s'):.0%}"))
    table(("tasks", "side", "refreshes/s", "CPU us", "ours is", "+-"), rows)
    units = ("tokens", "refused", "ms")
    rows = [(side, *(races.median(side, unit) for unit in units)) for side in races.readings]
    table((f"{AT_ONCE} of one token at once", "tokens given out", "refused", "ms"), rows)
    calls = [verdict(f"round trips of {name}", counted[name].waited, at_most=1) for name in counted]
    return [
        *calls,
        verdict(f"ms of revoke_many({MANY}), median", bulk.median("ours", "ms"), at_most=10),
        verdict(f"tokens that {AT_ONCE} refreshes at once give out", races.median("ours", "tokens"), at_most=1),
        verdict(f"refused of {AT_ONCE} refreshes at once", races.median("ours", "refused"), at_most=0),
    ]


def main() -> None:
    """Count, measure, report."""
    options = arguments(__doc__, rounds=7, seconds=1).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("a token service", server.banner)
        counted = uvloop.run(costs(server))
        verdicts = report(counted, *uvloop.run(measure(server, options.rounds, options.seconds)))
    finish(verdicts)


if __name__ == "__main__":
    main()
