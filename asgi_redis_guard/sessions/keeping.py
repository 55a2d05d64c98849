"""What a session can have done while the app runs: saves for WebSockets and streams, changes against all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.exchange import Exchange
from ..core.script import Operation, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable, SessionDataError
from .codec import decode, encode
from .policy import SessionPolicy
from .saving import OTHER_VERSION, SWAP, WRITTEN, SessionResponder
from .session import Session

#: How often a change is tried against others who are faster.
_MOST_TRIES = 1000


class SessionKeeper:
    """Carries out what one exchange's session asks for."""

    __slots__ = ("_exchange", "_policy", "_responder")

    def __init__(self, exchange: Exchange, responder: SessionResponder, policy: SessionPolicy) -> None:
        self._exchange = exchange
        self._responder = responder
        self._policy = policy

    def handle(self) -> bytes:
        """Return the handle that the session has when the response has been sent."""
        return self._responder.handle()

    async def save(self, session: Session) -> None:
        """Write what has changed now. Raises `RedisUnavailable`, `SessionDataError` for a session without a cookie."""
        if session.record is None or session.is_destroyed or session.wants_rotation:
            if not session.modified:
                return
            raise SessionDataError(
                "a new, rotated or cleared session needs a cookie, which the response's head carries"
            )
        writing = self._responder.saving()
        if writing is None:
            return
        try:
            ask = next(writing)
            while True:
                ask = writing.send(await self._ask(ask))
        except StopIteration:
            return

    async def change(self, session: Session, name: str, change: Callable[[Any], Any]) -> Any:
        """Change one value against all others who change it, until nobody was faster; return what it is then."""
        record = session.record
        if record is None or session.is_destroyed or record.read_only:
            raise SessionDataError(f"session[{name!r}] cannot be changed at once: the session is not in Redis yet")
        policy, seen = self._policy, record.stored.get(name, b"")
        for _ in range(_MOST_TRIES):
            value = change(decode(policy.unseal(record.id, {name: seen})[name]) if seen else None)
            text = encode(name, value)
            stored = policy.seal(record.id, {name: text}, self._exchange.random)[name]
            args = (record.id.handle, f".{name}", seen, stored)
            operation = Operation(SWAP, (record.id.record, record.id.owner), args)
            (reply,) = await self._ask(Ask([operation]))
            state, version, found = reply.values
            if state == WRITTEN:
                record.version = version
                session.take(name, value, text)
                record.stored[name] = stored
                return value
            if state != OTHER_VERSION:
                raise SessionDataError("the session has ended")
            seen = found
        raise SessionDataError(f"session[{name!r}] was changed by others {_MOST_TRIES} times in a row")

    async def _ask(self, ask: Ask) -> Replies:
        if self._exchange.perform is None:
            raise RedisUnavailable("no engine runs this exchange")
        (result,) = await self._exchange.perform([ask])
        if isinstance(result, Exception):
            raise result
        replies: Replies = result
        return replies
