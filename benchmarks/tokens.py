"""Claim: more refreshes a second than the code of articles makes; 50 of one token at once give one successor.

With the same access tokens (HS256) as ours: `GET, SET + DEL`, which hands out a new token to each of those that come at
once, and `GETDEL, SET`, which refuses all of them but one; both are two round trips. Neither knows a token that was
used before for a stolen one. No peer of the other benchmarks has refresh tokens. How long
revoking in bulk takes while processes mirror the blacklist is measured by `revocation_spread.py`.
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

from asgi_redis_guard import RedisManager, RevocationList
from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.service.token_service import TokenService

SECRET = "a secret of a benchmark, which nobody else has to know"
ISSUER, LIFE = "https://issuer.example", 14 * 86_400
CALLERS, AT_ONCE, MANY, SAMPLES = (1, 64), 50, 1000, 30

#: Gives a first refresh token; gives the next one for a token, None where it is refused.
Login = Callable[[str], Awaitable[str]]
Refresh = Callable[[str], Awaitable[str | None]]


class Side(NamedTuple):
    """One way to keep refresh tokens."""

    login: Login
    refresh: Refresh


def service(manager: RedisManager, mode: str = "remote") -> TokenService:
    """Ours, as it comes."""
    revoked = RevocationList(manager, mode=mode)
    return TokenService(manager, SECRET, issuer=ISSUER, refresh_keys=SECRET + " for refreshing", revocation=revoked)


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


def new_names() -> list[str]:
    """Ids of `MANY` tokens, as issuers write them."""
    return [secrets.token_urlsafe(16) for _ in range(MANY)]


async def many(tokens: TokenService) -> Mapping[str, float]:
    """Milliseconds to revoke `MANY` tokens that were not revoked before."""
    names, started = new_names(), time.perf_counter()
    if await tokens.revoke_many(names) != MANY:
        raise SystemExit("not all of the tokens were revoked")
    return {"ms": (time.perf_counter() - started) * 1000}


async def measure(server: Valkey, rounds: int, seconds: float) -> tuple[Mapping[int, Rounds], Rounds, Rounds]:
    """Rates by callers, races, and revocations in bulk; the sides of each in turns."""
    client = redis.asyncio.Redis.from_url(server.url, max_connections=256)
    async with RedisManager(server.url, timeout=5) as manager:
        sides = {
            "ours": ours(manager),
            "GETDEL, SET": by_hand(client, atomic=True),
            "GET, SET + DEL": by_hand(client, atomic=False),
        }
        rates = {}
        for callers in CALLERS:
            turns = {name: partial(turn, side, callers, seconds) for name, side in sides.items()}
            rates[callers] = await alternate_async(turns, rounds)
        races = await alternate_async({name: partial(at_once, side) for name, side in sides.items()}, rounds)
        bulk = await alternate_async({"ours": partial(many, service(manager))}, SAMPLES)
    await client.aclose()
    return rates, races, bulk


def report(rates: Mapping[int, Rounds], races: Rounds, bulk: Rounds) -> list[bool]:
    """Print the tables and the verdicts."""
    rows, ratios = [], {}
    for callers, rounds in rates.items():
        for side in rounds.readings:
            figures = [rounds.median(side, unit) for unit in ("refreshes/s", "CPU us")]
            ratio = rounds.ratio("refreshes/s", "ours", side)
            rows.append((f"{callers}", side, *figures, f"{ratio:.2f}x", f"{rounds.spread(side, 'refreshes/s'):.0%}"))
            if side != "ours":
                ratios[f"refreshes/s, times {side}, {callers} tasks"] = ratio
    table(("tasks", "side", "refreshes/s", "CPU us", "ours is", "+-"), rows)
    units = ("tokens", "refused", "ms")
    rows = [(side, *(races.median(side, unit) for unit in units)) for side in races.readings]
    table((f"{AT_ONCE} of one token at once", "tokens given out", "refused", "ms"), rows)
    return [
        *(verdict(claim, ratio, at_least=1) for claim, ratio in ratios.items()),
        verdict(f"tokens that {AT_ONCE} refreshes at once give out", races.median("ours", "tokens"), at_most=1),
        verdict(f"refused of {AT_ONCE} refreshes at once", races.median("ours", "refused"), at_most=0),
        verdict(f"ms of revoke_many({MANY}), median", bulk.median("ours", "ms"), at_most=10),
    ]


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=7, seconds=1).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("a token service", server.banner)
        verdicts = report(*uvloop.run(measure(server, options.rounds, options.seconds)))
    finish(verdicts)


if __name__ == "__main__":
    main()
