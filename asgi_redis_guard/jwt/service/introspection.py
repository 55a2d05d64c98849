"""What a token service tells of a token that others hold (RFC 7662): of one that is not good, nothing but that."""

from __future__ import annotations

from typing import Any

from ...errors import TokenError
from .family_look import Look
from .refresh_token import RefreshKeys, RefreshToken
from .revoking import Revoking

#: Claims of an access token that are told as they stand (RFC 7662 §2.2); what the app has added is told as well.
_HIDDEN = frozenset(("fam", "gen", "sid", "dev"))


class Introspecting(Revoking):
    """The part of `TokenService` that looks at tokens without using them. All raise `RedisUnavailable`."""

    @property
    def refresh_keys(self) -> RefreshKeys:
        """The keys that refresh tokens are made with."""
        return self._refresh_keys

    async def introspect(self, token: str | bytes, *, refresh: bool = False) -> dict[str, Any]:
        """Return what RFC 7662 §2.2 has about a token, `{"active": False}` for one that is not good.

        Refresh tokens are told of where the caller says by `refresh` that it means one: a resource server that takes
        whatever is active for an access token would else open with them. Asking uses no token up.
        """
        if refresh:
            told = await self._told_of_refresh(token)
            if told is not None:
                return told
        try:
            access = await self.verify(token)
        except TokenError:
            return {"active": False}
        claims = {name: value for name, value in access.claims.items() if name not in _HIDDEN}
        return {"username": access.user, **claims, "active": True, "token_type": "Bearer"}

    async def look(self, token: str | bytes) -> Look | None:
        """Return how a refresh token and its family stand, None for what is no refresh token of this service."""
        presented = self._refresh_keys.read(token)
        return None if presented is None else await self.look_at(presented)

    async def look_at(self, presented: RefreshToken) -> Look:
        """Return the same for a token that was read."""
        return await self._families.look(presented)

    async def _told_of_refresh(self, token: str | bytes) -> dict[str, Any] | None:
        look = await self.look(token)
        if look is None:
            return None
        if not look.is_good or look.note is None:
            return {"active": False}
        note, options = look.note, self.options
        told: dict[str, Any] = {
            "active": True,
            "token_type": "refresh_token",
            "iss": options.issuer,
            "aud": options.issuer,  # it is for this server alone, whomever access tokens are for
            "sub": note.user,
            "username": note.user,
            "client_id": note.client or options.default_client,
            "iat": look.made // 1000,
            "exp": look.till // 1000,
        }
        return {**told, "scope": " ".join(note.scopes)} if note.scopes else told
