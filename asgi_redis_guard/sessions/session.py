"""`Session`: the dictionary that the app sees, with what it was when it was loaded, so that changes can be told.

It does no I/O by itself; what it may ask of Redis while the app runs goes through the `Keeper` that it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from operator import is_
from typing import Any, Protocol

from .codec import decode_all, encode
from .ids import SessionId
from .record import Record

_NOTHING: dict[str, Any] = {}


class Keeper(Protocol):
    """What a session asks for while the app runs."""

    async def save(self) -> None:
        """Write what has changed now."""

    async def load(self) -> None:
        """Read it anew."""

    def handle(self) -> bytes:
        """The handle that the session has when the response has been sent."""

    async def change(self, name: str, change: Callable[[Any], Any]) -> Any:
        """Change one value against all others who change it; return what it is then."""


class Session(dict[str, Any]):
    """A session of one exchange; a dictionary with string keys, whose values are what `codec` can keep."""

    #: What was loaded or last written, None for a new session.
    record: Record | None = None

    accessed = False

    #: Why the session that the cookie names has ended: `evicted` or `revoked`, for an hour after; else None.
    ended: str | None = None

    #: What the cookie names, where that could not be read: this empty session stands in for it, for one exchange. It is
    #: never written in its place, unless as a login.
    instead_of: SessionId | None = None

    #: Returns who can save it, None when the exchange is over. Weak: who saves it has it.
    keeper: Callable[[], Keeper | None] | None = None

    #: Of the values that were loaded, those that cannot change in place: where the object is the same, so is the text.
    _frozen: Mapping[str, Any] = _NOTHING
    _all_frozen = True
    _rotates = False
    _destroyed = False

    @classmethod
    def standing_in(cls, one: SessionId) -> Session:
        """Return an empty session in place of one that may well be there, and could not be read."""
        session = cls()
        session.instead_of = one
        return session

    @classmethod
    def of(cls, record: Record) -> Session:
        """Decode a record; raises ValueError where a field is none of ours."""
        frozen = record.frozen
        session = cls(frozen)
        session.record = record
        session._frozen = frozen
        if record.loose:
            session.update(decode_all(record.loose))
            session._all_frozen = False
        return session

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
        self._destroyed = self.record is not None or self.instead_of is not None
        self._thaw()

    def rotate(self) -> None:
        """Give the session a new id with the response; the old one ends, after a short time in which it can be read."""
        self._rotates = True

    def save(self) -> Awaitable[None]:
        """Write what has changed now: for WebSockets, and what changes after the head.

        Raises `RedisUnavailable`, and `SessionDataError` for what cannot be kept any more.
        """
        return self._kept().save()

    def load(self) -> Awaitable[None]:
        """Read the session anew, with the changes of one's own on top: for WebSockets and streams; and if it is lazy.

        It counts as a use, and does nothing where there is no session. Raises `SessionDataError` where it has ended or
        was replaced, `RedisUnavailable` where it cannot be read.
        """
        return self._kept().load()

    def incr(self, name: str, by: int = 1) -> Awaitable[int]:
        """Add to a number, at once and against all others who do; return the sum. A missing one counts as 0."""
        return self._kept().change(name, lambda value: (value or 0) + by)

    def append(self, name: str, value: Any) -> Awaitable[list[Any]]:
        """Add to the end of a list, at once and against all others who do; return the list."""
        return self._kept().change(name, lambda values: [*(values or ()), value])

    def _kept(self) -> Keeper:
        if self.keeper is None:
            raise RuntimeError("this session was not made by the Sessions guard: it has nowhere to be saved")
        keeper = self.keeper()
        if keeper is None:
            raise RuntimeError("the exchange that this session was loaded for is over: use SessionStore from here on")
        return keeper

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
        """True if it holds the very objects that were loaded and none of them can change: nothing is to be written."""
        frozen = self._frozen
        return self._all_frozen and [*self] == [*frozen] and all(map(is_, self.values(), frozen.values()))

    def changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Return the fields to write, as text, and the names of those to delete. Raises `SessionDataError`."""
        fields = self.record.fields if self.record is not None and not self._destroyed else {}
        frozen = self._frozen
        changed: dict[str, bytes] = {}
        for name, value in self.items():
            if name in frozen and frozen[name] is value:
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
        theirs = decode_all(record.fields)  # which may fail, before anything is changed here
        dict.clear(self)
        self.update({name: value for name, value in theirs.items() if name not in removed})
        self.record = record
        self._thaw()
        self.update(own)

    def take(self, name: str, value: Any, text: bytes, stored: bytes, version: int) -> None:
        """Take over one value that was written."""
        self[name] = value
        if self.record is not None:
            self.record = self.record.with_field(name, text, stored).seen_at(version)
            self._thaw()

    def settle(self, record: Record | None) -> None:
        """Take `record` for what stands in Redis now, None for nothing.

        A rotation or an end that was asked for while a mere save was on its way is still to be done.
        """
        if record is None or self.record is None or record.id is not self.record.id:
            self._rotates = self._destroyed = False
        self.record, self.instead_of = record, None
        self._thaw()

    def _thaw(self) -> None:
        """Forget the values that were loaded: from here on text alone tells whether there is a change."""
        self._frozen, self._all_frozen = _NOTHING, False
