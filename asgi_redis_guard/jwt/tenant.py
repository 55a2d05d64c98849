"""Whose tokens a stack with `key_tag` takes: those in which a claim is the tag. Pure.

Law: a tag proves nothing, for a client may have chosen it. A revoked token must be looked up in the keys of its own
tenant, where its mark is; so what cannot be told is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.exchange import Exchange
from ..errors import ConfigurationError


class Tenancy:
    """Compares tokens with tags by a `claim`, if any. `revocation`: tokens are looked up, `mirrored`: in a mirror."""

    __slots__ = ("_claim", "_mirrored", "_revocation")

    def __init__(self, claim: str | None, *, revocation: bool, mirrored: bool) -> None:
        self._claim = claim or None
        self._revocation = revocation
        self._mirrored = mirrored

    def of(self, claims: Mapping[str, Any]) -> str | None:
        """Return the tenant of a token: the text of its claim, which may be a number; None for a token of none.

        Empty for anything else: such a token is at home nowhere. Without a tag it would be looked up where its tenant,
        whatever the app makes of the claim, revokes nothing.
        """
        found = None if self._claim is None else claims.get(self._claim)
        if found is None or found == "":
            return None
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""

    def is_at_home(self, exchange: Exchange, tenant: str | None) -> bool:
        """Tell whether a token of `tenant` is looked up in its own keys.

        Raises `ConfigurationError` where nobody has said how to tell: the stack around a route does not see its guards.
        """
        if self._claim is None and not exchange.is_tagged:
            return True
        ConfigurationError.raise_for(self.faults(exchange.is_tagged))
        return self._claim is None or tenant == exchange.keys.key_tag

    def faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag, or in one without."""
        if not tagged and self._claim is not None:
            return [f"tenant: {self._claim!r} given; it is compared with the stack's key_tag, which has none"]
        faults = []
        if tagged and self._revocation and self._claim is None:
            faults.append(
                "tenant: not given, but the stack has a key_tag: a client that chooses the tag would have its revoked "
                "token looked up in another tenant's keys; name the claim that is the tag"
            )
        if tagged and self._mirrored:
            faults.append("revocation: a mirror holds the keys without a tag; under key_tag allowed is mode='remote'")
        return faults

    def __repr__(self) -> str:
        return f"<Tenancy by {self._claim!r}>"
