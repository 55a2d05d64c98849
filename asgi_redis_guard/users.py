"""Who a request speaks for, in the shapes that Starlette's `request.auth` and `@requires` know."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from starlette.authentication import AuthCredentials, UnauthenticatedUser


class SharedCredentials(AuthCredentials):
    """Granted scopes as Starlette's `@requires` reads them; immutable, so that requests may share one."""

    _granted: tuple[str, ...]

    def __init__(self, scopes: tuple[str, ...]) -> None:
        object.__setattr__(self, "_granted", scopes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: the credentials are shared by requests, and immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._granted,)

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        """The scopes granted; a list of the caller's own."""
        return list(self._granted)


credentials_of = lru_cache(maxsize=1024)(SharedCredentials)


def nobody() -> dict[str, Any]:
    """Return `user` and `auth` of a request by nobody; anew for each, for an app may change what it gets."""
    return {"user": UnauthenticatedUser(), "auth": AuthCredentials()}
