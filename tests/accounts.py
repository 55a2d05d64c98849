"""Tests as an account with few rights: where GUARD_TEST_ACCOUNT is set, managers log in as one that may do what
`asgi-redis-guard acl` allows, and what tests themselves ask besides.

Law: without the variable nothing of this happens. It names a folder, in which each server's commands are written down.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from asgi_redis_guard.redis.acl import acl_of
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


def note_commands(servers: Iterable[Server]) -> None:
    """Write down which commands each server has run."""
    if (folder := os.environ.get(VARIABLE)) is None:
        return
    for server in servers:
        stats = server.command("INFO", "commandstats")
        names = [name.removeprefix("cmdstat_").lower() for name in stats]
        denied = [str(entry) for entry in server.command("ACL", "LOG")]
        Path(folder, f"{server.pid}.json").write_text(json.dumps({"ran": names, "denied": denied}))
