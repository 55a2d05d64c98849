"""The CSRF tokens of a session, as the app gets them. Pure."""

from __future__ import annotations

from ..core.csrf_token import MASK, make_token
from ..core.exchange import Exchange
from ..errors import ConfigurationError
from .session import Session


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
        return make_token(self._key, session.handle, self._exchange.random(MASK))

    __str__ = __call__

    def __repr__(self) -> str:
        return "<CSRFToken>"


def session_of(exchange: Exchange) -> Session | None:
    """Return the session that the app gets, None where it gets none."""
    session = exchange.fact("session")
    if session is None or isinstance(session, Session):
        return session
    raise ConfigurationError(f"CSRF: the session is a {type(session).__name__}; allowed is one that Sessions has made")
