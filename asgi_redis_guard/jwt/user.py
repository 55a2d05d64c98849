"""Who a verified token speaks for, in the shapes that Starlette's `request.user` and `@requires` know."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.authentication import BaseUser

from .verify import VerifiedToken


class VerifiedUser(BaseUser):
    """The subject of a verified, unrevoked token. Immutable, for requests with the same token share it.

    `token` is what was verified. `revocation_id` is what `RevocationList.revoke_token` needs; it holds nothing secret.
    `identity` is the `sub` claim, empty if the token has none; `namespace` is whose name that is: the issuer where
    several are accepted, else empty.
    """

    __slots__ = ("identity", "namespace", "revocation_id", "token")

    token: VerifiedToken
    revocation_id: tuple[str, str | bytes]
    identity: str
    namespace: str
    is_authenticated = True

    def __init__(self, token: VerifiedToken, revocation_id: tuple[str, str | bytes]) -> None:
        for name, value in (
            ("token", token),
            ("revocation_id", revocation_id),
            ("identity", token.subject),
            ("namespace", revocation_id[0]),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a VerifiedUser is immutable; request.state is for what one request needs")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a VerifiedUser is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.token, self.revocation_id)

    @property
    def display_name(self) -> str:
        """The `name` claim, else the subject."""
        name = self.claims.get("name")
        return name if isinstance(name, str) else self.token.subject

    @property
    def claims(self) -> dict[str, Any]:
        """All claims, parsed anew each time: a dictionary of the caller's own."""
        claims: dict[str, Any] = orjson.loads(self.token.payload)
        return claims

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the token grants."""
        return self.token.scopes

    def __repr__(self) -> str:
        return f"<VerifiedUser {self.token.subject!r}>"
