"""`Record`: a session as it stands in Redis, and how it is read. Never changed: many requests may share one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID  # noqa: TID251  (the type; none is made here)

from ..errors import SessionUnreadable
from .codec import decode_all
from .crypto import SessionCipher
from .ids import SessionId

#: What reading and decoding raise for text that the codec never makes.
UNDECODABLE = (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError)

#: Types whose objects cannot change: the same object is the same value, and may be given to many.
_IMMUTABLE = frozenset((str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, UUID, Decimal))


class Record:
    """Id, fields as text, times (ms by the server's clock) and version of a session.

    `stored` are the fields as Redis has them: other text, where they are encrypted. `successor` is the handle of what
    has replaced it; it can only be read then.
    """

    __slots__ = (
        "_frozen",
        "_loose",
        "created",
        "ends",
        "fields",
        "id",
        "idle",
        "stored",
        "successor",
        "times",
        "touched",
        "version",
    )

    def __init__(
        self,
        session_id: SessionId,
        fields: Mapping[str, bytes],
        times: tuple[int, int, int, int, int],
        stored: Mapping[str, bytes] | None = None,
        successor: bytes | None = None,
    ) -> None:
        self.id = session_id
        self.fields = fields
        self.times = times
        self.created, self.ends, self.idle, self.touched, self.version = times
        self.stored = fields if stored is None else stored
        self.successor = successor
        self._frozen: dict[str, Any] | None = None
        self._loose: dict[str, bytes] = {}

    @property
    def read_only(self) -> bool:
        """True if another session has replaced it."""
        return self.successor is not None

    @property
    def is_trace(self) -> bool:
        """True if nothing is left but the way to what has replaced it, for a logout that comes with the old id."""
        return not self.ends

    @property
    def frozen(self) -> dict[str, Any]:
        """The values that cannot change, decoded once. Not to be changed itself: all have the same."""
        if self._frozen is None:
            values = decode_all(self.fields)
            self._loose = {name: self.fields[name] for name, one in values.items() if one.__class__ not in _IMMUTABLE}
            self._frozen = {name: one for name, one in values.items() if name not in self._loose}
        return self._frozen

    @property
    def loose(self) -> dict[str, bytes]:
        """The text of the values that can, for everybody to decode for himself. To be looked at after `frozen`."""
        return self._loose

    @property
    def size(self) -> int:
        """About how many bytes its fields take here: names, text, and what every field costs."""
        return sum(len(name) + len(text) + 100 for name, text in self.fields.items())

    def of(self, session_id: SessionId) -> Record:
        """Return the same under an id that knows its user."""
        same = Record(session_id, self.fields, self.times, self.stored, self.successor)
        same._frozen, same._loose = self._frozen, self._loose
        return same

    def seen_at(self, version: int) -> Record:
        """Return it at the version that a write has made, unless others wrote before it: their fields are not here."""
        if version != self.version + 1:
            return self
        return Record(self.id, self.fields, (*self.times[:4], version), self.stored, self.successor)

    def used_at(self, clock: int, version: int) -> Record:
        """Return it as it was touched at that time."""
        times = (*self.times[:3], clock, self.seen_at(version).version)
        same = Record(self.id, self.fields, times, self.stored, self.successor)
        same._frozen, same._loose = self._frozen, self._loose
        return same

    def with_field(self, name: str, text: bytes, stored: bytes) -> Record:
        """Return it with one field as it was written."""
        fields = {**self.fields, name: text}
        apart = None if self.stored is self.fields else {**self.stored, name: stored}
        return Record(self.id, fields, self.times, apart, self.successor)


def read_record(session_id: SessionId, flat: Any, cipher: SessionCipher | None = None) -> Record | None:
    """Read a record out of the names and values of its hash; None for what is neither a session nor the trace of one.

    Raises `SessionUnreadable` where `cipher` cannot open a field, ValueError and others where it is none of ours.
    """
    if not flat:
        return None
    found: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    times = found.pop(b"m", b"").split(b":")
    successor = found.pop(b"o", None)
    if len(times) != 5:
        if successor is None or b"u" in found:  # the mark that is left for a day is none (rotate.lua)
            return None
        return Record(session_id, {}, (0, 0, 0, 0, 0), None, successor)
    stored = {name[1:].decode(): text for name, text in found.items() if name[:1] == b"."}
    fields = cipher.unseal(session_id.record, stored) if cipher is not None else stored
    created, ends, idle, touched, version = map(int, times)
    return Record(session_id, fields, (created, ends, idle, touched, version), stored, successor)


def undecodable(flat: Any, cipher: SessionCipher | None) -> SessionUnreadable:
    """Return what to say of a record that could not be decoded: a value that begins with `$` is an encrypted one."""
    pairs = zip(flat[::2], flat[1::2], strict=False)
    if cipher is None and any(name[:1] == b"." and text[:1] == b"$" for name, text in pairs):
        return SessionUnreadable("is encrypted, and there is no encryption given (GUARD_SESSION_ENCRYPTION)")
    return SessionUnreadable("is damaged")
