"""What travels with a refresh family, in its record: for whom its access tokens are, and what they say. Pure.

    [user, scopes, client, device, session, claims]    JSON, without what is null at its end

Nothing secret: whoever reads Redis learns who has logged in, and can make no token of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_NULL: tuple[object, ...] = (None, "", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyNote:
    """What a family was begun with. `client` is None for the service's own, `claims` are the app's."""

    user: str
    scopes: tuple[str, ...] = ()
    client: str | None = None
    device: str | None = None
    session: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Return it as text. Raises `ValueError` for what JSON cannot hold."""
        parts: list[Any] = [self.user, " ".join(self.scopes), self.client, self.device, self.session, {**self.claims}]
        while parts[-1] in _NULL and len(parts) > 1:
            parts.pop()
        try:
            return orjson.dumps(parts)
        except TypeError as error:  # it tells the type of what it cannot write, not the value
            raise ValueError(f"claims: {error}; allowed is what JSON can hold") from None

    @classmethod
    def unpack(cls, text: bytes) -> FamilyNote | None:
        """Read it again; None for what `pack` never makes."""
        try:
            parts = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(parts, list) or not 1 <= len(parts) <= 6:
            return None
        user, scopes, client, device, session, claims = parts + [None] * (6 - len(parts))
        texts = all(value is None or isinstance(value, str) for value in (scopes, client, device, session))
        if not (texts and isinstance(user, str) and user and isinstance(claims, dict | None)):
            return None
        return cls(
            user=user,
            scopes=tuple((scopes or "").split()),
            client=client,
            device=device,
            session=session,
            claims=claims or {},
        )
