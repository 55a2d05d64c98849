"""What a session cookie holds, and what of it is ever stored: a routing tag in clear, and the hash of the secret.

    cookie   <tag: 8 characters><secret: 43 characters>, all of the base64url alphabet
    record   <prefix>s:{<tag>}<handle>

A tag is a keyed hash of the user, so that all of a user's sessions share a slot of a cluster, and random for nobody's.
A handle is a hash of the secret, keyed if there is a key: whoever reads the store cannot make a cookie of it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from ..core.keys import Keys, digest
from ..errors import ConfigurationError

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{51}")
_TAG = 8


class SessionId(NamedTuple):
    """An id as its keys; all but `token` may be shown.

    `owner` is the index of its user's sessions, `notes` tells where they began; both are the record itself if it is
    nobody's. `token` is the cookie's value and a secret, there for an id that was just made alone.
    """

    tag: bytes
    handle: bytes
    record: bytes
    owner: bytes
    notes: bytes
    token: bytes = b""

    @property
    def place(self) -> bytes:
        """Where it lies: the tag, then what stands for its user, nothing for nobody's."""
        return self.tag + (b"" if self.owner == self.record else self.owner[-20:])

    def __repr__(self) -> str:
        return f"<SessionId {self.handle.decode()}>"


def secret_of(key: str | bytes) -> bytes:
    """Return the key that ids are hashed with; raises `ConfigurationError` for one that is too short or too long."""
    secret = key.encode() if isinstance(key, str) else key
    ConfigurationError.raise_for(secret_faults(secret))
    return secret


def secret_faults(secret: bytes) -> list[str]:
    """What is wrong with the key that ids are hashed with, empty for none."""
    fits = not secret or 16 <= len(secret) <= 64
    return [] if fits else [f"key: {len(secret)} bytes given; allowed are 16 to 64"]


class SessionIds:
    """Makes ids, and reads those of cookies, for one key (empty for none) and one prefix."""

    __slots__ = ("_key", "_keys")

    def __init__(self, key: bytes, keys: Keys) -> None:
        self._key = key
        self._keys = keys

    def read(self, value: bytes, user: str | None = None) -> SessionId | None:
        """Return the id that a cookie holds, or None for a malformed one. Who its user is, the record tells later."""
        return self._of(value, user) if _TOKEN.fullmatch(value) else None

    def name(self, value: bytes) -> bytes:
        """Return what may stand in memory for a cookie's value, whatever it is: another for each, and no secret."""
        name = value[:_TAG] + blake2b(value[_TAG:], key=self._key, person=b"name", digest_size=16).digest()
        return name if not self._keys.salt else b"".join((name, *self._keys.salt))

    def make(self, random: Callable[[int], bytes], user: str | None) -> SessionId:
        """Return a new id, of 256 random bits."""
        tag = self._tag(user) if user is not None else urlsafe_b64encode(random(6))
        token = tag + urlsafe_b64encode(random(32))[:43]
        return self._of(token, user)._replace(token=token)

    def place(self, user: str | int) -> tuple[bytes, bytes]:
        """Return what a user's own keys are made of: the tag and the digest. A number is its text, as in sessions."""
        return self._tag(str(user)), self._owner(str(user))

    def at(self, place: bytes, handle: bytes) -> SessionId:
        """Return the id with this handle at a `SessionId.place`; what opens it, the secret, is not known."""
        tag, owner = place[:_TAG], place[_TAG:]
        record = self._keys.session(tag, handle)
        if not owner:
            return SessionId(tag, handle, record, record, record)
        return SessionId(tag, handle, record, self._keys.sessions(tag, owner), self._keys.session_notes(tag, owner))

    def of_user(self, known: SessionId, user: str | None) -> SessionId:
        """Return `known` with the index of its user, which the record tells."""
        if user is None:
            return known
        owner = self._owner(user)
        index, notes = self._keys.sessions(known.tag, owner), self._keys.session_notes(known.tag, owner)
        return known._replace(owner=index, notes=notes)

    def keys_of(self, user: str) -> tuple[bytes, bytes, bytes]:
        """Return the index of a user's sessions, their notes, and what the keys of their records begin with."""
        tag, owner = self._tag(user), self._owner(user)
        return self._keys.sessions(tag, owner), self._keys.session_notes(tag, owner), self._keys.session(tag, b"")

    def _of(self, token: bytes, user: str | None) -> SessionId:
        tag, handle = token[:_TAG], self._hash(b"id", token[_TAG:], 15)
        record = self._keys.session(tag, handle)
        if user is None:
            return SessionId(tag, handle, record, record, record)
        owner = self._owner(user)
        return SessionId(tag, handle, record, self._keys.sessions(tag, owner), self._keys.session_notes(tag, owner))

    def _owner(self, user: str) -> bytes:
        return digest(self._key, user, *self._keys.salt)

    def _tag(self, user: str) -> bytes:
        return self._hash(b"tag", user.encode("utf-8", "surrogatepass"), 6)  # a name that a client typed may hold any

    def _hash(self, purpose: bytes, data: bytes, size: int) -> bytes:
        return urlsafe_b64encode(blake2b(data, key=self._key, person=purpose, digest_size=size).digest())
