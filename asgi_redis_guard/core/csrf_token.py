"""CSRF tokens: the HMAC of what they belong to (a session, a login), masked anew for each page. Pure."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

#: Random bytes that a token is made with, as many as it hides.
MASK = 32

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{86}")


def make_token(key: bytes, handle: bytes, mask: bytes) -> str:
    """Return the token of a handle: a mask of 32 random bytes, then the HMAC-SHA256 under it (BREACH)."""
    return urlsafe_b64encode(mask + _masked(mask, _mac(key, handle))).rstrip(b"=").decode()


def fits(key: bytes, token: bytes | None, handle: bytes | None) -> bool:
    """Tell whether a token is one of a handle; in constant time for whoever has neither."""
    if token is None or handle is None or not _TOKEN.fullmatch(token):
        return False
    pair = urlsafe_b64decode(token + b"==")
    return hmac.compare_digest(_masked(pair[:MASK], pair[MASK:]), _mac(key, handle))


def _mac(key: bytes, handle: bytes) -> bytes:
    return hmac.digest(key, b"csrf:" + handle, "sha256")


def _masked(mask: bytes, data: bytes) -> bytes:
    return (int.from_bytes(mask) ^ int.from_bytes(data)).to_bytes(MASK)
