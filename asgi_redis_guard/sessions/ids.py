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

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{51}")
_TAG = 8


class SessionId(NamedTuple):
    """An id as its keys: `token` is the cookie's value and a secret, the rest may be shown.

    `owner` is the index of its user's sessions, the record itself if it is nobody's.
    """

    token: bytes
    handle: bytes
    record: bytes
    owner: bytes

    def __repr__(self) -> str:
        return f"<SessionId {self.handle.decode()}>"


class SessionIds:
    """Makes ids, and reads those of cookies, for one key (empty for none) and one prefix."""

    __slots__ = ("_key", "_keys")

    def __init__(self, key: bytes, keys: Keys) -> None:
        self._key = key
        self._keys = keys

    def read(self, value: bytes, user: str | None = None) -> SessionId | None:
        """Return the id that a cookie holds, or None for a malformed one. Who its user is, the record tells later."""
        return self._of(value, user) if _TOKEN.fullmatch(value) else None

    def make(self, random: Callable[[int], bytes], user: str | None) -> SessionId:
        """Return a new id, of 256 random bits."""
        tag = self._hash(b"tag", user.encode(), 6) if user is not None else urlsafe_b64encode(random(6))
        return self._of(tag + urlsafe_b64encode(random(32))[:43], user)

    def of_user(self, known: SessionId, user: str | None) -> SessionId:
        """Return `known` with the index of its user, which the record tells."""
        if user is None:
            return known
        owner = self._keys.sessions(known.token[:_TAG], digest(self._key, user))
        return SessionId(known.token, known.handle, known.record, owner)

    def _of(self, token: bytes, user: str | None) -> SessionId:
        tag, handle = token[:_TAG], self._hash(b"id", token[_TAG:], 15)
        record = self._keys.session(tag, handle)
        index = record if user is None else self._keys.sessions(tag, digest(self._key, user))
        return SessionId(token, handle, record, index)

    def _hash(self, purpose: bytes, data: bytes, size: int) -> bytes:
        return urlsafe_b64encode(blake2b(data, key=self._key, person=purpose, digest_size=size).digest())
