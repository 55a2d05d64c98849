"""Tests as an account with few rights: where GUARD_TEST_ACCOUNT is set, managers log in as one that may do what
`asgi-redis-guard acl` allows, and what tests themselves ask besides.

Law: without the variable nothing of this happens. It names a folder, in which each server's commands are written down.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList
from asgi_redis_guard.redis.acl import acl_of
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.redis.tools import PATIENCE, within
from tests.servers import Server

VARIABLE = "GUARD_TEST_ACCOUNT"

#: What tests send to look at or to prepare things, which the package never does; they choose their keys too.
OF_TESTS = (
    *(
        "client|info",
        "client|list",
        "client|kill",
        "config",
        "dbsize",
        "debug",
        "dump",
        "echo",
        "expire",
        "expiretime",
        "incr",
    ),
    *(
        "flushall",
        "flushdb",
        "hvals",
        "keys",
        "llen",
        "lrange",
        "memory",
        "object",
        "persist",
        "pexpiretime",
        "pubsub",
        "randomkey",
    ),
    *("rpush", "script|flush", "smembers", "ttl", "type", "unlink", "xlen", "xrange", "acl|whoami"),
)


def login_of(server: Server) -> str:
    """Return the URL that tests use: as the account, which is made if there is none."""
    if VARIABLE not in os.environ:
        return server.url
    user, *rules = acl_of("guard", "guard:")
    known = server.command("INFO", "server")
    since_7 = not known["redis_version"].startswith("6.")
    more = [f"+{name}" for name in OF_TESTS if since_7 or name not in ("expiretime", "pexpiretime")]
    server.command("ACL", "SETUSER", user, *rules, "~*", "allchannels", ">few", *more)
    return f"unix://guard:few@{server.path}"


async def use(url: str) -> None:
    """A stack of guards, locks, pub/sub and a look at the server's health, each but for a moment."""
    async with RedisManager(url, timeout=PATIENCE) as manager:
        revocations = RevocationList(manager)
        guards = [RateLimit("9/hour"), JWTAuth(SECRET), RateLimit("5/hour", key="user", algorithm="log", name="user")]
        app = GuardMiddleware(App(), guards, redis=manager, clock=lambda: NOW)
        await revocations.revoke("gone", ttl=60)
        assert (await get(app, headers=bearer(sign()))).status == 200
        assert (await get(app, headers=bearer(sign(jti="gone")))).status == 401
        async with manager.lock("job"), manager.semaphore("seats", 2):
            pass
        async with manager.pubsub.subscribe("news") as news:
            await manager.pubsub.publish("news", b"hello")
            assert (await within(anext(news))).data == b"hello"
        health = await manager.health()
        assert (health["healthy"], health["error"]) == (True, None)


def note_commands(servers: Iterable[Server]) -> None:
    """Write down which commands each server has run."""
    if (folder := os.environ.get(VARIABLE)) is None:
        return
    for server in servers:
        stats = server.command("INFO", "commandstats")
        names = [name.removeprefix("cmdstat_").lower() for name in stats]
        denied = [str(entry) for entry in server.command("ACL", "LOG")]
        Path(folder, f"{server.pid}.json").write_text(json.dumps({"ran": names, "denied": denied}))
