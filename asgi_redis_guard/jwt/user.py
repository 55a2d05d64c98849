"""Who a verified token speaks for, in the shapes that Starlette's `request.user` and `@requires` know."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson
from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser

from .verify import VerifiedToken


class VerifiedUser(BaseUser):
    """The subject of a verified, unrevoked token. One object a request; its claims are a copy of its own.

    `revocation_id` is what `RevocationList.revoke_token` needs; it holds nothing secret.
    """

    __slots__ = ("_claims", "revocation_id", "token")

    def __init__(self, token: VerifiedToken, revocation_id: tuple[str, str | bytes]) -> None:
        self.token = token
        self.revocation_id = revocation_id
        self._claims: dict[str, Any] | None = None

    @property
    def is_authenticated(self) -> bool:
        """Always true."""
        return True

    @property
    def identity(self) -> str:
        """The `sub` claim, empty if the token has none."""
        return self.token.subject

    @property
    def namespace(self) -> str:
        """Whose name the identity is: the issuer where several are accepted, else empty."""
        return self.revocation_id[0]

    @property
    def display_name(self) -> str:
        """The `name` claim, else the subject."""
        name = self.claims.get("name")
        return name if isinstance(name, str) else self.identity

    @property
    def claims(self) -> dict[str, Any]:
        """All claims; parsed when first asked for."""
        if self._claims is None:
            self._claims = orjson.loads(self.token.payload)
        return self._claims

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the token grants."""
        return self.token.scopes

    def __repr__(self) -> str:
        return f"<VerifiedUser {self.identity!r}>"


class TokenCredentials(AuthCredentials):
    """The scopes of a token, as Starlette's `@requires` reads them; immutable, so that requests may share one."""

    def __init__(self, scopes: tuple[str, ...]) -> None:
        self._granted = scopes

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        """The scopes granted; a list of the caller's own."""
        return list(self._granted)


credentials_of = lru_cache(maxsize=1024)(TokenCredentials)

#: What makes the scope of a request by nobody; anew for each, for an app may change what it gets.
ANONYMOUS: dict[str, Callable[[], Any]] = {"user": UnauthenticatedUser, "auth": AuthCredentials}
