"""A login's part in a write: what the script is told of it, and who hears of the sessions that have to go. Pure."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from ..core.exchange import Exchange
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable
from .ids import SessionId
from .notes import Origin, ended_message
from .policy import SessionPolicy

logger = logging.getLogger("asgi_redis_guard.sessions")

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


def tell(exchange: Exchange, evicted: list[bytes] | int) -> Generator[Ask, Replies, None]:
    """Publish which sessions had to go, if any. That they are gone does not hang on it."""
    if not evicted or isinstance(evicted, int):
        return
    args = (exchange.keys.sessions_channel, ended_message(evicted, "evicted"))
    try:
        yield Ask([Operation(PUBLISH, (), args)])
    except RedisUnavailable as error:
        logger.warning("the end of %d sessions could not be published: %s", len(evicted), error)
