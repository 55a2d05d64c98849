"""`Session`: the dictionary that the app sees, with what it was when it was loaded, so that changes can be told.

It does no I/O by itself; what it may ask of Redis while the app runs goes through the `Keeper` that it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from .codec import decode_all, encode
from .crypto import SessionCipher
from .ids import SessionId

#: Types whose objects cannot change: the same object is the same value.
_IMMUTABLE = frozenset((str, int, float, bool, type(None)))

#: Those of which equal objects are one value: 0.0 and -0.0 are equal and two.
_EXACT = frozenset((str, int, bool, type(None)))


class Keeper(Protocol):
    """What a session asks for while the app runs."""

    async def save(self, session: Session) -> None:
        """Write what has changed now."""

    def handle(self) -> bytes:
        """The handle that the session has when the response has been sent."""

    async def change(self, session: Session, name: str, change: Callable[[Any], Any]) -> Any:
        """Change one value against all others who change it; return what it is then."""


class Record:
    """A session as it stands in Redis: its id, fields as text, times (ms by the server's clock), and version.

    `stored` are the fields as Redis has them: other text, where they are encrypted. `successor` is the handle of what
    has replaced it.
    """

    __slots__ = ("created", "ends", "fields", "id", "idle", "read_only", "stored", "successor", "touched", "version")

    def __init__(
        self,
        session_id: SessionId,
        fields: dict[str, bytes],
        times: tuple[int, int, int, int, int],
        stored: dict[str, bytes] | None = None,
    ) -> None:
        self.id = session_id
        self.fields = fields
        self.created, self.ends, self.idle, self.touched, self.version = times
        self.read_only = False
        self.stored = fields if stored is None else stored
        self.successor: bytes | None = None

    def saw(self, version: int) -> None:
        """Take over the version that a write has made, unless others wrote before it: their fields are not here."""
        if version == self.version + 1:
            self.version = version


def read_record(session_id: SessionId, flat: Any, cipher: SessionCipher | None = None) -> Record | None:
    """Read a record out of the names and values of its hash; None for what is no live session.

    Raises `SessionUnreadable` where `cipher` cannot open a field, ValueError where it is none of ours.
    """
    if not flat:
        return None
    found: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    times = found.pop(b"m", b"").split(b":")
    if len(times) != 5:
        return None
    successor = found.pop(b"o", None)
    stored = {name[1:].decode(): text for name, text in found.items() if name[:1] == b"."}
    fields = cipher.unseal(session_id.record, stored) if cipher is not None else stored
    created, ends, idle, touched, version = map(int, times)
    record = Record(session_id, fields, (created, ends, idle, touched, version), stored)
    record.read_only = successor is not None
    record.successor = successor
    return record


class Session(dict[str, Any]):
    """A session of one exchange; a dictionary with string keys, whose values are what `codec` can keep.

    `record` is what was loaded, None for a new session.
    """

    def __init__(self, values: Mapping[str, Any] = {}, record: Record | None = None) -> None:
        super().__init__(values)
        self.record = record
        self.accessed = False
        #: Why the session that the cookie names has ended: `evicted` or `revoked`, for an hour after; else None.
        self.ended: str | None = None
        self.keeper: Keeper | None = None
        self._loaded: Mapping[str, Any] = dict(values) if record is not None else {}
        self._kinds = _kinds(self._loaded)
        self._rotates = False
        self._destroyed = False

    @classmethod
    def load(cls, record: Record) -> Session:
        """Decode a record; raises ValueError where a field is none of ours."""
        return cls(decode_all(record.fields), record)

    def __repr__(self) -> str:  # values may be secrets, and sessions stand in scopes, which are logged
        return f"<Session {self.id or 'not saved'} with {len(self)} keys>"

    # What Starlette's own session has.

    def mark_accessed(self) -> None:
        """Note that the app has looked: the response depends on the cookie."""
        self.accessed = True

    @property
    def modified(self) -> bool:
        """True if there is something to write."""
        return self._destroyed or self._rotates or bool(self.changes() != ({}, []))

    # What more it has.

    @property
    def id(self) -> str | None:
        """A name of this session for lists and logs; not the secret of its cookie. None before it is first saved."""
        return self.record.id.handle.decode() if self.record is not None else None

    @property
    def handle(self) -> bytes:
        """What names the session in Redis when the response has been sent, as far as can be told now; no secret."""
        return self._kept().handle()

    @property
    def is_new(self) -> bool:
        """True until it is first saved."""
        return self.record is None

    def clear(self) -> None:
        """Destroy the session: record and cookie end with the response. What is put in afterwards is a new session."""
        super().clear()
        self._destroyed = self.record is not None
        self._loaded, self._kinds = {}, None

    def rotate(self) -> None:
        """Give the session a new id with the response; the old one ends, after a short time in which it can be read."""
        self._rotates = True

    def save(self) -> Awaitable[None]:
        """Write what has changed now: for WebSockets, and what changes after the head.

        Raises `RedisUnavailable`, and `SessionDataError` for what cannot be kept any more.
        """
        return self._kept().save(self)

    def incr(self, name: str, by: int = 1) -> Awaitable[int]:
        """Add to a number, at once and against all others who do; return the sum. A missing one counts as 0."""
        return self._kept().change(self, name, lambda value: (value or 0) + by)

    def append(self, name: str, value: Any) -> Awaitable[list[Any]]:
        """Add to the end of a list, at once and against all others who do; return the list."""
        return self._kept().change(self, name, lambda values: [*(values or ()), value])

    def _kept(self) -> Keeper:
        if self.keeper is None:
            raise RuntimeError("this session was not made by the Sessions guard: it has nowhere to be saved")
        return self.keeper

    # What is to be written.

    @property
    def is_destroyed(self) -> bool:
        """True if `clear` has ended what was loaded."""
        return self._destroyed

    @property
    def wants_rotation(self) -> bool:
        """True if `rotate` was called."""
        return self._rotates

    @property
    def is_untouched(self) -> bool:
        """True if it holds what was loaded, as far as that can be told without making text of it."""
        kinds = self._kinds
        return kinds is not None and [*map(type, self.values())] == kinds and dict.__eq__(self, self._loaded)

    def changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Return the fields to write, as text, and the names of those to delete. Raises `SessionDataError`."""
        fields = self.record.fields if self.record is not None and not self._destroyed else {}
        changed: dict[str, bytes] = {}
        for name, value in self.items():
            if value.__class__ in _IMMUTABLE and name in self._loaded and self._loaded[name] is value:
                continue
            text = encode(name, value)
            if fields.get(name) != text:
                changed[name] = text
        return changed, [name for name in fields if name not in self]

    def texts(self) -> dict[str, bytes]:
        """Return all fields as text."""
        return {name: encode(name, value) for name, value in self.items()}

    def differs(self, name: str) -> bool:
        """Tell whether a value is not what was loaded: set, changed or removed since."""
        fields = self.record.fields if self.record is not None and not self._destroyed else {}
        return (encode(name, self[name]) if name in self else None) != fields.get(name)

    def rebase(self, record: Record) -> None:
        """Take over what somebody else has written meanwhile, with the changes of this exchange on top."""
        changed, removed = self.changes()
        own = {name: self[name] for name in changed}
        dict.clear(self)
        self.update({name: value for name, value in decode_all(record.fields).items() if name not in removed})
        self.record = record
        self._loaded, self._kinds = dict(self), None
        self.update(own)

    def take(self, name: str, value: Any, text: bytes) -> None:
        """Take over one value that was written."""
        self[name] = value
        if self.record is not None:
            self.record.fields[name] = text

    def settle(self, record: Record | None) -> None:
        """Take `record` for what stands in Redis now, None for nothing.

        A rotation or an end that was asked for while a mere save was on its way is still to be done.
        """
        if record is None or self.record is None or record.id is not self.record.id:
            self._rotates = self._destroyed = False
        self.record = record
        self._loaded = decode_all(record.fields) if record is not None else {}
        self._kinds = None if self._destroyed else _kinds(self._loaded)


def _kinds(values: Mapping[str, Any]) -> list[type] | None:
    """Return the types of the values if equal ones are the same for each of them, else None."""
    kinds = [*map(type, values.values())]
    return kinds if _EXACT.issuperset(kinds) else None
