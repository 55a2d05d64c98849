"""`TokenPair`: what a login or a refresh gives. Pure. Law: its repr holds no token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token and the refresh token that its successor is got with.

    `expires_at` and `refresh_expires_at` are seconds since the epoch, by this host's clock; a refresh token that is
    used begins a new time, up to `lifetime`. `token_id` is the access token's `jti`, `family` what all tokens of this
    login share. `replayed` is true for an answer that was given before, within the grace.
    """

    access_token: str
    refresh_token: str
    expires_at: int
    refresh_expires_at: int
    scopes: tuple[str, ...]
    user: str
    token_id: str
    family: str
    replayed: bool = False

    def response(self, now: float) -> dict[str, Any]:
        """Return what a token endpoint answers (RFC 6749 §5.1), at `now` in seconds since the epoch."""
        said: dict[str, Any] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": max(0, int(self.expires_at - now)),
            "refresh_token": self.refresh_token,
        }
        return {**said, "scope": " ".join(self.scopes)} if self.scopes else said

    def __repr__(self) -> str:
        return f"<TokenPair of {self.user!r}, family {self.family}>"
