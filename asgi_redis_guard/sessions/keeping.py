"""What a session can have done while the app runs: saves for WebSockets and streams, changes against all others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..core.script import Operation, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable, SessionDataError, SessionUnreadable
from .codec import decode, encode
from .logins import read_end
from .recall import load
from .record import UNDECODABLE, Record, read_record, undecodable
from .rotating import OTHER_VERSION, WRITTEN
from .saving import SessionResponder
from .session import Session
from .writing import SWAP, Writing

logger = logging.getLogger("asgi_redis_guard.sessions")

#: How often a change is tried against others who are faster.
_MOST_TRIES = 1000


class KeptSession(SessionResponder):
    """Carries out what one exchange's session asks for; the `Keeper` of that session."""

    async def save(self) -> None:
        """Write what has changed now. Raises `RedisUnavailable`, `SessionDataError` for what cannot be kept."""
        if not self._session.modified:
            return
        self.check_known()
        if self.needs_cookie():
            raise SessionDataError(
                "a new, rotated or cleared session needs a cookie, and so does a login; the response's head carries it"
            )
        writing = self.saving()
        if writing is None:
            raise SessionDataError("this session was replaced by another: it can only be read")
        if not await self._carry_out(writing):
            raise SessionDataError("the session has ended")

    async def load(self) -> None:
        """Take over what stands in Redis now, below the changes of this exchange; it counts as a use.

        Raises `SessionDataError` where it has ended, `RedisUnavailable` where it cannot be read.
        """
        session = self._session
        while (record := session.record) is not None and not session.is_destroyed:
            replies = await self._ask(Ask([load(record.id.record)]))
            if session.record is not record or session.is_destroyed:
                continue  # it was written meanwhile: what was read may be older than that
            _, fields, self._clock = replies.flat
            self._take_up(record, fields)
            await self.use()
            return

    def _take_up(self, record: Record, fields: Any) -> None:
        """Take over the fields of a record as they were read."""
        session = self._session
        try:
            found = read_record(record.id, fields, self._policy.cipher)
            if found is not None:
                session.rebase(found)
        except SessionUnreadable:
            raise
        except UNDECODABLE:
            raise undecodable(fields, self._policy.cipher) from None
        if found is None:
            session.ended = read_end(fields)
            raise SessionDataError("the session has ended, or was replaced by another")

    async def use(self) -> None:
        """Let the session live on, if it is time: what was loaded after the head has nobody else who does it."""
        record = self._session.record
        if record is None or not self._is_due(record):
            return
        try:
            state, version, clock = (await self._carry_out(self._update(record, {}, []))).values
        except RedisUnavailable as error:  # nothing is lost but a little of its time
            logger.debug("session %s was not touched: %s", self._session.id, error)
            return
        if state == WRITTEN and self._session.record is record:
            self._session.record = record.used_at(clock, version)

    async def change(self, name: str, change: Callable[[Any], Any]) -> Any:
        """Change one value against all others who change it, until nobody was faster; return what it is then."""
        session, record = self._session, self._session.record
        if record is not None and record.read_only:
            raise SessionDataError("this session was replaced by another: it can only be read")
        if record is None or session.is_destroyed or session.differs(name):
            return _change_own(session, name, change)  # nobody else has it; it is written with the rest
        self.check_change(name)
        policy, seen = self._policy, record.stored.get(name, b"")
        for _ in range(_MOST_TRIES):
            value = change(decode(policy.unseal(record.id, {name: seen})[name]) if seen else None)
            text = encode(name, value)
            self._policy.check_size({**record.fields, name: text})
            stored = policy.seal(record.id, {name: text}, self._exchange.random)[name]
            state, version, found = await self._swap(record, name, seen, stored)
            if state == WRITTEN:
                session.take(name, value, text, stored, version)
                return value
            if state != OTHER_VERSION:
                raise SessionDataError("the session has ended")
            seen = found
        raise SessionDataError(f"session[{name!r}] was changed by others {_MOST_TRIES} times in a row")

    async def _swap(self, record: Record, name: str, seen: bytes, stored: bytes) -> tuple[int, int, bytes]:
        args = (record.id.handle, f".{name}", seen, stored, *self.bounds(record))
        operation = Operation(SWAP, (record.id.record, record.id.owner), args)
        (reply, *_) = await self._ask(Ask([operation, *self.used(record)]))
        self.check_state(reply.values)
        state, version, found = reply.values
        return state, version, found

    async def _carry_out(self, writing: Writing) -> Any:
        """Do what is yielded; return what comes of it."""
        try:
            ask = next(writing)
            while True:
                ask = writing.send(await self._ask(ask))
        except StopIteration as done:
            return done.value

    async def _ask(self, ask: Ask) -> Replies:
        if self._exchange.perform is None:
            raise RedisUnavailable("no engine runs this exchange")
        if self.wrote is not None:
            self.wrote()
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
