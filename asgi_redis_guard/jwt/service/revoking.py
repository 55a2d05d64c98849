"""What a token service revokes, and what it counts: thin calls on refresh families and the blacklist.

A revocation counts once its call has returned. Access tokens end with their family, so that a login ends as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict, Unpack

import orjson

from ...errors import ConfigurationError
from ...redis.manager import RedisManager
from ..keys import KeyLike
from ..revocation.revocation_list import Revocation, RevocationList, RevocationStats
from ..signing import KeyRing, SigningKey
from .access import AccessToken, text_of
from .families import MOST_WHY
from .family_counts import FamilyStats
from .family_store import FamilyStore
from .options import Options
from .refresh_token import RefreshKeys
from .verifying import Verifying

_FAMILY = re.compile(r"[A-Za-z0-9_-]{22}")


class Audit(TypedDict, total=False):
    """Who revoked, from where and why: kept with what was revoked, and the time with it."""

    reason: str
    actor: str
    ip: str


class TokenStats(TypedDict):
    """`revoked`: what is in the blacklist, access tokens and logins; `families`: logins, and what became of each."""

    revoked: RevocationStats
    families: FamilyStats


class Revoking(Verifying):
    """The part of `TokenService` that ends tokens before their time. All methods raise `RedisUnavailable`.

    Where `audit` may be given (`reason`, `actor`, `ip`), it is kept with what is revoked, for as long as that is.
    """

    def __init__(
        self,
        redis: RedisManager,
        keys: KeyRing | SigningKey | KeyLike,
        revocation: RevocationList | None,
        options: Options,
        clock: Callable[[], float],
        families: FamilyStore,
        refresh_keys: RefreshKeys,
    ) -> None:
        self._refresh_keys = refresh_keys
        self._families = families
        super().__init__(redis, keys, revocation, options, clock)

    def use_keys(self, keys: KeyRing | SigningKey | KeyLike) -> None:
        """Sign and verify with other keys from now on: one step of a rotation, without a new service or guard.

        Raises `ConfigurationError`, also for a secret that refresh tokens are made with.
        """
        ring = KeyRing.of(keys)
        if any(self._refresh_keys.has(secret) for secret in ring.secrets()):
            raise ConfigurationError(
                "refresh_keys: a secret given that access tokens are signed with; allowed is another, for whoever "
                "verifies those holds that one too"
            )
        super().use_keys(ring)

    async def revoke(self, token: str | bytes | AccessToken, **audit: Unpack[Audit]) -> bool:
        """Revoke one token (RFC 7009); true if it was good before.

        A refresh token ends its family, and with that its access tokens; an access token ends alone. What is no token
        of this service, or is over for every verifier, needs nothing: that is no error, and false.
        """
        if not isinstance(token, AccessToken):
            presented = self._refresh_keys.read(text_of(token))
            if presented is not None:
                return await self.revoke_family(presented.family.decode(), **audit)
        access = token if isinstance(token, AccessToken) else self.read(token, whenever=True)
        if access is None:
            return False
        return await self.revoke_id(access.token_id, access.expires_at, user=access.user, **audit)

    async def revoke_id(
        self,
        token_id: str,
        expires_at: float | datetime | None = None,
        *,
        user: str | None = None,
        **audit: Unpack[Audit],
    ) -> bool:
        """Revoke an access token by its `jti`; without its end, for as long as any could live."""
        return await self.revoke_many([Revocation(token_id, expires_at, user=user, **self._noted(audit))]) == 1

    async def revoke_many(self, revocations: Iterable[Revocation | str]) -> int:
        """Revoke many access tokens, by `jti`, in one round trip (5,000 each); return how many were not before."""
        return await self.revocation.revoke_many([self._own(item) for item in revocations])

    def _own(self, item: Revocation | str) -> Revocation | str:
        """Return it with the issuer by which the marks of this service go, if they do."""
        if isinstance(item, Revocation):
            return item if item.issuer == self._issuer else replace(item, issuer=self._issuer)
        return item if self._issuer is None else Revocation(item, issuer=self._issuer)

    async def revoke_family(self, family: str, **audit: Unpack[Audit]) -> bool:
        """End a login: the refresh token, and all access tokens of its family; true if it was alive.

        `family` is that of a `TokenPair` or an `AccessToken`. ValueError for what is no family's name.
        """
        return bool((await self._families.revoke(_family(family), self._why(audit))).families)

    async def revoke_user(self, user: str | int, **audit: Unpack[Audit]) -> int:
        """End everything that was issued to a user before this call, exactly; return how many logins that were.

        What is issued after it is good, in the same second too.
        """
        return len((await self._families.revoke_user(user_name(user), self._why(audit))).families)

    async def finish_user(self, user: str) -> None:
        """Make a `revoke_user` whole that was cut short; what was issued since is left alone."""
        await self._families.finish_user(user)

    async def revoke_device(self, user: str | int, device: str, **audit: Unpack[Audit]) -> int:
        """End all logins of a user on a device; return how many."""
        return len((await self._families.revoke_device(user_name(user), device, self._why(audit))).families)

    async def revoke_session(self, user: str | int, session: str, **audit: Unpack[Audit]) -> int:
        """End all logins of a user in a session; return how many."""
        return len((await self._families.revoke_session(user_name(user), session, self._why(audit))).families)

    async def revoke_others(self, user: str | int, family: str, **audit: Unpack[Audit]) -> int:
        """End all logins of a user but this one: what a change of password does; return how many."""
        return len((await self._families.revoke_others(user_name(user), _family(family), self._why(audit))).families)

    async def revoke_all_before(self, time: float | datetime | None = None) -> float:
        """Revoke what was issued up to a time, to whomever; return the cutoff, in seconds since the epoch.

        Without a time, or for one to come, that is now, by the server's clock. Access tokens count by whole seconds:
        those of the cutoff's own second are revoked, refresh tokens to the millisecond. A cutoff is never moved back.
        """
        if not isinstance(time, int | float | datetime | None):
            raise TypeError(f"time: {time!r} given; allowed are seconds since the epoch, and an aware datetime")
        if isinstance(time, datetime):
            if time.tzinfo is None:
                raise ValueError("time is a datetime without a time zone")
            time = time.timestamp()
        return await self._families.revoke_before(time)

    async def revocation_of(self, token_id: str) -> dict[str, Any] | None:
        """Return what was recorded where an access token was revoked by its `jti`; None if it is not."""
        return await self.revocation.revocation(token_id, issuer=self._issuer)

    async def statistics(self) -> TokenStats:
        """Count what is revoked, which families live, and what became of refresh tokens, without a scan."""
        return {"revoked": await self.revocation.stats(), "families": await self._families.statistics()}

    def _noted(self, audit: Audit) -> dict[str, Any]:
        """What is kept of an audit: nothing where none is asked for, else with the time; TypeError for what is none."""
        if wrong := sorted(audit.keys() - Audit.__annotations__.keys()):
            raise TypeError(f"a revocation has no option {wrong[0]!r}; there are {', '.join(Audit.__annotations__)}")
        return {**audit, "at": round(self._clock(), 3)} if audit else {}

    def _why(self, audit: Audit) -> bytes:
        why = orjson.dumps(self._noted(audit)) if audit else b""
        if len(why) > MOST_WHY:
            raise ValueError(f"reason, actor, ip: {len(why)} bytes of JSON given; allowed are {MOST_WHY}")
        return why


def user_name(user: object) -> str:
    """Return a user as `sub` has it: text, or a number as its text. Raises `ValueError` for what is none."""
    name = str(user) if user.__class__ is int else user
    if not isinstance(name, str) or not 0 < len(name) <= 255:
        raise ValueError(f"user: {user!r} given; allowed is text of 1 to 255 characters, and a number")
    return name


def _family(name: str) -> bytes:
    if not _FAMILY.fullmatch(name):
        raise ValueError(f"family: {name!r} given; allowed is that of a pair, or of an access token")
    return name.encode()
