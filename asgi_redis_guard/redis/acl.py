"""What an account of the server must be allowed for this package, and nothing more. Pure.

The table is checked by tests against the sources, and the package is run with nothing but it. HELLO and AUTH are open
to everybody; what an app sends by `manager.client` is its own to allow.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError

#: What a connection says by itself. Without INFO there is no audit, without SETNAME connections have no names.
CONNECTION = ("client|setname", "info", "ping")

#: Scripts, by digest; EVAL and WAIT are those of `wait_replicas=`.
SCRIPTS = ("eval", "evalsha", "script|load", "wait")

#: What the scripts call.
IN_SCRIPTS = (
    *(
        "append",
        "del",
        "exists",
        "get",
        "getrange",
        "mget",
        "persist",
        "pexpire",
        "pexpireat",
        "pttl",
        "set",
        "setrange",
        "strlen",
    ),
    *("hdel", "hexists", "hget", "hgetall", "hincrby", "hkeys", "hlen", "hmget", "hset", "hsetnx", "hstrlen"),
    *("publish", "sadd", "sismember", "srem", "time", "xadd", "xrevrange", "xtrim"),
    *("zadd", "zcard", "zcount", "zincrby", "zpopmin", "zrange", "zrangebyscore", "zrem", "zremrangebyrank"),
    *("zremrangebyscore", "zrevrange", "zscore"),
)

#: What is sent without a script, or as one too.
DIRECT = (
    *("del", "exists", "get", "hmget", "mget", "pttl", "publish", "scan", "scard", "set", "sscan", "time", "xrange"),
    *("xread", "zcard", "zscan"),
)

PUBSUB = ("psubscribe", "punsubscribe", "subscribe", "unsubscribe")

#: Only apps have sharded channels, and only Redis 7.0 and Valkey know the words.
SHARDED = ("spublish", "ssubscribe", "sunsubscribe")

CLUSTER = ("asking", "cluster|info", "cluster|slots", "readonly")
SENTINEL = ("role",)

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "*?[]\\"})


def commands(*, cluster: bool = False, sentinel: bool = False, sharded: bool = False, db: int = 0) -> list[str]:
    """Return the names of the commands as ACLs write them (`script|load`), in order."""
    extra = (*(CLUSTER if cluster else ()), *(SENTINEL if sentinel else ()), *(SHARDED if sharded else ()))
    extra = (*extra, *(("select",) if db else ()))
    return sorted({*CONNECTION, *SCRIPTS, *IN_SCRIPTS, *DIRECT, *PUBSUB, *extra})


def acl_of(
    user: str,
    prefix: str,
    *,
    channels: Iterable[str] = (),
    cluster: bool = False,
    sentinel: bool = False,
    sharded: bool = False,
    db: int = 0,
) -> list[str]:
    """Return the words of ACL SETUSER for an account without a password: it cannot log in until it has one.

    `channels` are patterns of the app's own channels, which `manager.pubsub` is to reach too; `sharded` says that some
    of them are sharded.
    """
    if not user or any(character.isspace() for word in (user, prefix, *channels) for character in word):
        raise ConfigurationError("user, prefix and channels of an ACL: words without spaces")
    own = prefix.translate(_SPECIAL) + "*"
    rules = ["reset", "on", f"~{own}", "resetchannels", f"&{own}", *(f"&{channel}" for channel in channels), "-@all"]
    names = commands(cluster=cluster, sentinel=sentinel, sharded=sharded, db=db)
    return [user, *rules, *(f"+{name}" for name in names)]
