"""Whose session it is, in the shapes that Starlette's `request.user` and `@requires("authenticated")` know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.authentication import BaseUser

from ..core.exchange import Exchange
from ..users import credentials_of, nobody


class SessionUser(BaseUser):
    """The user that a session says has logged in: `identity` is the value of the principal's first key, as text.

    Immutable, for requests with the same session share it.
    """

    __slots__ = ("identity",)

    identity: str
    is_authenticated = True

    def __init__(self, identity: str) -> None:
        object.__setattr__(self, "identity", identity)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a SessionUser is immutable; request.state is for what one request needs")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a SessionUser is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.identity,)

    @property
    def display_name(self) -> str:
        """The same: a session knows no other name."""
        return self.identity

    def __repr__(self) -> str:
        return f"<SessionUser {self.identity!r}>"


def facts_of(user: str) -> Mapping[str, Any]:
    """Return `user` and `auth` for sessions of `user`; all requests may share them."""
    return {"user": SessionUser(user), "auth": credentials_of(("authenticated",))}


def user_facts(exchange: Exchange, own: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return `user` and `auth` for a session with the facts `own`, None for nobody's.

    What stands further out (a verified token) counts more than a session: nothing where another guard knows somebody.
    """
    known = exchange.fact("user")
    if own is not None and not getattr(known, "is_authenticated", False):
        return own
    return nobody() if known is None else {}
