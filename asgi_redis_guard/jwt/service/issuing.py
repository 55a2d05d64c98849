"""From what Redis says of a family to the pair that a client gets. Pure: time comes in, and no I/O is done.

Times of families are the server's, in milliseconds. A token's `iat` is after neither clock, so that cutoffs by the
server's clock cover it and no verifier takes it for one of the future; its `exp` goes by this host's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ...errors import RefreshRefused
from ..policy import MAX_LEEWAY
from .access import AccessTokens, Grant, check_claims
from .families import Begun, FamilyLimits, Rotation
from .family_note import FamilyNote
from .options import Options
from .pair import TokenPair
from .refresh_token import RefreshKeys, RefreshToken

#: Seconds. A host whose clock is further ahead of the server's issues tokens that end by the server's: what is kept of
#: a login that was ended would not outlast them otherwise.
_MOST_AHEAD = MAX_LEEWAY / 2


class Life(NamedTuple):
    """When a family was begun, its newest token made, when that is to end, and the family at the latest (ms)."""

    born: int
    made: int
    till: int
    ends: int

    @classmethod
    def of_first(cls, begun: Begun, limits: FamilyLimits) -> Life:
        """Return that of a family that was just begun."""
        born = begun.ends - limits.lifetime
        return cls(born, born, begun.till, begun.ends)

    @classmethod
    def of_next(cls, rotation: Rotation, limits: FamilyLimits, now: float) -> Life:
        """Return that of a successor; near the end of a family this host tells when it was made."""
        made = rotation.till - limits.idle if rotation.till < rotation.ends else round(now * 1000)
        return cls(rotation.born // 1000, made, rotation.till, rotation.ends)


class Issuing:
    """Makes the pairs of one service, under its options."""

    def __init__(self, options: Options, refresh_keys: RefreshKeys) -> None:
        self._options = options
        self._refresh_keys = refresh_keys

    def pair(
        self,
        tokens: AccessTokens,
        note: FamilyNote,
        token: RefreshToken,
        gen: int,
        life: Life,
        now: float,
        *,
        replayed: bool = False,
    ) -> TokenPair:
        """Return the pair whose refresh token is `token`; `gen` is of its user. Raises `ValueError` for claims.

        The access token's `jti` is told by family and number, so that all answers to one refresh have the same one.
        """
        family = token.family.decode()
        since = min(now, life.made / 1000 + _MOST_AHEAD)
        ends = since + min(self._options.access_ttl, (life.ends - life.made) / 1000)
        grant = Grant(
            user=note.user,
            client=note.client or self._options.default_client,
            token_id=f"{family}.{token.number}",
            issued_at=int(min(now, life.made / 1000)),
            expires_at=int(ends),
            auth_time=life.born // 1000,
            family=family,
            generation=gen,
            scopes=note.scopes,
            session=note.session,
            device=note.device,
            claims=note.claims,
        )
        return TokenPair(
            access_token=tokens.write(grant),
            refresh_token=self._refresh_keys.text(*token),
            expires_at=grant.expires_at,
            refresh_expires_at=int(now + (life.till - life.made) / 1000),
            scopes=note.scopes,
            user=note.user,
            token_id=grant.token_id,
            family=family,
            replayed=replayed,
        )


def limits_of(options: Options) -> FamilyLimits:
    """Return the limits of families. One that is over is remembered for as long as its access tokens could live."""
    return FamilyLimits(
        idle=round(options.refresh_ttl * 1000),
        lifetime=round(options.lifetime * 1000),
        grace=round(options.grace * 1000),
        most_replays=options.max_replays,
        keep=round((options.access_ttl + MAX_LEEWAY) * 1000),
    )


def narrowed(note: FamilyNote, scopes: tuple[str, ...] | None) -> FamilyNote:
    """Return the note with fewer scopes (RFC 6749 §6); raises `RefreshRefused` for one that was not granted."""
    if scopes is None:
        return note
    if not set(scopes).issubset(note.scopes):
        raise RefreshRefused("wrong_scope", "The refresh token does not grant what is asked for")
    return replace(note, scopes=scopes)


def with_claims(note: FamilyNote, more: Mapping[str, Any]) -> FamilyNote:
    """Return the note with claims of the moment on top of its own; raises `ValueError` for those of the service."""
    if not more:
        return note
    check_claims(more)
    return replace(note, claims={**note.claims, **more})
