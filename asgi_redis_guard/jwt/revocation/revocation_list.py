"""`RevocationList`: the blacklist that `JWTAuth` asks, from the app's side. Every call is one round trip, but for those
that ask its mirror.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict

import orjson

from ...core.checks import choice_faults, replicas_faults
from ...core.keys import Keys
from ...core.lua import read_lua
from ...errors import ConfigurationError, RedisTimeout, RedisUnavailable
from ...redis.manager import RedisManager
from ...redis.program import Script
from ..policy import MAX_LEEWAY, MAX_LIFETIME, lifetime_faults
from ..user import VerifiedUser
from .marks import Mark, Marks
from .mirror import Mirror, MirrorStatus
from .questions import MISSING, Questions
from .snapshot import MirrorOptions, mirror_faults

_COUNT = Script(read_lua(__package__, "revoked_count.lua"))

#: What a mark tells, if it tells anything.
_NOTED = ("user", "reason", "actor", "ip", "at")

#: A JWS in compact form (RFC 7515 §7.1), whose header begins with `{"`.
_WHOLE = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*\Z")


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token to revoke: its `jti` (or, in bytes, the hash of what was signed), and when it ends.

    One of `expires_at` (seconds since the epoch, or an aware datetime) and `ttl` (seconds); with neither, the mark is
    kept for the longest life of a token. `user`, `reason`, `actor`, `ip` and `at` (when it was revoked, seconds since
    the epoch) are stored with it where they are given.
    """

    jti: str | bytes
    expires_at: float | datetime | None = None
    ttl: float | None = None
    user: str | None = None
    reason: str | None = None
    issuer: str | None = None
    actor: str | None = None
    ip: str | None = None
    at: float | None = None

    def __post_init__(self) -> None:
        if not self.jti:
            raise ValueError("jti is empty")
        if isinstance(self.jti, str) and _WHOLE.match(self.jti):
            raise ValueError("jti: a whole token given; allowed is its claim `jti`, by which it is looked for")
        if self.expires_at is not None and self.ttl is not None:
            raise ValueError("expires_at and ttl are given; allowed is one of them")
        if isinstance(self.expires_at, datetime) and self.expires_at.tzinfo is None:
            raise ValueError("expires_at is a datetime without a time zone")
        if isinstance(self.expires_at, int | float) and 0 < self.expires_at <= MAX_LIFETIME:
            raise ValueError(f"expires_at: {self.expires_at:.15g} given, in 1970; for seconds from now there is ttl")


class RevocationStats(TypedDict):
    """`revoked` tokens that are not past their end; `by_hour` of expiry (hours since the epoch)."""

    revoked: int
    by_hour: dict[int, int]


class RevocationList:
    """Revoke tokens before they expire.

    `redis` is a manager, a URL, or None for the shared manager of the environment's settings. `max_lifetime` and the
    prefix must be what `JWTAuth` and its manager have. Marks are kept for a token's remaining life and `MAX_LEEWAY`
    seconds more: a token past its end by less than those gets one too, for some verifier may be that lenient.
    `by_issuer` is for a `JWTAuth` that accepts several issuers: every call then names the issuer, and
    none does otherwise (`ValueError`), for a mark under the wrong name would never be found.
    All methods raise `RedisUnavailable`, also where Redis has lost what it knew and a question would be answered by
    that. A revocation counts once its call has returned. With `wait_replicas` that is when so many replicas (of each
    node of a cluster that it concerns) have it too: else `TooFewReplicas` says so, and it is written all the same.

    With `mode="mirror"`, and given to `JWTAuth(revocation=…)`, every event loop holds the blacklist in memory, about
    120 bytes an entry, and requests ask Redis nothing as long as the mirror has been proven to be current within the
    last `max_stale` seconds; else they ask as they do without it. Of more than `max_entries` tokens and users none are
    held, and every request asks. Revocations reach all mirrors within milliseconds. What Redis has lost is given back.
    """

    def __init__(
        self,
        redis: RedisManager | str | None = None,
        *,
        max_lifetime: float = MAX_LIFETIME,
        by_issuer: bool = False,
        mode: Literal["remote", "mirror"] = "remote",
        max_stale: float = 2.0,
        max_entries: int = 1_000_000,
        wait_replicas: int = 0,
    ) -> None:
        ConfigurationError.raise_for(
            [
                *lifetime_faults(max_lifetime),
                *choice_faults("mode", mode, ("remote", "mirror")),
                *mirror_faults(max_stale, max_entries),
                *replicas_faults("wait_replicas", wait_replicas),
            ]
        )
        #: The manager that it writes by.
        self.redis = self._redis = RedisManager.of(redis)
        if mode == "mirror" and self._redis.keys.key_tag is not None:
            raise ConfigurationError("mode: 'mirror' given for the keys of a tag; allowed is 'remote'")
        #: The longest life of a token, in seconds.
        self.max_lifetime = max_lifetime
        #: How many replicas must have what is revoked.
        self.wait_replicas = wait_replicas
        self._marks = Marks(self._redis, wait_replicas)
        self._longest = round(max_lifetime * 1000)
        #: Whether tokens go by their issuer too.
        self.by_issuer = by_issuer
        #: `remote` or `mirror`.
        self.mode = mode
        self._options = MirrorOptions(max_stale, max_entries, self._longest)
        #: The mirror that was asked last, and whose it was: a loop's connections.
        self._found: tuple[object, Mirror] | None = None

    async def revoke(
        self,
        jti: str | bytes,
        expires_at: float | datetime | None = None,
        *,
        ttl: float | None = None,
        user: str | None = None,
        reason: str | None = None,
        issuer: str | None = None,
    ) -> bool:
        """Revoke one token; true if it was not revoked before. A token long past its end gets no mark, and false."""
        return await self.revoke_many([Revocation(jti, expires_at, ttl, user, reason, issuer)]) == 1

    async def revoke_token(self, user: VerifiedUser, *, reason: str | None = None) -> bool:
        """Revoke the token that `request.user` came with: what a log-out does."""
        issuer, token_id = user.revocation_id
        known = issuer if issuer or self.by_issuer else None
        return await self.revoke(token_id, user.token.expires_at, reason=reason, issuer=known)

    async def revoke_many(self, revocations: Iterable[Revocation | str]) -> int:
        """Revoke many tokens in one round trip (5,000 each); return how many were not revoked before."""
        return await self._marks.set([self._mark(item) for item in revocations])

    async def is_revoked(self, jti: str | bytes, *, issuer: str | None = None) -> bool:
        """Tell whether this very token is revoked; cutoffs of its user are not looked at."""
        return bool(await self._asked("EXISTS", self._redis.keys.token(self._namespace(issuer), jti)))

    async def _asked(self, command: Literal["EXISTS", "GET"], mark: bytes) -> Any:
        """Ask about a mark; where none is found, and Redis has lost some, nobody can tell."""
        losses = self._redis.links.losses
        if not losses.heeded:
            await losses.look()
        found = await (self._redis.execute("EXISTS", mark) if command == "EXISTS" else self._redis.execute("GET", mark))
        if losses.lost and (found is None or found == 0):
            raise RedisUnavailable(MISSING)
        return found

    async def revocation(self, jti: str | bytes, *, issuer: str | None = None) -> dict[str, Any] | None:
        """Return what was recorded where this very token was revoked, perhaps nothing; None if it is not revoked."""
        mark = await self._asked("GET", self._redis.keys.token(self._namespace(issuer), jti))
        if mark is None:
            return None
        try:
            note = orjson.loads(mark or b"{}")
        except orjson.JSONDecodeError:  # a mark that others have set
            note = None
        return note if isinstance(note, dict) else {}

    async def unrevoke(self, jti: str | bytes, *, issuer: str | None = None) -> bool:
        """Take a revocation back; true if there was one."""
        return await self._marks.unset(self._redis.keys.token(self._namespace(issuer), jti))

    async def revoke_user(self, user: str, *, before: float | None = None, issuer: str | None = None) -> float:
        """Refuse every token of `user` whose `iat` is not after now, or not after `before`; return the cutoff.

        Times are seconds since the epoch; now is the Redis server's. An `iat` in whole seconds falls under a cutoff in
        the same second, so a token issued within a second after this call may be refused as well.
        """
        key = self._redis.keys.user(self._namespace(issuer), user)
        return await self._cut(key, None if before is None else round(before * 1_000_000)) / 1_000_000

    async def _cut(self, key: bytes, cutoff: int | None) -> int:
        return await self._marks.cut(key, self._longest + round(MAX_LEEWAY * 1000), cutoff)

    async def stats(self) -> RevocationStats:
        """Count the revoked tokens that have not expired, exact to the hour of expiry, without a scan."""
        flat = await self._redis.run_script(_COUNT, (self._redis.keys.revoked,), repeatable=True)
        by_hour = dict(zip(flat[::2], flat[1::2], strict=True))
        return {"revoked": sum(by_hour.values()), "by_hour": by_hour}

    async def mirrored(self, timeout: float = 30.0) -> MirrorStatus:
        """Begin to mirror in the running loop, and wait `timeout` seconds at most until that is done.

        Not needed: requests ask Redis until then. Raises `RedisTimeout`, after which it goes on trying all the same,
        and `ValueError` where nothing is mirrored.
        """
        mirror = self._mirror()
        try:
            async with asyncio.timeout(timeout):
                await mirror.ready()
        except TimeoutError:
            raise RedisTimeout("the blacklist is not mirrored yet") from None
        return mirror.status()

    def mirror_status(self) -> MirrorStatus:
        """Tell how the mirror of the running loop does; it is begun if it was not."""
        return self._mirror().status()

    # What `JWTAuth` asks.

    def look(self, keys: Keys, questions: Questions) -> bool | None:
        """Tell from the mirror whether a token is revoked; None if Redis must be asked."""
        if not self._mirrors(keys):
            return None
        mirror = self._mirror()
        return mirror.is_revoked(questions) if mirror.fresh else None

    def remembers(self, keys: Keys, questions: Questions) -> bool:
        """Tell whether the mirror knows a token as revoked, however long ago: Redis may have lost that."""
        return self._mirrors(keys) and self._mirror().is_revoked(questions)

    def recall(self, keys: Keys, questions: Questions, max_age: float) -> bool | None:
        """Tell whether a token is revoked as far as was known at most `max_age` seconds ago; None if that is not."""
        if not self._mirrors(keys):
            return None
        mirror = self._mirror()
        return mirror.is_revoked(questions) if mirror.is_known_for(max_age) else None

    def _mirrors(self, keys: Keys) -> bool:
        """Tell whether there is a mirror of the blacklist below `keys`; one of another says nothing about that."""
        return self.mode == "mirror" and keys is self._redis.keys

    def _mirror(self) -> Mirror:
        """The mirror of the running loop, begun if it was not."""
        if self.mode == "remote":
            raise ValueError('mode is "remote": there is no mirror')
        links, found = self._redis.links, self._found
        if found is not None and found[0] is links:
            return found[1]
        mirror = links.residents.get(self._options)
        if not isinstance(mirror, Mirror):
            mirror = links.residents[self._options] = Mirror(self._redis, self._options)
        self._found = (links, mirror)
        return mirror

    def _namespace(self, issuer: str | None) -> str:
        if self.by_issuer is (issuer is None):
            raise ValueError(f"issuer is {'missing' if self.by_issuer else 'given'}, but by_issuer is {self.by_issuer}")
        return issuer or ""

    def _mark(self, item: Revocation | str) -> Mark:
        token = self._redis.keys.token
        if item.__class__ is str and item and item[:3] != "eyJ":  # many are told at once like this: a third of the time
            return Mark(token(self._namespace(None), item), -self._longest)
        told = item if isinstance(item, Revocation) else Revocation(item)
        return Mark(token(self._namespace(told.issuer), told.jti), self._end(told), _note(told))

    def _end(self, item: Revocation) -> int:
        """The script's form of an end: ms since the epoch, or minus a life in ms."""
        if item.ttl is not None:
            return min(-1, -round(item.ttl * 1000))
        if item.expires_at is None:
            return -self._longest
        end = item.expires_at.timestamp() if isinstance(item.expires_at, datetime) else item.expires_at
        return max(0, round(end * 1000))


def _note(item: Revocation) -> bytes:
    """The mark's value: empty unless there is something to tell."""
    said = {name: value for name in _NOTED if (value := getattr(item, name)) is not None}
    return orjson.dumps(said) if said else b""
