"""An id that was replaced and comes again: how that is known, and recorded as a security event. Pure.

The event `reuse` says that one came after its overlap. A browser that has got the new id never sends the old one
again, whoever stole it before does; and where the thief got the new id, it is the owner's old one that comes. Within
the overlap it is most often a request that was on its way, so that nothing is recorded then (`DeviceBinding` looks at
those too). A replaced id leaves a mark for a day, which the first use takes away: one event for each id, however often
it comes. A browser that never got the answer with its new id is told of as well; address and user agent of the login
stand beside.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from ..core.exchange import Exchange
from ..core.keys import hash_tag
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable
from .codec import decode
from .ids import SessionId
from .policy import SessionPolicy
from .recording import From, entry_of

REUSED, UNMARK = (OperationKind.load(__package__, f"{name}.lua") for name in ("reused", "unmark"))


class Reuse(NamedTuple):
    """An id that was replaced by `heir` has come; `user` is whose it was, or whose it became."""

    id: SessionId
    user: str
    heir: str


def read_reuse(policy: SessionPolicy, one: SessionId, flat: Any) -> Reuse | None:
    """Read the mark of a replaced session; None for anything else, and where nothing is recorded."""
    if policy.events is None or not flat:
        return None
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    if found.keys() != {b"u", b"o"}:
        return None
    try:
        text = policy.unseal(one, {"": found[b"u"]})[""]
        return Reuse(one, str(decode(text)), found[b"o"].decode())
    except ValueError:
        return None  # encrypted with a key that is no more


def report(policy: SessionPolicy, exchange: Exchange, origin: From, reuse: Reuse) -> Generator[Ask, Replies, None]:
    """Record that a replaced id came, the first time that it does."""
    events = policy.events
    if events is None:
        return
    _, entry = entry_of(events, reuse.user, "reuse", origin(), reuse.id.handle, successor=reuse.heir)
    try:
        event_id = yield from _recorded(exchange, exchange.keys.replaced(reuse.id.record), entry)
    except RedisUnavailable as error:
        events.miss(reuse.user, entry, error)
        return
    if event_id:
        events.tell(reuse.user, entry, event_id)


def _recorded(exchange: Exchange, mark: bytes, entry: Operation) -> Generator[Ask, Replies, Any]:
    """Take the mark away and record the event; return its id, 0 where the mark was gone.

    Both at once, where they can be. Where they lie in two slots of a cluster the mark is first: whoever takes it
    records the event, and if that fails or the reply was lost the event is told to hooks as one that was missed.
    """
    if not exchange.cuts or hash_tag(mark) == hash_tag(entry.keys[0]):
        (reply,) = yield Ask([Operation(REUSED, (mark, *entry.keys), entry.args)])
        return reply.values[0]
    (taken,) = yield Ask([Operation(UNMARK, (mark,))])
    if not taken.values[0]:
        return 0
    (reply,) = yield Ask([entry])
    return reply.values[0]
