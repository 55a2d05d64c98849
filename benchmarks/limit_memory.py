"""Claim: a value takes <= 80 bytes for gcra, fixed and counter; a log has its price for each entry.

Of a value: what `MEMORY USAGE` says of its key, less what it says of a key of the same name and life with one byte in
it. Of a key as a whole: `used_memory` over 100,000 of them, with tables, names and expiry. Identities are IPv4
addresses, as a limit by address has them; every side has counted one request for each, against a limit of an hour. An
identity may have several keys: the figures are of all.
"""

import asyncio
from collections.abc import Mapping, Sequence

import redis.asyncio
import uvloop
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _limiters import BARE, OURS, WHOLE, Decide, Quota, Side
from _servers import Valkey, used, valkey

IDENTITIES, AT_ONCE = 100_000, 64
COUNTERS = ("gcra", "fixed", "counter")
PEERS = ("limits fixed", "limits sliding", "throttled-py gcra", "throttled-py token", "throttled-py fixed")
SIDES: dict[str, Side] = {
    **{f"ours {name}": OURS[f"ours {name}"] for name in (*COUNTERS, "log")},
    **{name: BARE.get(f"{name}, bare") or WHOLE[name] for name in (*PEERS, "throttled-py sliding")},
    "limits moving": BARE["limits moving, bare"],
    "fastapi-redis-sdk fixed": WHOLE["fastapi-redis-sdk fixed"],
}
LOGS = ("ours log", "limits moving")
ENTRIES = (1, 10, 100, 1000, 10_000)
#: Nobody reaches them; one request is remembered long enough to be weighed.
FEW, MANY = Quota(10, "hour"), Quota(10_000, "hour")


def address(number: int) -> str:
    """An IPv4 address."""
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


async def count(decide: Decide, keys: Sequence[str]) -> None:
    """Count one request for each key."""
    waiting = iter(keys)

    async def caller() -> None:
        for key in waiting:
            if not await decide(key):
                raise SystemExit("a decision was not what it must be")

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def weigh(server: redis.asyncio.Redis) -> tuple[int, int]:
    """What all keys take, and what their values do of that."""
    whole = names = 0
    async for key in server.scan_iter(count=1000):
        whole += await server.memory_usage(key, samples=0)
        twin = b"\0" + key[1:]
        await server.set(twin, "x", px=max(1, await server.pttl(key)))
        names += await server.memory_usage(twin)
        await server.delete(twin)
    return whole, whole - names


async def stored(server: Valkey, side: Side, client: redis.asyncio.Redis) -> Mapping[str, float]:
    """One request of each identity on an empty server."""
    await client.flushall()
    async with side(server, AT_ONCE, FEW) as decide:
        await count(decide, [address(IDENTITIES)])  # scripts and buffers are not the keys'
        whole, value = await weigh(client)
        before, keys = await used(client), await client.dbsize()
        await count(decide, [address(number) for number in range(IDENTITIES)])
        memory, added = await used(client) - before, await client.dbsize() - keys
    if added < IDENTITIES:
        raise SystemExit(f"{added} keys of {IDENTITIES} identities")
    return {"value": value, "usage": whole, "bytes": memory / IDENTITIES, "keys": added / IDENTITIES}


async def logged(server: Valkey, side: Side, client: redis.asyncio.Redis) -> Mapping[str, float]:
    """A log of one identity as it grows: bytes of each entry."""
    await client.flushall()
    figures, entries = {}, 0
    async with side(server, AT_ONCE, MANY) as decide:
        for wanted in ENTRIES:
            await count(decide, [address(0)] * (wanted - entries))
            figures[str(wanted)], entries = (await weigh(client))[1] / wanted, wanted
    return figures


async def measure(server: Valkey, rounds: int) -> tuple[Rounds, Rounds]:
    """All sides in turns, and the logs in turns."""
    client = redis.asyncio.Redis.from_url(server.unix_url)
    sides = {name: lambda side=side: stored(server, side, client) for name, side in SIDES.items()}
    keys = await alternate_async(sides, rounds, warm_up=False)
    sides = {name: lambda side=SIDES[name]: logged(server, side, client) for name in LOGS}
    logs = await alternate_async(sides, rounds, warm_up=False)
    await client.aclose()
    return keys, logs


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=3, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"memory of {IDENTITIES:,} limited identities", server.banner, ("throttled-py", "fastapi-redis-sdk"))
        keys, logs = uvloop.run(measure(server, options.rounds))
    units = ("value", "usage", "bytes", "keys")
    rows = [(side, *(keys.median(side, unit) for unit in units)) for side in keys.readings]
    table(
        ("side", "value, B", "MEMORY USAGE, B", "used_memory, B", "keys"), [(*row[:-1], int(row[-1])) for row in rows]
    )
    rows = [(side, *(logs.median(side, str(entries)) for entries in ENTRIES)) for side in logs.readings]
    table(("bytes of an entry, in a log of", *map(str, ENTRIES)), rows)
    sides = [f"ours {name}" for name in COUNTERS]
    finish([verdict(f"bytes of value, {side}", keys.median(side, "value"), at_most=80) for side in sides])


if __name__ == "__main__":
    main()
