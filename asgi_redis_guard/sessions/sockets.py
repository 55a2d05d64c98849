"""A WebSocket lives no longer than the session it was opened with."""

from __future__ import annotations

from math import inf

from ..core.responder import Close, Control
from ..core.steps import Ask
from .ids import SessionId
from .keeping import KeptSession
from .recall import load
from .record import read_record

#: The topic on which ended sessions are told, by their handles: the channel is `Keys.sessions_channel`.
TOPIC = "sessions"

#: In the range for applications (RFC 6455 §7.4.2); 401 is what HTTP would say.
SESSION_ENDED = Close(4401, "session ended")


class SocketResponder(KeptSession):
    """Closes the socket when its session is told to have ended."""

    #: The session that the handshake came with, None for none.
    _watched: SessionId | None = None
    #: False where nobody has looked yet whether there is such a session: one that never was has not ended either.
    _was_there = True

    def named(self) -> SessionId | None:
        """Return the session that the handshake came with, before anything can have changed it."""
        record = self._session.record
        return record.id if record is not None and not record.is_trace else None

    def bind(self, control: Control) -> None:
        """Watch that session."""
        self._watched = one = self.named()
        if one is not None:
            control.watch(TOPIC, one.handle, lambda: control.close(SESSION_ENDED), self._lives)

    async def _lives(self, handle: bytes) -> float:
        """Tell how long the session lives if nobody uses it; by now it may go by another handle."""
        one = self._watched
        if one is None or self._exchange.perform is None:
            return inf
        if handle != one.handle:
            if one.owner == one.record:  # it was nobody's: what it has become may lie elsewhere
                return inf
            one = self._ids.at(one.place, handle)
        (reply,) = await self._ask(Ask([load(one.record)]))
        fields, clock = reply.values
        record = read_record(one, fields)  # a mark of why it ended may be in its place
        if record is None or record.is_trace:
            return 0 if self._was_there else inf
        self._was_there = True
        left: int = min(record.ends, record.touched + record.idle) - clock
        return max(left, 1) / 1000
