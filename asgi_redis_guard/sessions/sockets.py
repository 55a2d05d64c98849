"""A WebSocket lives no longer than the session it was opened with."""

from __future__ import annotations

from math import inf

from ..core.exchange import Exchange
from ..core.responder import Close, Control
from ..core.steps import Ask
from ..errors import RedisUnavailable
from .ids import SessionIds
from .keeping import KeptSession
from .policy import SessionPolicy
from .recall import load
from .record import Record, read_record
from .session import Session

#: The topic on which ended sessions are told, by their handles: the channel is `Keys.sessions_channel`.
TOPIC = "sessions"

#: In the range for applications (RFC 6455 §7.4.2); 401 is what HTTP would say.
SESSION_ENDED = Close(4401, "session ended")


class SocketResponder(KeptSession):
    """Closes the socket when its session is told to have ended."""

    def __init__(
        self, policy: SessionPolicy, ids: SessionIds, session: Session, exchange: Exchange, clock: int
    ) -> None:
        super().__init__(policy, ids, session, exchange, clock)
        self._loaded: Record | None = session.record

    def bind(self, control: Control) -> None:
        """Watch the session that the handshake came with."""
        if self._loaded is not None and not self._loaded.is_trace:
            control.watch(TOPIC, self._loaded.id.handle, lambda: control.close(SESSION_ENDED), self._lives)

    async def _lives(self, handle: bytes) -> float:
        """Tell how long the session lives if nobody uses it; by now it may go by another handle."""
        one = self._loaded.id if self._loaded is not None else None
        if one is None or self._exchange.perform is None:
            return inf
        if handle != one.handle:
            one = self._ids.at(one.place, handle)
        (replies,) = await self._exchange.perform([Ask([load(one.record)])])
        if isinstance(replies, Exception):
            raise replies if isinstance(replies, RedisUnavailable) else RedisUnavailable(str(replies))
        (reply,) = replies
        fields, clock = reply.values
        record = read_record(one, fields)  # a mark of why it ended may be in its place
        if record is None or record.is_trace:
            return 0
        left: int = min(record.ends, record.touched + record.idle) - clock
        return max(left, 1) / 1000
