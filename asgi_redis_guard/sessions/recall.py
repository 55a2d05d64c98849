"""What a process remembers of sessions, so that one that is still the same is neither sent nor decoded again.

Nothing is believed without Redis: it is asked each time whether times and version are those that are known here, and
every write changes them. Memory holds names of cookies, not their secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core.script import Operation, OperationKind
from ..core.steps import Ask
from .ids import SessionId
from .record import Record

LOAD = OperationKind.load(__package__, "load.lua")

#: What the script says in place of the fields of a record that is as it was seen.
AS_SEEN = 1

#: Bytes beyond which a session is not remembered, by `Record.size`; what is made of the text takes some times as much.
_LARGEST = 8192

#: Seconds in which a replica may not have heard of what was written to a session, and how many of them are remembered.
_LAG, _MOST_WRITTEN = 60.0, 65_536


class Known(NamedTuple):
    """A session as this process has seen it: its cookie's name, its id, its record and its user's facts, if any."""

    name: bytes
    id: SessionId
    record: Record | None = None
    user: Mapping[str, Any] | None = None


class SessionMemory:
    """What to ask for sessions that were read, by the names of their cookies; of more than `size`, the oldest go.

    With `replica` replicas may be asked, but not for what this process has lately written to.
    """

    __slots__ = ("_asks", "_closed", "_replica", "_size", "_written", "get")

    def __init__(self, size: int, *, closed: bool, replica: bool = False) -> None:
        self._asks: dict[bytes, Ask] = {}
        self._size = size
        self._closed = closed
        self._replica = replica
        #: When each was written to last, in seconds since the epoch; the oldest first.
        self._written: dict[bytes, float] = {}
        self.get = self._asks.get

    def keep(self, known: Known) -> None:
        """Remember a session that was loaded, unless it is too large or was replaced."""
        record, name = known.record, known.name
        self.forget(name)
        if record is None or record.read_only or record.size > _LARGEST or not self._size:
            return
        if len(self._asks) >= self._size:
            del self._asks[next(iter(self._asks))]
        seen = b"%d:%d:%d:%d:%d" % record.times
        facts = {"session_id": known.id}
        self._asks[name] = Ask(
            [load(record.id.record, seen)], facts, closed=self._closed, replica=self._replica, about=known
        )

    def forget(self, name: bytes) -> None:
        """Forget one that has ended."""
        self._asks.pop(name, None)

    def wrote(self, name: bytes, now: float) -> None:
        """Note that this process writes to a session, or ends it."""
        self._written.pop(name, None)
        self._written[name] = now
        while len(self._written) > _MOST_WRITTEN:
            self._written.pop(next(iter(self._written)), None)

    def trusted(self, name: bytes, ask: Ask, now: float) -> Ask:
        """Return what to ask: of the primary, where a replica may not know yet what was written here."""
        since = self._written.get(name)
        if since is None or now - since > _LAG:
            return ask
        return Ask(ask.batch, ask.facts, closed=self._closed, about=ask.about)


def load(record: bytes, seen: bytes = b"") -> Operation:
    """Return the operation that loads a record."""
    return Operation(LOAD, (record,), (seen,))
