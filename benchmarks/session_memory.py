"""Claim: a session of 9 small fields and the note of where it began take <= 450 bytes of Redis memory, its place in its
user's index <= 110 bytes.

100,000 sessions through `SessionMiddleware`, as an app makes them, beside a record by hand (one string of JSON under a
random name). Anonymous sessions have no index entry; two for each of 50,000 users tell what one takes. `used_memory`.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.asyncio
from _common import Rounds, alternate_async, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, used, valkey
from apps import FIELDS as LOGGED_IN

from asgi_redis_guard import RedisManager, SessionMiddleware

SESSIONS, AT_ONCE = 100_000, 100
FIELDS = {**LOGGED_IN, "seen": 1_800_000_000}
Make = Callable[[int], Awaitable[None]]


async def stored(server: redis.asyncio.Redis, make: Make) -> Mapping[str, float]:
    """Make `SESSIONS` of them on an empty server: bytes of memory and microseconds for each."""
    await server.flushall()
    await make(-1)
    before, started = await used(server), time.perf_counter()
    for first in range(0, SESSIONS, AT_ONCE):
        await asyncio.gather(*[make(number) for number in range(first, first + AT_ONCE)])
    elapsed = time.perf_counter() - started
    with_notes = await used(server)
    notes = [key async for key in server.scan_iter("guard:n:*", count=10_000)]
    for first in range(0, len(notes), 10_000):
        await server.delete(*notes[first : first + 10_000])
    without = await used(server)
    size = {"bytes": (without - before) / SESSIONS, "notes": (with_notes - without) / SESSIONS}
    return {**size, "us": elapsed / SESSIONS * 1e6}


def ours(manager: RedisManager, *, users: bool) -> Make:
    """A request that fills its session; with `users`, two sessions for each."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].update(FIELDS)
        if users:
            scope["session"]["user_id"] = scope["path"][1:]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = SessionMiddleware(app, https_only=False, redis=manager, principal=("user_id",))

    async def ignore(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise SystemExit(f"a session was answered with {message['status']}")

    async def make(number: int) -> None:
        path = f"/user-{number // 2:06}"
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
        await guarded(scope, None, ignore)  # type: ignore[arg-type]

    return make


def by_hand(server: redis.asyncio.Redis) -> Make:
    """One string of JSON under a random name."""

    async def make(number: int) -> None:
        await server.set(f"session:{secrets.token_urlsafe(32)}", json.dumps(FIELDS), ex=14 * 86_400)

    return make


async def measure(server: Valkey, rounds: int) -> Rounds:
    """All sides in turns."""
    client = redis.asyncio.Redis.from_url(server.unix_url, max_connections=AT_ONCE)
    async with RedisManager(server.unix_url, timeout=5) as manager:
        makers = {"by hand": by_hand(client), "ours": ours(manager, users=False), "of users": ours(manager, users=True)}
        sides = {name: lambda make=make: stored(client, make) for name, make in makers.items()}
        figures = await alternate_async(sides, rounds, warm_up=False)
    await client.aclose()
    return figures


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__, rounds=3, seconds=0).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header(f"memory of {SESSIONS:,} sessions of {len(FIELDS)} fields", server.banner)
        figures = asyncio.run(measure(server, options.rounds))
    kinds = ("bytes", "notes", "us")
    rows = [(side, *(figures.median(side, kind) for kind in kinds)) for side in figures.readings]
    table(("side", "bytes/session", "of notes", "us/session to make"), rows)
    session, note = figures.median("ours", "bytes"), figures.median("of users", "notes")
    user_field = len('.user_id"user-000000"') + 4  # what of the difference is the field itself, not the index
    entry = figures.median("of users", "bytes") - session - user_field
    finish(
        [
            verdict("bytes per session", session + note, at_most=450),
            verdict("bytes per index entry", entry, at_most=110),
        ]
    )


if __name__ == "__main__":
    main()
