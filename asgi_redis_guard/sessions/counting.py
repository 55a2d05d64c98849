"""Statistics of sessions: how many there are, kept beside the sessions by operations of their own. Pure.

Their keys are in another slot of a cluster than any user's. A session is counted before it can be ended by others and
taken off after it has ended, so that none is left counted; how many users are online follows, and a login that races
the end of its user's other sessions is seen at its next use at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from ..core.keys import Keys
from ..core.script import Operation, OperationKind
from .ids import SessionId
from .policy import SessionPolicy

COUNT, UNCOUNT = (OperationKind.load(__package__, f"{name}.lua") for name in ("count", "uncount"))


def count(
    policy: SessionPolicy, keys: Keys, one: SessionId, leaver: bytes = b"", last: int | bytes = b""
) -> list[Operation]:
    """Count a session: a new one, or in the place of `leaver` (itself if it was used). `last` is its end, in ms."""
    if not policy.statistics:
        return []
    args = (one.handle, leaver, user_of(one), policy.idle, policy.lifetime, last)
    return [Operation(COUNT, keys.session_counts, args)]


def uncount(
    policy: SessionPolicy,
    keys: Keys,
    handles: Iterable[bytes],
    user: bytes = b"",
    left: int | bytes = b"",
    *,
    begun: bool = True,
) -> list[Operation]:
    """Take sessions off that have ended, or never began; `left` is when the last of their user's others ends, in ms."""
    if not policy.statistics:
        return []
    names = orjson.dumps([handle.decode() for handle in handles])
    return [Operation(UNCOUNT, keys.session_counts, (names, user, left, int(begun)))]


def user_of(one: SessionId) -> bytes:
    """Return what stands for a session's user in the statistics; empty for nobody."""
    return b"" if one.owner == one.record else one.owner[-20:]
