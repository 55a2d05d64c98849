"""Refresh families in Redis: what becomes of one is decided by one script on one slot, in one round trip.

The access tokens of a family that was ended are in the blacklist when the call returns; an end that has failed half-way
is made whole by the same call once more. What is counted goes out in the background, after the reply; if that fails,
the counts are off, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from os import urandom
from weakref import WeakKeyDictionary

from ...core.script import Operation, Replies
from ...core.steps import Ask
from ...errors import RedisUnavailable
from ...redis.asking import carry_out
from ...redis.links import Links
from ...redis.manager import RedisManager
from ...redis.wait_replicas import Written, confirm
from ..revocation.marks import Mark, Marks
from ..revocation.questions import MISSING
from .families import (
    REUSE,
    Begun,
    Ended,
    FamilyLimits,
    FamilyOperations,
    Owner,
    Rotation,
    Verdict,
    attempt_of,
    cutoff_for_all,
)
from .family_counts import FamilyCounts, FamilyStats, stats, stats_of
from .family_look import Look, looking
from .refresh_token import RefreshToken, new_family

logger = logging.getLogger("asgi_redis_guard.jwt")

#: Times that a family is begun anew which was ended before its reply came.
_TRIES = 3


class FamilyStore:
    """Families of one service. `namespace` as in `Owner.of`. All methods raise `RedisUnavailable`.

    What is ended by a call counts when so many `replicas` have it, else `TooFewReplicas` is raised. Where a token comes
    again that was used, nobody waits for that: whoever presents it is refused in any case.
    """

    def __init__(
        self,
        redis: RedisManager | str | None,
        limits: FamilyLimits,
        *,
        namespace: str = "",
        statistics: bool = True,
        replicas: int = 0,
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        self._redis = RedisManager.of(redis)
        self._operations = FamilyOperations(self._redis.keys, limits)
        self._namespace = namespace
        self._marks = Marks(self._redis)
        self._statistics = statistics
        self._replicas = replicas
        self._random = random
        self._counts: WeakKeyDictionary[Links, FamilyCounts] = WeakKeyDictionary()
        self._counting: set[FamilyCounts] = set()

    def owner(self, user: str) -> Owner:
        """Return what stands for `user` in keys."""
        return Owner.of(self._namespace, user)

    async def begin(
        self, user: str, note: bytes = b"", *, device: str | None = None, session: str | None = None
    ) -> tuple[bytes, Begun]:
        """Begin a family of `user`, whose first token has the number 1; return its id, and what was said of it."""
        owner = self.owner(user)
        for _ in range(_TRIES):
            family = new_family(owner.tag, self._random)
            replies = await self._do(self._operations.begin(family, owner, self._attempt(), note, device, session))
            begun = Begun.of(replies[0])
            if begun is not None:
                break
        else:
            raise RedisUnavailable("all of the user's tokens were revoked again and again while one was issued")
        self._count(lambda counts: counts.begun(begun, replies.clock))
        return family, begun

    async def rotate(self, token: RefreshToken, tell: Callable[[Rotation], None] | None = None) -> Rotation:
        """Decide what becomes of a token whose mac is verified; what has begun before the cutoff for all is revoked.

        `tell` is called once that is known, whatever fails afterwards: that a token was reused is said once. So it is
        carried out to its end, even if the caller is cancelled.
        """
        return await asyncio.shield(self._redis.spawn(self._rotate(token, tell)))

    async def _rotate(self, token: RefreshToken, tell: Callable[[Rotation], None] | None) -> Rotation:
        replies = await self._whole(self._operations.rotate(token, self._attempt()))
        ((cutoff,), said) = replies[1].values, Rotation.of(replies[0])
        rotation = said._replace(verdict=said.verdict.under(cutoff, said.born))
        self._count(lambda counts: counts.presented(said, replies.clock))
        if tell is not None:
            tell(rotation)
        if said.verdict in (Verdict.REUSED, Verdict.REVOKED):
            await self._mark((token.family,), b'{"reason":"reuse"}' if said.ended_by in (b"", REUSE) else said.why)
        if rotation.verdict is not said.verdict:
            self._redis.spawn(self._clear(token.family))
        return rotation

    async def look(self, token: RefreshToken) -> Look:
        """Return what would become of such a token, and of its family; nothing is changed."""
        replies = await self._whole(looking(self._redis.keys, self._operations.limits, token))
        return Look.of(replies[0], replies[1].values[0])

    async def revoke(self, family: bytes, why: bytes = b"") -> Ended:
        """End a family, also what is left of one whose record is gone."""
        operation = self._operations.revoke(family, self._attempt(), why)
        replies, marked = await asyncio.gather(self._do(operation), self._mark((family,), why))  # at the same time
        await self._confirm((*_perhaps(operation), *marked))
        return self._ended(Ended.of_one(replies[0], family), replies)

    async def revoke_user(self, user: str, why: bytes = b"") -> Ended:
        """End all families of a user, and all tokens that were issued before this; `gen` is what later ones have."""
        operation = self._operations.revoke_user(self.owner(user), self._attempt(), why)
        ended = await self._sweep(user, operation)
        await self._cut_generations(user, ended.gen - 1, operation)
        return ended

    async def finish_user(self, user: str) -> None:
        """Do once more what `revoke_user` does last, if it came so far; what was issued since is left alone."""
        keys = self._redis.keys
        found = await self._redis.execute("GET", keys.generation(*self.owner(user)))
        gen = (found or b"").partition(b":")[0]
        if gen.isdigit():
            await self._cut_generations(user, int(gen) - 1)

    async def _cut_generations(self, user: str, last: int, operation: Operation | None = None) -> None:
        cutoff = self._redis.keys.generation_cutoff(self._namespace, user)
        await self._marks.cut(cutoff, self._keep, last)
        await self._confirm((Written(cutoff), *_perhaps(operation)))

    async def revoke_device(self, user: str, device: str, why: bytes = b"") -> Ended:
        """End all families that a user began on a device."""
        operation = self._operations.revoke_device(self.owner(user), device, self._attempt(), why)
        return await self._sweep(user, operation, why)

    async def revoke_session(self, user: str, session: str, why: bytes = b"") -> Ended:
        """End all families that a user began in a session."""
        operation = self._operations.revoke_session(self.owner(user), session, self._attempt(), why)
        return await self._sweep(user, operation, why)

    async def revoke_others(self, user: str, family: bytes, why: bytes = b"") -> Ended:
        """End all families of a user but this one."""
        operation = self._operations.revoke_others(self.owner(user), family, self._attempt(), why)
        return await self._sweep(user, operation, why)

    async def revoke_before(self, before: float | None = None) -> float:
        """Revoke what was issued before a time in seconds since the epoch, to whomever; return the cutoff.

        Without a time, or for one to come, that is now, by the server's clock. A cutoff is never moved back.
        """
        cutoff = None if before is None else round(before * 1_000_000)
        keep = self._keep + self._operations.limits.lifetime
        everybody = self._redis.keys.everybody(self._namespace)
        found = await self._marks.cut(everybody, keep, cutoff, ahead=False)
        await self._confirm((Written(everybody),))
        return found / 1_000_000

    async def statistics(self) -> FamilyStats:
        """Count families and what became of their tokens, without a scan."""
        counts = self._counts.get(self._redis.links)
        if counts:
            await self._do(counts.take(self._redis.keys, self._operations.limits.idle))
        return stats_of((await self._do(stats(self._redis.keys)))[0])

    async def _whole(self, operation: Operation) -> Replies:
        """Carry out what goes by the cutoff for all as well, which is asked with it.

        Raises where that may be lost while families are not: they lie on other nodes of a cluster.
        """
        losses = self._redis.links.losses
        if self._redis.is_cluster and not losses.heeded:
            await losses.look()  # before anything is changed
        if not (losses.heed() and self._redis.is_cluster):
            replies = await self._do(operation, cutoff_for_all(self._redis.keys, self._namespace))
            if not (losses.lost and self._redis.is_cluster):  # else it may have come back empty since it was asked
                return replies
        raise RedisUnavailable(MISSING)

    def _attempt(self) -> bytes:
        return attempt_of(self._random)

    async def _clear(self, family: bytes) -> None:
        """End a family that is over by the cutoff for all; it is over all the same where that fails."""
        with suppress(RedisUnavailable):
            await self.revoke(family)

    async def _sweep(self, user: str, operation: Operation, why: bytes | None = None) -> Ended:
        """End families of a user; where it is told `why`, mark them one by one."""
        replies = await self._do(operation)
        ended = self._ended(Ended.of_many(replies[0], self.owner(user)), replies)
        if why is not None:
            marked = await self._mark((*(family for family, _ in ended.families), *ended.before), why)
            await self._confirm((*_perhaps(operation), *marked))
        return ended

    async def _mark(self, families: Iterable[bytes], why: bytes) -> Iterable[Written]:
        """Put the access tokens of families that are over into the blacklist, for as long as they could live."""
        keys = self._redis.keys
        marks = [Mark(keys.family_mark(self._namespace, family.decode()), -self._keep, why) for family in families]
        if marks:
            await self._marks.set(marks, margin=0)
        return [Written(mark.key) for mark in marks]

    async def _confirm(self, written: Iterable[Written]) -> None:
        await confirm(self._redis, written, self._replicas, "it is revoked")

    @property
    def _keep(self) -> int:
        return self._operations.limits.keep

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


def _perhaps(operation: Operation | None) -> Iterable[Written]:
    """What an operation may have written; what is not there it has not."""
    return [Written(key, 0) for key in operation.keys] if operation is not None else ()
