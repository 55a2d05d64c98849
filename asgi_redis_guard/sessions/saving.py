"""What becomes of a session when its response begins: created, saved, rotated, destroyed, touched, or left alone.

Pure: the operations are yielded. A record that has gone meanwhile is never brought back, and a cookie is sent by
whoever made or ended the session that it stands for, and by nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson

from ..core.exchange import Exchange
from ..core.responder import Head, Responder
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask, Asking
from ..errors import OperationFailed, RedisUnavailable, SessionDataError
from .counting import count, count_on, uncount, user_of
from .ids import SessionId, SessionIds
from .logins import TOO_MANY, entry_args, follow, told
from .policy import SessionPolicy
from .session import Record, Session, read_record

logger = logging.getLogger("asgi_redis_guard.sessions")

LOAD, SAVE, CREATE, ROTATE, DESTROY, SWAP = (
    OperationKind.load(__package__, f"{name}.lua") for name in ("load", "save", "create", "rotate", "destroy", "swap")
)

#: What `state` says in the reply to a write.
GONE, WRITTEN, OTHER_VERSION = 0, 1, 2

_Writing = Generator[Ask, Replies, Any]


class SessionResponder(Responder):
    """Writes a session before the head is sent, in one round trip, if there is something to write."""

    __slots__ = ("_clock", "_cookie", "_denied", "_exchange", "_ids", "_policy", "_random", "_session")

    def __init__(
        self, policy: SessionPolicy, ids: SessionIds, session: Session, exchange: Exchange, clock: int
    ) -> None:
        self._policy = policy
        self._ids = ids
        self._session = session
        self._exchange = exchange
        self._clock = clock
        self._random: Callable[[int], bytes] | None = None
        self._cookie: bytes | None = None
        self._denied = False

    def start(self, head: Head) -> Asking | None:
        """Write what is to be written; on the head: the cookie where it changes, and what caches must know."""
        session = self._session
        self._take_over(head)
        if session.accessed or session.record is not None or session:
            _merge(head.headers, b"vary", b"Cookie")
        writing = None if self._cookie is not None else self._writing(head.status)
        if writing is None:
            self._dress(head)
            return None
        return self._write(head, writing)

    def _take_over(self, head: Head) -> None:
        """Follow a framework that has put something else into the scope than the session that it got."""
        given = head.scope.get("session", self._session) if head.scope is not None else self._session
        if given is self._session:
            return
        if isinstance(given, Mapping):
            dict.clear(self._session)
            self._session.update(given)
        elif given is None or isinstance(given, type | Enum):  # Litestar's Empty is one of them
            self._session.clear()
        else:
            raise SessionDataError(f"scope['session'] is of type {type(given).__name__} now; allowed are dictionaries")

    def _write(self, head: Head, writing: _Writing) -> Asking:
        self._denied = False
        yield from writing
        if self._denied:
            head.replace(self._policy.denied(self._exchange))
        self._dress(head)

    def _dress(self, head: Head) -> None:
        if self._cookie is not None:
            head.headers.append((b"set-cookie", self._cookie))
            _merge(head.headers, b"vary", b"Cookie")
            _merge(head.headers, b"cache-control", b"no-store")

    def handle(self) -> bytes:
        """Return the handle that the session has when the response has been sent, as far as can be told now."""
        session, record = self._session, self._session.record
        if record is None or session.is_destroyed:
            return self._fresh_id().handle
        turned = self._principal_changed()
        if record.successor is not None and not (turned and self._policy.user(session) is not None):
            return record.successor
        return self._fresh_id().handle if turned or session.wants_rotation else record.id.handle

    # What to write.

    def saving(self) -> _Writing | None:
        """Return the writing of what has changed in a session that stays as it is, None if nothing has."""
        record = self._session.record
        if record is None or record.read_only or (changes := self._session.changes()) == ({}, []):
            return None
        return self._save(record, *changes)

    def needs_cookie(self) -> bool:
        """Tell whether what is to be written makes or ends an id."""
        session = self._session
        return session.record is None or session.is_destroyed or session.wants_rotation or self._principal_changed()

    def check_change(self, name: str) -> None:
        """Raise `SessionDataError` for a value that is not to be changed by itself."""
        if name in self._policy.principal:
            raise SessionDataError(f"session[{name!r}] says whose the session is: assign it, for the id must change")

    def check_size(self, texts: Mapping[str, bytes]) -> None:
        """Raise `SessionDataError` for more than a session may hold."""
        size = sum(len(name.encode()) + len(text) for name, text in texts.items())
        if size > self._policy.max_size:
            raise SessionDataError(f"the session takes {size} bytes; allowed are {self._policy.max_size} (max_size)")

    def _writing(self, status: int) -> _Writing | None:
        session, record = self._session, self._session.record
        if record is not None and session.is_untouched and not session.wants_rotation:  # by far the commonest
            return self._touch(record) if self._is_due(record) else None
        turned = self._principal_changed()
        if turned and status >= 400:
            return None  # a login that failed leaves nothing behind
        enters = turned and self._user_changed()
        if record is None:
            return self._create() if session else None
        if session.is_destroyed:
            return self._create(record) if session else self._destroy(record)
        if record.read_only:
            return self._create() if enters else None
        if turned or session.wants_rotation:
            return self._rotate(record, renews=enters)
        changed, removed = session.changes()
        if changed or removed:
            return self._save(record, changed, removed)
        return self._touch(record) if self._is_due(record) else None

    def _is_due(self, record: Record) -> bool:
        return self._clock - record.touched >= record.idle // 10 and not record.read_only

    def _principal_changed(self) -> bool:
        session, record = self._session, self._session.record
        if record is None or session.is_destroyed:
            return self._policy.user(session) is not None
        return any(
            session.get(name) is not None if name not in record.fields else session.differs(name)
            for name in self._policy.principal
        )

    def _user_changed(self) -> bool:
        """Tell a login from other changes: it stands by itself, where those end with the session that they change."""
        return self._policy.user(self._session) is not None and self._session.differs(self._policy.principal[0])

    # The writes.

    def _create(self, before: Record | None = None) -> _Writing:
        policy, session = self._policy, self._session
        texts, fresh = self._texts(), self._fresh_id()
        stored = policy.seal(fresh, texts, self._exchange.random)
        times, leaver = (policy.idle, policy.lifetime), before.id.handle if before is not None else b""
        args = (fresh.handle, _json(stored), *times, *entry_args(policy, self._exchange, fresh), leaver)
        create = Operation(CREATE, (fresh.record, fresh.owner, fresh.notes), args)
        keys = self._exchange.keys
        ending = [] if before is None else self._ending(before)
        never = uncount(policy, keys, [fresh.handle], user_of(fresh), begun=False)
        try:
            replies = yield Ask([create, *ending, *count(policy, keys, fresh)])
        except OperationFailed:  # memory is full: for the session, and not for the few bytes that count it
            yield from follow(never)
            raise
        ends, clock, state, evicted = replies[0].values
        if state == TOO_MANY:
            yield from follow(never)
            self._denied = True
            if before is not None:
                self._cookie = policy.cookie.take()
            return
        session.settle(None)
        self._settled(Record(fresh, texts, (clock, ends, policy.idle, clock, 1), stored))
        yield from follow(told(policy, keys, fresh, evicted))

    def _fresh_id(self) -> SessionId:
        """Return the id of a new session: the same secret each time, for the head may be edited more than once.

        Its tag is that of the user who is there now.
        """
        if self._random is None:
            self._random = lru_cache(self._exchange.random)
        return self._ids.make(self._random, self._policy.user(self._session))

    def _save(self, record: Record, changed: dict[str, bytes], removed: list[str]) -> _Writing:
        session = self._session
        texts = self._texts()
        sealed = self._policy.seal(record.id, changed, self._exchange.random)
        reply = yield from self._update(record, sealed, removed)
        state, version, clock = reply.values
        if state == WRITTEN:
            record.saw(version)
            times = (record.created, record.ends, record.idle, clock, record.version)
            session.settle(Record(record.id, texts, times, None if sealed is changed else {**record.stored, **sealed}))
            return True
        logger.debug("session %s has ended before it was saved", session.id)
        return False

    def _touch(self, record: Record) -> _Writing:
        try:
            yield from self._update(record, {}, [])
        except RedisUnavailable as error:  # nothing is lost but a little of its time
            logger.debug("session %s was not touched: %s", self._session.id, error)

    def _update(self, record: Record, changed: dict[str, bytes], removed: list[str]) -> Generator[Ask, Replies, Any]:
        args = (record.id.handle, _json(changed), orjson.dumps([f".{name}" for name in removed]), b"")
        reply, *_ = yield Ask([Operation(SAVE, (record.id.record, record.id.owner), args), *self.used(record)])
        return reply

    def used(self, record: Record) -> list[Operation]:
        """What tells the statistics that a session lives on."""
        return count_on(self._policy, self._exchange.keys, record.id, record.id, record.idle, record.ends)

    def _rotate(self, record: Record, *, renews: bool) -> _Writing:
        policy, session = self._policy, self._session
        while True:
            texts, fresh, old = self._texts(), self._fresh_id(), record.id
            stored = policy.seal(fresh, texts, self._exchange.random)
            lifetime = policy.lifetime if renews else b""
            args = (old.handle, fresh.handle, _json(stored), record.version, lifetime, policy.overlap)
            keys = (old.record, old.owner, old.notes, fresh.record, fresh.owner, fresh.notes)
            rotate = Operation(ROTATE, keys, (*args, *entry_args(policy, self._exchange, fresh)))
            reply, *_ = yield Ask([rotate])
            state, version, ends, clock, evicted, *_ = reply.values
            if state == WRITTEN:
                created = clock if renews else record.created
                self._settled(Record(fresh, texts, (created, ends, record.idle, clock, version), stored))
                return (yield from self._counted_on(old, fresh, (record.idle, ends), evicted))
            if state == TOO_MANY:
                self._denied = True
                return None
            if state == GONE:
                yield from follow(uncount(policy, self._exchange.keys, [old.handle], user_of(old)))
                if renews:  # a login stands by itself
                    yield from self._create()
                return None
            # Somebody has written meanwhile: take that over, with our own changes on top.
            (reply,) = yield Ask([Operation(LOAD, (old.record,))])
            now = read_record(old, reply.values[0], policy.cipher)
            if now is not None:
                session.rebase(record := now)

    def _counted_on(
        self, old: SessionId, fresh: SessionId, times: tuple[int, int], evicted: list[bytes] | int
    ) -> _Writing:
        """Let the statistics follow to a new id, which is there now; several requests may have tried at once.

        Who has ended it meanwhile has not found it there, so look whether it still lives.
        """
        policy, keys = self._policy, self._exchange.keys
        counted = count_on(policy, keys, fresh, old, *times)
        looking = [Operation(LOAD, (fresh.record,))] if counted else []
        replies = yield from follow([*told(policy, keys, fresh, evicted), *counted, *looking])
        if counted and replies is not None and read_record(fresh, replies[-1].values[0]) is None:
            yield from follow(uncount(policy, keys, [fresh.handle], user_of(fresh)))

    def _destroy(self, record: Record) -> _Writing:
        yield Ask(self._ending(record))
        self._session.settle(None)
        self._cookie = self._policy.cookie.take()

    def _ending(self, record: Record) -> list[Operation]:
        one, keys = record.id, self._exchange.keys
        end = Operation(DESTROY, (one.record, one.owner, one.notes), (one.handle, keys.sessions_channel))
        return [end, *uncount(self._policy, keys, [one.handle], user_of(one))]

    def _settled(self, record: Record) -> None:
        self._session.settle(record)
        seconds = max(1, (record.ends - record.touched) // 1000) if self._policy.persistent else None
        self._cookie = self._policy.cookie.give(record.id.token, seconds)

    def _texts(self) -> dict[str, bytes]:
        texts = self._session.texts()
        self.check_size(texts)
        return texts


def _json(texts: Mapping[str, bytes]) -> bytes:
    """Fields as JSON, for the script: names with their dot, values as the text that they are."""
    return orjson.dumps({f".{name}": text.decode() for name, text in texts.items()})


def _merge(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    """Add `value` to a list field, once."""
    for place, (other, values) in enumerate(headers):
        if other.lower() == name:
            if value.lower() not in [part.strip().lower() for part in values.split(b",")] and values.strip() != b"*":
                headers[place] = (other, values + b", " + value)
            return
    headers.append((name, value))
