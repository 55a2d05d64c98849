"""A login's part in a write: what the script is told of it, and who hears of the sessions that have to go. Pure."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from typing import Any

import orjson

from ..core.exchange import Exchange
from ..core.keys import Keys
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable
from .counting import uncount, user_of
from .ids import SessionId
from .notes import Origin
from .policy import SessionPolicy

logger = logging.getLogger("asgi_redis_guard.sessions")

Telling = Generator[Ask, Replies, Replies | None]

PUBLISH = OperationKind.load(__package__, "publish.lua")

#: The `state` of a login that is one too many.
TOO_MANY = 3


def read_end(flat: Any) -> str | None:
    """Read why a session has ended out of the mark that stands in its place; None for anything else."""
    return flat[1].decode() if flat and len(flat) == 2 and flat[0] == b"e" else None


def entry_args(policy: SessionPolicy, exchange: Exchange, fresh: SessionId) -> tuple[Any, ...]:
    """Return note, cap and excess, as the scripts take them; a session of nobody has neither note nor cap."""
    note = b"" if fresh.owner == fresh.record else Origin.of(exchange, policy.proxies).note()
    return (note, *cap_args(policy))


def cap_args(policy: SessionPolicy) -> tuple[int | bytes, str]:
    """Return cap and excess, as the scripts take them."""
    return (b"" if policy.cap is None else policy.cap, policy.excess)


def told(policy: SessionPolicy, keys: Keys, fresh: SessionId, evicted: list[bytes] | int) -> list[Operation]:
    """Publish which sessions had to go for `fresh`, if any, and take them off the statistics."""
    if isinstance(evicted, int):
        return []
    return [publish(keys, evicted), *uncount(policy, keys, evicted, user_of(fresh))]


def publish(keys: Keys, handles: Iterable[bytes]) -> Operation:
    """Tell whoever listens, such as their WebSockets, that sessions have ended."""
    return Operation(PUBLISH, (), (keys.sessions_channel, orjson.dumps([handle.decode() for handle in handles])))


def follow(operations: list[Operation]) -> Telling:
    """Do what comes after a write, if anything; return the replies. What was written does not hang on it."""
    if not operations:
        return None
    try:
        return (yield Ask(operations))
    except RedisUnavailable as error:
        logger.warning("%s could not be done: %s", operations, error)
        return None
