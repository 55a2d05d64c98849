"""The text of refresh tokens: made from a key, a family and a number, and read back by whoever has the key. Pure.

    rt1.<family: 22 characters>.<number>.<mac: 27 characters>      base64url, without padding

The mac is HMAC-SHA256 over all that stands before it and a salt, cut to 160 bits. So the successor of a token is known
from its family and its number, counted from 1: whoever asks again gets the very same text, and nothing that opens
anything is ever stored. What is malformed or has another mac is refused here, and never reaches Redis.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ...core.csrf_token import fits, make_token
from ...errors import ConfigurationError

_TEXT = re.compile(rb"rt1\.([A-Za-z0-9_-]{22})\.([1-9][0-9]{0,9})\.([A-Za-z0-9_-]{27})")
_LONGEST = 65

_MAC_BYTES = 20

#: As long as the hash (RFC 7518 §3.2).
_KEY_BYTES = 32

#: Characters of a family's id in front: where its user's keys lie. The others are random.
TAG = 6


class RefreshToken(NamedTuple):
    """What a refresh token says, its mac verified: nothing of this is a secret."""

    family: bytes
    number: int


def new_family(tag: bytes, random: Callable[[int], bytes]) -> bytes:
    """Return an id for a family in the place `tag`: unique, with 96 random bits, and no secret."""
    return tag + urlsafe_b64encode(random(12))


class RefreshKeys:
    """The keys that refresh tokens are made with: the first signs, all verify.

    Each is a secret of 32 bytes or more. `salt` binds tokens to a service (its issuer, say): those of another are not
    accepted, also where both have the same key. To replace a key, put the new one behind the old one in all processes
    first, then in front of it, and take the old one away when the longest idle time is over.
    Raises `ConfigurationError` without repeating a key.
    """

    __slots__ = ("_keys", "_salt")

    def __init__(self, keys: str | bytes | Iterable[str | bytes], salt: str | bytes = b"") -> None:
        given = [keys] if isinstance(keys, str | bytes) else list(keys)
        self._keys = [_bytes(key) for key in given]
        self._salt = _bytes(salt)
        ConfigurationError.raise_for(refresh_key_faults(self._keys))

    def text(self, family: bytes, number: int) -> str:
        """Return the one token of a family with this number."""
        return self._signed(self._keys[0], b"rt1.%b.%d" % (family, number)).decode()

    def has(self, secret: bytes) -> bool:
        """Tell whether it is one of these keys."""
        return secret in self._keys

    def read(self, text: str | bytes) -> RefreshToken | None:
        """Return what `text` says; None where it is no token of these keys, whatever else it is."""
        if len(text) > _LONGEST:
            return None
        data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        match = _TEXT.fullmatch(data)
        if match is None:
            return None
        said = data[: match.start(3) - 1]
        matches = [hmac.compare_digest(self._signed(key, said), data) for key in self._keys]
        return RefreshToken(match[1], int(match[2])) if any(matches) else None

    def csrf_token(self, family: bytes, mask: bytes) -> str:
        """Return a token that shows that its sender could read what belongs to a login; another for each `mask`."""
        return make_token(self._keys[0], self._handle(family), mask)

    def is_csrf_token(self, token: bytes | None, family: bytes) -> bool:
        """Tell whether a token is one of that login."""
        return any(fits(key, token, self._handle(family)) for key in self._keys)

    def _handle(self, family: bytes) -> bytes:
        return b"%b.%b" % (family, self._salt)

    def _signed(self, key: bytes, said: bytes) -> bytes:
        mac = hmac.digest(key, b"%b.%b" % (said, self._salt), "sha256")[:_MAC_BYTES]
        return b"%b.%b" % (said, urlsafe_b64encode(mac).rstrip(b"="))

    def __repr__(self) -> str:
        return f"<RefreshKeys: {len(self._keys)}>"


def refresh_key_faults(keys: Iterable[str | bytes]) -> list[str]:
    """What is wrong with the keys of refresh tokens."""
    sizes = [len(_bytes(key)) for key in keys]
    if not sizes:
        return ["refresh_keys: none given; allowed is at least one secret"]
    return [
        f"refresh_keys: a secret of {size} bytes given; allowed are {_KEY_BYTES} or more"
        for size in sizes
        if size < _KEY_BYTES
    ]


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
