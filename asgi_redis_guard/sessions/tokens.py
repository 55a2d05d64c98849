"""CSRF tokens: the HMAC of a session's handle, masked anew for each page. Pure."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from ..core.exchange import Exchange
from ..errors import ConfigurationError
from .session import Session

_SIZE = 32
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{86}")


class CSRFToken:
    """What the app finds in `scope["csrf_token"]`: call it, or put it into a template, for a token of this session.

    It is another text each time (a secret that stood in compressed pages could be guessed byte by byte, BREACH), and
    fits until the session's id changes. Of a session that is new or gets a new id with this response, it is the token
    of the id to come. No session is made by asking: without one there is nothing that a token would be checked against.
    """

    __slots__ = ("_exchange", "_key")

    def __init__(self, key: bytes, exchange: Exchange) -> None:
        self._key = key
        self._exchange = exchange

    def __call__(self) -> str:
        """Return a token: 86 characters of the base64url alphabet."""
        session = session_of(self._exchange)
        if session is None:
            return ""
        session.mark_accessed()
        return make_token(self._key, session.handle, self._exchange.random(_SIZE))

    __str__ = __call__

    def __repr__(self) -> str:
        return "<CSRFToken>"


def make_token(key: bytes, handle: bytes, mask: bytes) -> str:
    """Return the token of a handle: a mask of 32 random bytes, then the HMAC-SHA256 under it (BREACH)."""
    return urlsafe_b64encode(mask + _masked(mask, _mac(key, handle))).rstrip(b"=").decode()


def fits(key: bytes, token: bytes | None, handle: bytes | None) -> bool:
    """Tell whether a token is one of a handle; in constant time for whoever has neither."""
    if token is None or handle is None or not _TOKEN.fullmatch(token):
        return False
    pair = urlsafe_b64decode(token + b"==")
    return hmac.compare_digest(_masked(pair[:_SIZE], pair[_SIZE:]), _mac(key, handle))


def _mac(key: bytes, handle: bytes) -> bytes:
    return hmac.digest(key, b"csrf:" + handle, "sha256")


def _masked(mask: bytes, data: bytes) -> bytes:
    return (int.from_bytes(mask) ^ int.from_bytes(data)).to_bytes(_SIZE)


def session_of(exchange: Exchange) -> Session | None:
    """Return the session that the app gets, None where it gets none."""
    session = exchange.fact("session")
    if session is None or isinstance(session, Session):
        return session
    raise ConfigurationError(f"CSRF: the session is a {type(session).__name__}; allowed is one that Sessions has made")
