"""Claim: a refresh family takes <= 400 bytes of Redis memory.

A login of each of 100,000 users and one refresh of it, and ten logins of each of 10,000, beside a token kept by hand
(its hash a key with a little JSON), which no index tells from others of its user. `used_memory`, with tables, names and
expiry; then the indexes are deleted, which tells what they take of that. `MEMORY USAGE` is the record's key alone.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import redis.asyncio
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, used, valkey

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.service.token_service import TokenService

FAMILIES, AT_ONCE = 100_000, 100
SECRET = "a secret of a benchmark, which nobody else has to know"
#: What keys begin with: records, and indexes of users' families.
RECORDS, INDEXES = {"ours": b"guard:f:{", "hand": b"refresh:"}, b"guard:fi:{"
#: How many logins each user has, by side; those with a device name one.
SIDES = {"ours": 1, "ours, a device": 1, "ours, 10 a user": 10}

Make = Callable[[int], Awaitable[object]]


def ours(manager: RedisManager, logins: int, device: str | None) -> Make:
    """A login of one of the users, and its first refresh: records are longer from then on."""
    tokens = TokenService(manager, SECRET, issuer="https://issuer.example", refresh_keys=SECRET + " for refreshing")

    async def make(number: int) -> None:
        pair = await tokens.issue(f"user-{number // logins:06}", scopes="read write", device=device)
        await tokens.refresh(pair.refresh_token)

    return make


def by_hand(client: redis.asyncio.Redis) -> Make:
    """What articles show."""

    async def make(number: int) -> None:
        name = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        said = {"sub": f"user-{number:06}", "scope": "read write", "iat": 1_800_000_000}
        await client.set(f"refresh:{name}", json.dumps(said), ex=14 * 86_400)

    return make


async def keys_of(client: redis.asyncio.Redis, head: bytes) -> list[bytes]:
    """All keys that begin so."""
    return [key async for key in client.scan_iter(head + b"*", count=10_000)]


async def usage(client: redis.asyncio.Redis, keys: Sequence[bytes]) -> float:
    """What `MEMORY USAGE` says of them on average; of many, of some."""
    some = keys[:: max(1, len(keys) // 1000)]
    return sum([await client.memory_usage(key, samples=0) for key in some]) / max(1, len(some))


async def stored(client: redis.asyncio.Redis, make: Make, head: bytes) -> Mapping[str, float]:
    """Make `FAMILIES` of them on an empty server; bytes for each."""
    await client.flushall()
    await make(-1)  # scripts, buffers and statistics are not theirs
    before = await used(client)
    for first in range(0, FAMILIES, AT_ONCE):
        await asyncio.gather(*[make(number) for number in range(first, first + AT_ONCE)])
    whole = await used(client)
    records, indexes = await keys_of(client, head), await keys_of(client, INDEXES)
    if len(records) != FAMILIES + 1:
        raise SystemExit(f"{len(records)} records of {FAMILIES + 1} logins")
    figures = {"record": await usage(client, records), "index key": await usage(client, indexes)}
    for first in range(0, len(indexes), 10_000):
        await client.unlink(*indexes[first : first + 10_000])
    of_indexes = whole - await used(client)
    return {**figures, "bytes": (whole - before) / FAMILIES, "of index": of_indexes / FAMILIES}


async def measure(server: Valkey, rounds: int) -> Rounds:
    """All sides in turns."""
    client = redis.asyncio.Redis.from_url(server.unix_url, max_connections=AT_ONCE)
    async with RedisManager(server.unix_url, timeout=5) as manager:
        sides = {"by hand": partial(stored, client, by_hand(client), RECORDS["hand"])}
        for name, logins in SIDES.items():
            make = ours(manager, logins, "a phone" if "device" in name else None)
            sides[name] = partial(stored, client, make, RECORDS["ours"])
        figures = await alternate_async(sides, rounds, warm_up=False)
    await client.aclose()
    return figures


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=3, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"memory of {FAMILIES:,} refresh families", server.banner)
        figures = uvloop.run(measure(server, options.rounds))
    kinds = ("bytes", "of index", "record", "index key")
    rows = [(side, *(figures.median(side, kind) for kind in kinds)) for side in figures.readings]
    table(("side", "bytes/family", "of its index", "MEMORY USAGE: record", "index key"), rows)
    finish([verdict(f"bytes a family, {side}", figures.median(side, "bytes"), at_most=400) for side in SIDES])


if __name__ == "__main__":
    main()
