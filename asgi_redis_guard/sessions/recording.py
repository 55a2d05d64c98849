"""What sessions record by themselves as security events: made before a write, told to the hooks after it. Pure.

An event is recorded by the script that does what it tells of, or not at all, so that there are as many as things that
happened. One that cannot be recorded (something else stands in its key) is logged and told to the hooks, and the write
stands. Sessions of nobody have no events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from ..core.script import Operation
from .codec import decode, encode
from .events import SecurityEvents
from .ids import SessionId
from .notes import MOST_AGENT, Origin
from .policy import SessionPolicy
from .record import Record
from .session import Session

#: Handles that stand in one event.
MOST_HANDLES = 20

#: Where the script puts the handle of an evicted session.
_BLANK = "-" * 20

Entry = tuple[str, Operation]
From = Callable[[], Origin]


class Log:
    """What one write shall record: `text` for its script, and the same for the hooks when the script has replied."""

    __slots__ = ("_denied", "_done", "_events", "_evicted", "text")

    def __init__(
        self,
        events: SecurityEvents | None = None,
        done: Iterable[Entry] = (),
        denied: Entry | None = None,
        evicted: Entry | None = None,
        mark: dict[str, str] | None = None,
    ) -> None:
        self._events, self._done, self._denied, self._evicted = events, [*done], denied, evicted
        self.text = b""
        if self._done:
            *_, retention, most = self._done[0][1].args
            log: dict[str, Any] = {"retention": str(retention), "most": str(most), "mark": mark}
            log["done"], log["denied"] = [_row(one) for one in self._done], [_row(denied)] if denied else []
            if evicted is not None:
                *row, details = _row(evicted)
                log["evicted"] = [*row, *details.split(_BLANK, 1)]
            self.text = orjson.dumps({name: value for name, value in log.items() if value is not None})

    def tell(self, said: Any, denied: bool = False, evicted: Any = 0) -> None:
        """Tell the hooks what the script has recorded; `said` is its `told`, 0 for nothing."""
        events, done = self._events, self._done
        self._done = []
        if events is None or not said:
            return
        entries = done if not denied else [self._denied] if self._denied is not None else []
        if self._evicted is not None and evicted:
            entries = [*(_filled(self._evicted, handle) for handle in evicted), *entries]
        for (user, operation), event_id in zip(entries, said, strict=False):
            if event_id[:1].isdigit():
                events.tell(user, operation, event_id)
            else:
                events.miss(user, operation, event_id.decode("utf-8", "replace"))

    def miss(self, error: object) -> None:
        """Tell the hooks of what was to be recorded, unless the script has replied: it may never be."""
        for user, operation in self._done:
            if self._events is not None:
                self._events.miss(user, operation, error)
        self._done = []


#: For what records nothing.
NO_LOG = Log()


class Turned(NamedTuple):
    """What a new id records where it is made, what where the former one is left, and the mark that stays there.

    Unless these are two scripts all is in the first. `undone` is for a login that does not stand.
    """

    made: Log = NO_LOG
    left: Log = NO_LOG
    mark: bytes = b""
    undone: Log = NO_LOG


def begun(policy: SessionPolicy, origin: From, fresh: SessionId, session: Session) -> Log:
    """Return what a login records that makes a session, or is denied, or ends others."""
    user = policy.user(session)
    return NO_LOG if policy.events is None or user is None else _login(policy, origin(), fresh, user)


def begun_by(policy: SessionPolicy, origin: Origin, fresh: SessionId, user: str) -> Log:
    """Return the same of a session that the app makes."""
    return _login(policy, origin, fresh, user)


def ended(policy: SessionPolicy, origin: From, session: Session) -> Log:
    """Return what the end of a session by `clear` records: a logout, unless a guard has ended and recorded it."""
    record = session.record
    user = owner_of(policy, record) if policy.events is not None and record is not None else None
    if policy.events is None or record is None or user is None or session.ended is not None:
        return NO_LOG
    return Log(policy.events, [entry_of(policy.events, user, "logout", origin(), record.id.handle)])


def turned(
    policy: SessionPolicy,
    origin: From,
    record: Record,
    fresh: SessionId,
    session: Session,
    random: Callable[[int], bytes],
    *,
    apart: bool,
) -> Turned:
    """Return what a new id records: a login, a logout, both where the user is another, or that it was rotated.

    `apart` says that the new id is made by one script, and the former one left by another.
    """
    events = policy.events
    if events is None:
        return Turned()
    before, user = owner_of(policy, record), policy.user(session)
    owner = before if before is not None else user
    if owner is None:
        return Turned()
    seen, former = origin(), record.id.handle
    (sealed,) = policy.seal(record.id, {"": encode("user", owner)}, random).values()
    mark = {"u": sealed.decode(), "o": fresh.handle.decode()}
    if user is not None and user == before:
        rotated = entry_of(events, user, "rotated", seen, fresh.handle, former=former.decode())
        return Turned(Log(events, [rotated], mark=mark))
    left = [entry_of(events, before, "logout", seen, former)] if before is not None else []
    if apart:
        leaving, marked = Log(events, left), orjson.dumps(mark)
        if user is None:
            return Turned(NO_LOG, leaving, marked)
        undone = Log(events, [entry_of(events, user, "logout", seen, fresh.handle)])
        return Turned(_login(policy, seen, fresh, user), leaving, marked, undone)
    return Turned(Log(events, left, mark=mark) if user is None else _login(policy, seen, fresh, user, left, mark))


def owner_of(policy: SessionPolicy, record: Record) -> str | None:
    """Return whose session a record is, None for nobody's."""
    text = record.fields.get(policy.principal[0]) if policy.principal else None
    value = decode(text) if text is not None else None
    return None if value is None else str(value)


def revoked(which: str, handles: Sequence[bytes], **more: str) -> dict[str, Any]:
    """Return what is told of sessions that the app has revoked: `one`, `others` (all but `kept`), `device` or `all`."""
    sessions = [handle.decode() for handle in handles[:MOST_HANDLES]]
    return {"which": which, "count": len(handles), "sessions": sessions, **more}


def event_faults(events: object, secret: bytes) -> list[str]:
    """What is wrong with the option `events` of sessions whose key is `secret`."""
    if events is None:
        return []
    if not isinstance(events, SecurityEvents):
        return [f"events: a {type(events).__name__} given; allowed is a SecurityEvents"]
    return events.key_faults(secret)


def _login(
    policy: SessionPolicy,
    seen: Origin,
    fresh: SessionId,
    user: str,
    before: Iterable[Entry] = (),
    mark: dict[str, str] | None = None,
) -> Log:
    events = policy.events
    if events is None:
        return NO_LOG
    done = [*before, entry_of(events, user, "login", seen, fresh.handle)]
    if policy.cap is None:
        return Log(events, done, mark=mark)
    denied = entry_of(events, user, "cap_denied", seen, None, max_sessions=policy.cap)
    evicted = entry_of(events, user, "cap_evicted", seen, _BLANK.encode(), by=fresh.handle.decode())
    return Log(events, done, denied, evicted, mark)


def entry_of(events: SecurityEvents, user: str, kind: str, seen: Origin, handle: bytes | None, **more: Any) -> Entry:
    """Return an event of a session, with where the request came from that brought it about."""
    agent = seen.user_agent and seen.user_agent[:MOST_AGENT]
    about = {"session": handle and handle.decode(), **more, "ip": seen.ip, "user_agent": agent, "device": seen.device}
    return user, events.operation(user, kind, about)


def _row(entry: Entry) -> list[str]:
    _, (_, keys, args) = entry
    return [keys[0].decode(), args[0], args[1].decode()]


def _filled(entry: Entry, handle: bytes) -> Entry:
    user, operation = entry
    kind, details, *kept = operation.args
    return user, operation._replace(args=(kind, details.replace(_BLANK.encode(), handle, 1), *kept))
