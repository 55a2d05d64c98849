"""What becomes of a session when its response begins: created, saved, rotated, destroyed, touched, or left alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ..core.responder import Head, Responder
from ..core.steps import Asking
from ..errors import RedisUnavailable, SessionDataError
from .record import Record
from .reuse import Reuse, report
from .writing import SessionWrites, Writing


class SessionResponder(SessionWrites, Responder):
    """Writes a session before the head is sent, in one round trip, if there is something to write."""

    def start(self, head: Head) -> Asking | None:
        """Write what is to be written; on the head: the cookie where it changes, and what caches must know."""
        session = self._session
        self._take_over(head)
        if session.accessed or session.record is not None or session:
            merge(head.headers, b"vary", b"Cookie")
        writing = None if self._cookie is not None else self._writing(head.status)
        if writing is None:
            self._finish(head)
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

    def _write(self, head: Head, writing: Writing) -> Asking:
        if self.wrote is not None:
            self.wrote()
        yield from writing
        self._finish(head)

    def _finish(self, head: Head) -> None:
        if self._refusal is not None:
            head.replace(self._refusal)
            self._refusal = None
        cookie = self._cookie or self._farewell
        if cookie is not None:
            head.headers.append((b"set-cookie", cookie))
            merge(head.headers, b"vary", b"Cookie")
            merge(head.headers, b"cache-control", b"no-store")

    def handle(self) -> bytes:
        """Return the handle that the session has when the response has been sent, as far as can be told now.

        One that was replaced keeps its own: who has the old id has no business with the new one's.
        """
        session, record = self._session, self._session.record
        turned = self._principal_changed()
        if session.instead_of is not None and not turned:  # when it can be read again, it is what the client still has
            return session.instead_of.handle
        if record is None or session.is_destroyed:
            return self._fresh_id().handle
        if record.read_only and not (turned and self._policy.user(session) is not None):
            return record.id.handle
        return self._fresh_id().handle if turned or session.wants_rotation else record.id.handle

    # What to write.

    def saving(self) -> Writing | None:
        """Return the writing of what has changed in a session that stays as it is, None if nothing has."""
        record = self._session.record
        if record is None or record.read_only or (changes := self._session.changes()) == ({}, []):
            return None
        return self._save(record, *changes)

    def needs_cookie(self) -> bool:
        """Tell whether what is to be written makes or ends an id."""
        session = self._session
        return session.record is None or session.is_destroyed or session.wants_rotation or self._principal_changed()

    def check_known(self) -> None:
        """Raise `RedisUnavailable` for a change of what could not be read, lest its cookie is lost; a login may be."""
        session = self._session
        if session.instead_of is not None and not self._principal_changed() and session.modified:
            raise RedisUnavailable("the session could not be read, so that nothing is written in its place")

    def check_change(self, name: str) -> None:
        """Raise `SessionDataError` for a value that is not to be changed by itself."""
        if name in self._policy.principal:
            raise SessionDataError(f"session[{name!r}] says whose the session is: assign it, for the id must change")

    def _writing(self, status: int) -> Writing | None:
        session, record = self._session, self._session.record
        if record is not None and session.is_untouched and not session.wants_rotation:  # by far the commonest
            return self._touch(record) if self._is_due(record) else None
        if self.reuse is not None:
            return self._report(self.reuse, status)
        turned = self._principal_changed()
        enters = turned and self._user_changed()
        failed = enters and status >= 400  # a login that failed leaves nothing behind
        if record is None:
            self.check_known()
            return self._create() if session and not failed else None
        if session.is_destroyed:
            return self._create(record) if session and not failed else self._destroy(record)
        if failed:
            return None
        if record.read_only:
            if self.logs_out(record):
                return self._destroy(record)
            return self._enter_anew(record) if enters else None
        if turned or session.wants_rotation:
            return self._rotate(record, renews=enters)
        changed, removed = session.changes()
        if changed or removed:
            return self._save(record, changed, removed)
        return self._touch(record) if self._is_due(record) else None

    def _enter_anew(self, record: Record) -> Writing | None:
        """Log in by a session that was replaced meanwhile: if it was nobody's, for else it may hang on who is gone."""
        if self._policy.user(record.frozen) is None:
            return self._create()
        self._refusal = self._policy.ended(self._exchange)
        return None

    def _report(self, reuse: Reuse, status: int) -> Writing:
        """Record that a replaced id came, then write what is to be written."""
        self.reuse = None
        yield from report(self._policy, self._exchange, self._origin, reuse)
        writing = self._writing(status)
        if writing is not None:
            yield from writing

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


def merge(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    """Add `value` to a list field, once."""
    if name not in dict(headers) and name.title() not in dict(headers):  # by far the commonest
        headers.append((name, value))
        return
    for place, (other, values) in enumerate(headers):
        if other.lower() == name:
            if value.lower() not in [part.strip().lower() for part in values.split(b",")] and values.strip() != b"*":
                headers[place] = (other, values + b", " + value)
            return
    headers.append((name, value))
