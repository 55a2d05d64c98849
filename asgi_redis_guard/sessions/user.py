"""Whose session it is, in the shapes that Starlette's `request.user` and `@requires("authenticated")` know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser

from ..core.exchange import Exchange


class SessionUser(BaseUser):
    """The user that a session says has logged in: `identity` is the value of the principal's first key, as text."""

    def __init__(self, identity: str) -> None:
        self._identity = identity

    @property
    def is_authenticated(self) -> bool:
        """Always true."""
        return True

    @property
    def identity(self) -> str:
        """Who it is."""
        return self._identity

    @property
    def display_name(self) -> str:
        """The same: a session knows no other name."""
        return self._identity

    def __repr__(self) -> str:
        return f"<SessionUser {self._identity!r}>"


def user_facts(exchange: Exchange, user: str | None) -> Mapping[str, Any]:
    """Return `user` and `auth` for a session of `user`, None for nobody's; nothing where another guard knows somebody.

    What stands further out (a verified token) counts more than a session.
    """
    known = exchange.fact("user")
    if user is not None and not getattr(known, "is_authenticated", False):
        return {"user": SessionUser(user), "auth": AuthCredentials(["authenticated"])}
    return {} if known is not None else {"user": UnauthenticatedUser(), "auth": AuthCredentials()}
