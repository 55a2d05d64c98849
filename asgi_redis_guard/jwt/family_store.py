"""Refresh families in Redis: each call is one script on one slot, and one round trip.

What is counted of it goes out in the background, after the reply; if that fails, the counts are off, nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from os import urandom
from weakref import WeakKeyDictionary

from ..core.script import Operation, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable
from ..redis.asking import carry_out
from ..redis.links import Links
from ..redis.manager import RedisManager
from .families import (
    Begun,
    Ended,
    FamilyLimits,
    FamilyOperations,
    Owner,
    Rotation,
    attempt_of,
    epoch,
)
from .family_counts import FamilyCounts, FamilyStats, stats, stats_of
from .refresh_token import RefreshToken, new_family

logger = logging.getLogger("asgi_redis_guard.jwt")

#: Times that a family is begun anew which was ended before its reply came.
_TRIES = 3


class FamilyStore:
    """Families of one service. `namespace` as in `Owner.of`. All methods raise `RedisUnavailable`."""

    def __init__(
        self,
        redis: RedisManager | str | None,
        limits: FamilyLimits,
        *,
        namespace: str = "",
        statistics: bool = True,
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        self._redis = RedisManager.of(redis)
        self._operations = FamilyOperations(self._redis.keys, limits)
        self._namespace = namespace
        self._statistics = statistics
        self._random = random
        self._counts: WeakKeyDictionary[Links, FamilyCounts] = WeakKeyDictionary()
        self._counting: set[FamilyCounts] = set()

    def owner(self, user: str) -> Owner:
        """Return what stands for `user` in keys."""
        return Owner.of(self._namespace, user)

    async def begin(
        self, user: str, note: bytes = b"", *, device: str | None = None, session: str | None = None
    ) -> tuple[bytes, Begun]:
        """Begin a family of `user`, whose first token has the generation 1; return its id, and what was said of it."""
        owner = self.owner(user)
        for _ in range(_TRIES):
            family = new_family(owner.tag, self._random)
            replies = await self._do(
                self._operations.begin(family, owner, attempt_of(self._random), note, device, session)
            )
            begun = Begun.of(replies[0])
            if begun is not None:
                break
        else:
            raise RedisUnavailable("all of the user's tokens were revoked again and again while one was issued")
        self._count(lambda counts: counts.begun(begun, replies.clock))
        return family, begun

    async def rotate(self, token: RefreshToken) -> Rotation:
        """Decide what becomes of a token whose mac is verified; what has begun before the cutoff for all is revoked."""
        operation = self._operations.rotate(token, attempt_of(self._random))
        replies = await self._do(operation, epoch(self._redis.keys))
        ((since,), said) = replies[1].values, Rotation.of(replies[0])
        self._count(lambda counts: counts.presented(said, replies.clock))
        rotation = said.under(since)
        if rotation is not said:
            self._redis.spawn(self._clear(token.family))
        return rotation

    async def revoke(self, family: bytes, why: bytes = b"") -> Ended:
        """End a family; without effect on one that is over, or never was."""
        replies = await self._do(self._operations.revoke(family, attempt_of(self._random), why))
        return self._ended(Ended.of_one(replies[0], family), replies)

    async def revoke_user(self, user: str, why: bytes = b"") -> Ended:
        """End all families of a user, and all tokens that were issued before this; `gen` is what later ones have."""
        return await self._sweep(user, self._operations.revoke_user(self.owner(user), self._attempt(), why))

    async def revoke_device(self, user: str, device: str, why: bytes = b"") -> Ended:
        """End all families that a user began on a device."""
        return await self._sweep(user, self._operations.revoke_device(self.owner(user), device, self._attempt(), why))

    async def revoke_session(self, user: str, session: str, why: bytes = b"") -> Ended:
        """End all families that a user began in a session."""
        return await self._sweep(user, self._operations.revoke_session(self.owner(user), session, self._attempt(), why))

    async def revoke_others(self, user: str, family: bytes, why: bytes = b"") -> Ended:
        """End all families of a user but this one."""
        return await self._sweep(user, self._operations.revoke_others(self.owner(user), family, self._attempt(), why))

    async def revoke_before(self, before: float | None = None) -> float:
        """Revoke what was issued before a time in seconds since the epoch, to whomever; return the cutoff.

        Without a time, or for one to come, that is now, by the server's clock. A cutoff is never moved back.
        """
        replies = await self._do(self._operations.revoke_before(None if before is None else round(before * 1_000_000)))
        return float(replies[0].values[0]) / 1_000_000

    async def statistics(self) -> FamilyStats:
        """Count families and what became of their tokens, without a scan."""
        counts = self._counts.get(self._redis.links)
        if counts:
            await self._do(counts.take(self._redis.keys, self._operations.limits.idle))
        return stats_of((await self._do(stats(self._redis.keys)))[0])

    def _attempt(self) -> bytes:
        return attempt_of(self._random)

    async def _clear(self, family: bytes) -> None:
        """End a family that is over by the cutoff for all; it is over all the same where that fails."""
        with suppress(RedisUnavailable):
            await self.revoke(family)

    async def _sweep(self, user: str, operation: Operation) -> Ended:
        replies = await self._do(operation)
        return self._ended(Ended.of_many(replies[0], self.owner(user)), replies)

    def _ended(self, ended: Ended, replies: Replies) -> Ended:
        if ended.families:
            self._count(lambda counts: counts.ended(ended, replies.clock))
        return ended

    async def _do(self, *operations: Operation) -> Replies:
        return await carry_out(self._redis, Ask(operations))

    def _count(self, change: Callable[[FamilyCounts], None]) -> None:
        """Count something, and see to it that it is sent: what comes while that is under way goes out together."""
        if not self._statistics:
            return
        counts = self._counts.setdefault(self._redis.links, FamilyCounts())
        change(counts)
        if counts and counts not in self._counting:
            self._counting.add(counts)
            self._redis.spawn(self._send(counts))

    async def _send(self, counts: FamilyCounts) -> None:
        try:
            while counts:
                await self._do(counts.take(self._redis.keys, self._operations.limits.idle))
        except RedisUnavailable as error:
            logger.debug("statistics of refresh families could not be sent: %s", error)
        finally:
            self._counting.discard(counts)

    def __repr__(self) -> str:
        return f"<FamilyStore on {self._redis!r}>"
