"""The writes of a session: created, saved, touched, rotated, destroyed. Pure: the operations are yielded.

A record that has gone meanwhile is never brought back, and a cookie is made by whoever made or ended the session that
it stands for, and by nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ..core.exchange import Exchange
from ..core.keys import Keys
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Answer, Ask
from ..errors import OperationFailed, RedisUnavailable
from .counting import count, count_on, uncount, user_of
from .ending import end, end_rest
from .ids import SessionId, SessionIds
from .logins import TOO_MANY, entry_args, follow, told
from .notes import Origin
from .policy import SessionPolicy
from .recall import load
from .record import Record, read_record
from .recording import Log, begun, ended, turned
from .reuse import Reuse
from .rotating import OTHER_VERSION, TOO_LARGE, WRITTEN, HandOver, Rotated, Rotation, lie_apart, rotate
from .session import Session

logger = logging.getLogger("asgi_redis_guard.sessions")

SAVE, CREATE, SWAP = (OperationKind.load(__package__, f"{name}.lua") for name in ("save", "create", "swap"))

Writing = Generator[Ask, Replies, Any]


class SessionWrites:
    """Writes one exchange's session."""

    #: Remembers what it has given, so that a head that is edited twice gets the same cookie.
    _random: Callable[[int], bytes] | None = None
    _cookie: bytes | None = None
    #: What takes the cookie of a session away that was ended before the app ran.
    _farewell: bytes | None = None
    #: What the client gets instead of the app's response: the cap does not allow the login, say.
    _refusal: Answer | None = None
    #: What is to be recorded first, where the cookie's id is one that was replaced.
    reuse: Reuse | None = None
    #: Called before anything is written, where somebody else may still read what was there before.
    wrote: Callable[[], None] | None = None

    def __init__(
        self, policy: SessionPolicy, ids: SessionIds, session: Session, exchange: Exchange, clock: int
    ) -> None:
        self._policy = policy
        self._ids = ids
        self._session = session
        self._exchange = exchange
        self._clock = clock

    def _origin(self) -> Origin:
        return Origin.of(self._exchange, self._policy.proxies)

    def _create(self, before: Record | None = None) -> Writing:
        policy, session = self._policy, self._session
        texts, fresh = self._texts(), self._fresh_id()
        stored = policy.seal(fresh, texts, self._exchange.random)
        log, farewell = begun(policy, self._origin, fresh, session), ended(policy, self._origin, session)
        times, leaver = (policy.idle, policy.lifetime), before.id.handle if before is not None else b""
        args = (fresh.handle, fields_text(stored), *times, *entry_args(policy, self._exchange, fresh), leaver, log.text)
        create = Operation(CREATE, (fresh.record, fresh.owner, fresh.notes), args)
        keys = self._exchange.keys
        ending = [] if before is None else end(policy, keys, before.id, farewell)
        never = uncount(policy, keys, [fresh.handle], user_of(fresh), begun=False)
        try:
            replies = yield Ask([create, *ending, *count(policy, keys, fresh)])
        except OperationFailed:  # memory is full: for the session, and not for the few bytes that count it
            yield from follow(never)
            raise
        ends, clock, state, evicted, events = replies[0].values
        log.tell(events, state == TOO_MANY, evicted)
        if before is not None:
            farewell.tell(replies[1].values[-1])
            yield from end_rest(policy, keys, self._ids, before.id, replies[1])
        if state == TOO_MANY:
            yield from follow(never)
            self._refusal = policy.denied(self._exchange)
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

    def _save(self, record: Record, changed: dict[str, bytes], removed: list[str]) -> Writing:
        session = self._session
        texts = self._texts()
        sealed = self._policy.seal(record.id, changed, self._exchange.random)
        reply = yield from self._update(record, sealed, removed)
        state, version, clock = reply.values
        if state == WRITTEN:
            times = (record.created, record.ends, record.idle, clock, record.seen_at(version).version)
            session.settle(Record(record.id, texts, times, None if sealed is changed else {**record.stored, **sealed}))
            return True
        logger.debug("session %s has ended before it was saved", session.id)
        return False

    def _touch(self, record: Record) -> Writing:
        try:
            yield from self._update(record, {}, [])
        except RedisUnavailable as error:  # nothing is lost but a little of its time
            logger.debug("session %s was not touched: %s", self._session.id, error)

    def _update(self, record: Record, changed: dict[str, bytes], removed: list[str]) -> Generator[Ask, Replies, Any]:
        unset = orjson.dumps([f".{name}" for name in removed])
        args = (record.id.handle, fields_text(changed), unset, *self.bounds(record))
        reply, *_ = yield Ask([Operation(SAVE, (record.id.record, record.id.owner), args), *self.used(record)])
        self.check_state(reply.values)
        return reply

    def bounds(self, record: Record) -> tuple[int, int, str]:
        """Return what a script must know to refuse what is too large only together with what others have written."""
        return record.version, self._policy.max_size, "1" if self._policy.cipher is not None else ""

    def check_state(self, values: Sequence[Any]) -> None:
        """Raise `SessionDataError` where a write would have left more than a session may hold."""
        if values[0] == TOO_LARGE:
            raise self._policy.too_large(values[1])

    def used(self, record: Record) -> list[Operation]:
        """What tells the statistics that a session lives on."""
        return count_on(self._policy, self._exchange.keys, record.id, record.id, record.idle, record.ends)

    def _rotate(self, record: Record, *, renews: bool) -> Writing:
        policy, keys = self._policy, self._exchange.keys
        hand = HandOver(policy, keys)
        try:
            while True:
                one, texts, stored = self._rotation(record, renews=renews)
                made = yield from hand.rotate(one) if one.is_apart else rotate(policy, keys, one)
                if made.state == WRITTEN:
                    return (yield from self._rotated(one, made, texts, stored))
                if made.state != OTHER_VERSION:
                    break
                # Somebody has written meanwhile: take that over, with our own changes on top.
                (reply,) = yield Ask([load(record.id.record)])
                now = read_record(record.id, reply.values[0], policy.cipher)
                if now is not None:
                    self._session.rebase(record := now)
        except Exception:  # also where what others have written leaves no room for what is written here
            yield from hand.undo()
            raise
        yield from hand.undo()
        yield from self._not_rotated(record, made.state, renews=renews)

    def _rotation(self, record: Record, *, renews: bool) -> tuple[Rotation, dict[str, bytes], Mapping[str, bytes]]:
        """Return what a new id is made of, and the fields that it has, as text and as they are stored."""
        policy, exchange, texts, fresh = self._policy, self._exchange, self._texts(), self._fresh_id()
        stored, apart = policy.seal(fresh, texts, exchange.random), lie_apart(exchange, record.id, fresh)
        log = turned(policy, self._origin, record, fresh, self._session, exchange.random, apart=apart)
        entry, lifetime = entry_args(policy, exchange, fresh), policy.lifetime if renews else b""
        made = Rotation(record, fresh, fields_text(stored), self._rights_json(), entry, lifetime, log, apart)
        return made, texts, stored

    def _rotated(self, one: Rotation, made: Rotated, texts: dict[str, bytes], stored: Mapping[str, bytes]) -> Writing:
        record, created = one.record, made.clock if one.lifetime else one.record.created
        times = (created, made.ends, record.idle, made.clock, made.version)
        self._settled(Record(one.fresh, texts, times, stored))
        yield from self._counted_on(record.id, one.fresh, (record.idle, made.ends), made.evicted)

    def _not_rotated(self, record: Record, state: int, *, renews: bool) -> Writing:
        """Say what becomes of a session that is one too many, or was ended or replaced before."""
        policy, old = self._policy, record.id
        if state == TOO_MANY:
            self._refusal = policy.denied(self._exchange)
            return
        if self.logs_out(record):
            if (yield from self._end(record, ended(policy, self._origin, self._session))):
                self._cookie = policy.cookie.take()
            return
        yield from follow(uncount(policy, self._exchange.keys, [old.handle], user_of(old)))
        if renews and old.owner == old.record:  # a login stands by itself
            yield from self._create()
        elif renews:  # it may hang on the user who was there, and that one was shut out meanwhile
            self._refusal = policy.ended(self._exchange)

    def logs_out(self, record: Record) -> bool:
        """Tell a logout by taking the user out: what has replaced the session is that user's, and ends too."""
        user = self._policy.user
        return user(self._session) is None and user(record.frozen) is not None

    def _rights_json(self) -> bytes:
        """Return the rights that are others now, as a list of fields: what has replaced them is not for the old id."""
        changed = [name for name in self._policy.principal[1:] if self._session.differs(name)]
        return orjson.dumps([f".{name}" for name in changed])

    def _counted_on(
        self, old: SessionId, fresh: SessionId, times: tuple[int, int], evicted: list[bytes] | int
    ) -> Writing:
        """Let the statistics follow to a new id, which is there now; several requests may have tried at once.

        Who has ended it meanwhile has not found it there, so look whether it still lives.
        """
        policy, keys = self._policy, self._exchange.keys
        counted = count_on(policy, keys, fresh, old, *times)
        looking = [load(fresh.record)] if counted else []
        replies = yield from follow([*told(policy, keys, fresh, evicted), *counted, *looking])
        if counted and replies is not None and read_record(fresh, replies[-1].values[0]) is None:
            yield from follow(uncount(policy, keys, [fresh.handle], user_of(fresh)))

    def _destroy(self, record: Record) -> Writing:
        yield from self._end(record, ended(self._policy, self._origin, self._session))
        self._cookie = self._policy.cookie.take()

    def is_at(self, keys: Keys) -> bool:
        """Tell whether the session lies in the Redis that has these keys."""
        return keys is self._exchange.keys

    def expel(self, record: Record, log: Log) -> Writing:
        """End the session before the app runs; the head takes the cookie away, unless the app makes another one."""
        yield from self._end(record, log)
        self._farewell = self._policy.cookie.take()

    def _end(self, record: Record, log: Log) -> Generator[Ask, Replies, bool]:
        """End it, and what has replaced it; tell whether that was there."""
        keys, one = self._exchange.keys, record.id
        reply, *_ = yield Ask(end(self._policy, keys, one, log))
        log.tell(reply.values[-1])
        yield from end_rest(self._policy, keys, self._ids, one, reply)
        self._session.settle(None)
        return bool(reply.values[0] or reply.values[1])

    def _settled(self, record: Record) -> None:
        self._session.settle(record)
        self._policy.cookie.check(self._exchange.scope)
        self._cookie = self._policy.cookie_of(record.id.token, record.ends - record.touched)

    def _texts(self) -> dict[str, bytes]:
        texts = self._session.texts()
        self._policy.check_size(texts)
        return texts


def fields_text(texts: Mapping[str, bytes]) -> bytes:
    """Fields as JSON, for the script: names with their dot, values as the text that they are."""
    return orjson.dumps({f".{name}": text.decode() for name, text in texts.items()})
