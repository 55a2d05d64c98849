"""Claim: a revoked token takes <= 120 bytes of Redis memory, over 100,000 of them (`used_memory`, Valkey 9).

Ours through `RevocationList.revoke_many`, beside what peers write for the same token ids: `SET revoked:<jti> 1 EX n` by
hand, and fastapi-alcazaba's `TokenBlocklist`. The ids are UUIDs, as most issuers write them. A round starts on an empty
server and uses ids of its own.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import redis.asyncio
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, used, valkey
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.redis import RedisBackend
from fastapi_alcazaba.tokens import TokenBlocklist

from asgi_redis_guard import RedisManager, Revocation, RevocationList

TOKENS, BATCH, LIFE = 100_000, 1000, 3600
Revoke = Callable[[list[str]], Awaitable[object]]


async def stored(server: redis.asyncio.Redis, revoke: Revoke) -> Mapping[str, float]:
    """Revoke `TOKENS` fresh ids on an empty server: bytes of memory a token, and microseconds a token."""
    await server.flushall()
    await revoke([str(uuid.uuid4()) for _ in range(BATCH)])  # buffers, scripts and the first tables are not the tokens'
    before, keys = await used(server), await server.dbsize()
    started = time.perf_counter()
    for _ in range(TOKENS // BATCH):
        await revoke([str(uuid.uuid4()) for _ in range(BATCH)])
    elapsed = time.perf_counter() - started
    added = await server.dbsize() - keys
    memory = await used(server) - before
    return {"bytes": memory / TOKENS, "us": elapsed / TOKENS * 1e6, "keys": added / TOKENS}


def by_hand(server: redis.asyncio.Redis) -> Revoke:
    """What most articles show."""

    async def revoke(ids: list[str]) -> object:
        pipeline = server.pipeline(transaction=False)
        for jti in ids:
            pipeline.set(f"revoked:{jti}", 1, ex=LIFE)
        return await pipeline.execute()

    return revoke


def alcazaba(server: redis.asyncio.Redis) -> Revoke:
    """The peer's list; it has no batch call."""
    blocklist = TokenBlocklist(Cache(RedisBackend(server), prefix="bench", metrics=False, tracing=False))

    async def revoke(ids: list[str]) -> object:
        for start in range(0, len(ids), 50):
            await asyncio.gather(*(blocklist.revoke(jti, ttl=LIFE) for jti in ids[start : start + 50]))
        return None

    return revoke


def ours(manager: RedisManager) -> Revoke:
    """Ours, one round trip for a batch."""
    revoked = RevocationList(manager)

    async def revoke(ids: list[str]) -> object:
        return await revoked.revoke_many(Revocation(jti, ttl=LIFE) for jti in ids)

    return revoke


async def measure(server: Valkey, rounds: int) -> Rounds:
    """All sides in turns, then a proof that ours are revoked indeed."""
    client = redis.asyncio.Redis.from_url(server.unix_url)
    async with RedisManager(server.unix_url) as manager:
        revokers = {"by hand": by_hand(client), "alcazaba": alcazaba(client), "ours": ours(manager)}
        sides = {name: lambda revoke=revoke: stored(client, revoke) for name, revoke in revokers.items()}
        figures = await alternate_async(sides, rounds, warm_up=False)
        known = [str(uuid.uuid4()) for _ in range(100)]
        await revokers["ours"](known)
        if not all([await RevocationList(manager).is_revoked(jti) for jti in known]):
            raise SystemExit("a revoked token is not found again")
    await client.aclose()
    return figures


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=3, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"memory of {TOKENS:,} revoked tokens", server.banner, ("fastapi-alcazaba",))
        figures = asyncio.run(measure(server, options.rounds))
    rows = [
        (
            side,
            figures.median(side, "bytes"),
            f"{figures.ratio('bytes', side, 'ours'):.2f}x",
            figures.median(side, "us"),
        )
        for side in figures.readings
    ]
    table(("side", "bytes/token", "of ours", "us/token to write"), rows)
    finish([verdict("bytes per revoked token", figures.median("ours", "bytes"), at_most=120)])


if __name__ == "__main__":
    main()
