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
        """Write what has changed now. Raises `RedisUnavailable`, `SessionDataError` for what cannot be kept."""
        if not session.modified:
            return
        if self._responder.needs_cookie():
            raise SessionDataError(
                "a new, rotated or cleared session needs a cookie, and so does a login; the response's head carries it"
            )
        writing = self._responder.saving()
        if writing is None:
            raise SessionDataError("this session was replaced by another: it can only be read")
        try:
            ask = next(writing)
            while True:
                ask = writing.send(await self._ask(ask))
        except StopIteration as done:
            if not done.value:
                raise SessionDataError("the session has ended") from None

    async def change(self, session: Session, name: str, change: Callable[[Any], Any]) -> Any:
        """Change one value against all others who change it, until nobody was faster; return what it is then."""
        record = session.record
        if record is not None and record.read_only:
            raise SessionDataError("this session was replaced by another: it can only be read")
        if record is None or session.is_destroyed or session.differs(name):
            return _change_own(session, name, change)  # nobody else has it; it is written with the rest
        self._responder.check_change(name)
        policy, seen = self._policy, record.stored.get(name, b"")
        for _ in range(_MOST_TRIES):
            value = change(decode(policy.unseal(record.id, {name: seen})[name]) if seen else None)
            text = encode(name, value)
            self._responder.check_size({**record.fields, name: text})
            stored = policy.seal(record.id, {name: text}, self._exchange.random)[name]
            args = (record.id.handle, f".{name}", seen, stored)
            operation = Operation(SWAP, (record.id.record, record.id.owner), args)
            (reply, *_) = await self._ask(Ask([operation, *self._responder.used(record)]))
            state, version, found = reply.values
            if state == WRITTEN:
                record.saw(version)
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


def _change_own(session: Session, name: str, change: Callable[[Any], Any]) -> Any:
    value = change(session.get(name))
    encode(name, value)
    session[name] = value
    return value
