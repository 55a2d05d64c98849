"""Statistics of sessions: how many there are and whose, kept beside the sessions by operations of their own. Pure.

Their keys are in another slot of a cluster than any user's. Who makes a session counts it with it or before, and takes
it off again if it was not made; who gives it a new id counts that on once it is there, and looks whether it still is;
who ends it takes it off afterwards. So none is left counted, and a user is online while a session of that user is.

What can be off: a session that the server has dropped, or whose end was cut short (a crash, a lost connection) counts
until it would have ended unused; one whose new id was cut short so counts by its former id until then. Where the server
has dropped these keys, a session counts from its next new id on, and a user from the next use.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from ..core.keys import Keys
from ..core.script import Operation, OperationKind
from .ids import SessionId
from .policy import SessionPolicy

COUNT, UNCOUNT = (OperationKind.load(__package__, f"{name}.lua") for name in ("count", "uncount"))


def count(policy: SessionPolicy, keys: Keys, one: SessionId) -> list[Operation]:
    """Count a new session."""
    return _count(policy, keys, one, b"", policy.idle, b"")


def count_on(
    policy: SessionPolicy, keys: Keys, one: SessionId, leaver: SessionId, idle: int, ends: int
) -> list[Operation]:
    """Count a session that goes on, in the place of `leaver`: itself, or its former id. Times are its own, in ms."""
    return _count(policy, keys, one, _entry(leaver.handle, user_of(leaver)), idle, ends)


def _count(
    policy: SessionPolicy, keys: Keys, one: SessionId, leaver: bytes, idle: int, ends: int | bytes
) -> list[Operation]:
    if not policy.statistics:
        return []
    args = (_entry(one.handle, user_of(one)), leaver, idle, policy.lifetime, ends)
    return [Operation(COUNT, keys.session_counts, args)]


def uncount(
    policy: SessionPolicy, keys: Keys, handles: Iterable[bytes], user: bytes, *, begun: bool = True
) -> list[Operation]:
    """Take sessions of one user (empty for nobody) off that have ended, or never began."""
    if not policy.statistics:
        return []
    names = orjson.dumps([_entry(handle, user).decode() for handle in handles])
    return [Operation(UNCOUNT, keys.session_counts, (names, int(begun)))]


def user_of(one: SessionId) -> bytes:
    """Return what stands for a session's user in the statistics; empty for nobody."""
    return b"" if one.owner == one.record else user_digest(one.owner)


def user_digest(index: bytes) -> bytes:
    """Return what stands for a user in the statistics, of the key of the user's sessions."""
    return index[-20:]


def _entry(handle: bytes, user: bytes) -> bytes:
    """Return what stands for a session in the statistics; neither part has a colon."""
    return b"%b:%b" % (handle, user) if user else handle
