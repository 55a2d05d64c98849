"""All that is revoked, read from Redis at once, and given back to a Redis that has lost it.

Law: it begins where the stream of revocations stands, so that nothing falls between. Time is the server's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ...core.checks import is_within
from ...core.lua import read_lua
from ...errors import RedisUnavailable
from ...redis.manager import RedisManager
from ...redis.program import Script
from ..policy import MAX_LEEWAY
from .marks import Mark, Marks
from .mirrored import Revoked, is_behind, skips

logger = logging.getLogger("asgi_redis_guard.jwt")

_BEGIN, _INDEX = (Script(read_lua(__package__, f"{name}.lua")) for name in ("mirror_begin", "mirror_index"))

#: How long Redis reckons with mirrors after one of them has said that it is there.
_RECKONED_WITH = 86_400_000

#: How long a cutoff is kept that was given back: it may be one for all users, which holds for refresh tokens as well.
_GIVEN_BACK = 400 * 86_400_000

#: Members, keys or marks in one command.
_PART = 1_000


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """What a mirror goes by; all in a loop that have the same share one."""

    max_stale: float
    max_entries: int
    longest: int  # ms, of a token's life


def mirror_faults(max_stale: float, max_entries: int) -> list[str]:
    """What is wrong with the options of a mirror."""
    faults = []
    if not is_within(max_stale, 0.1, 60):
        faults.append(f"max_stale: {max_stale!r} given; allowed are 0.1 to 60 seconds")
    if max_entries.__class__ is not int or not 1 <= max_entries <= 100_000_000:
        faults.append(f"max_entries: {max_entries!r} given; allowed are 1 to 100000000")
    return faults


class Snapshots:
    """What one mirror asks of Redis beside the stream. Everything raises `RedisUnavailable`."""

    def __init__(self, redis: RedisManager, options: MirrorOptions) -> None:
        self._redis, self._options = redis, options
        self._loop = asyncio.get_running_loop()
        #: The server's time in ms, and when it was that by the loop's clock.
        self._server = (0.0, 0.0)

    async def take(self) -> Revoked | None:
        """Return all that is revoked; None if that is too much."""
        known, is_indexed, hours = await self.begin()
        if not is_indexed:
            await self._index(known.epoch)
            known, is_indexed, hours = await self.begin(known.epoch)
            if not is_indexed:
                raise RedisUnavailable("the blacklist was emptied meanwhile")
        keys, execute = self._redis.keys, self._redis.execute
        users = int(await execute("ZCARD", keys.revoked_users))
        sizes = await asyncio.gather(*(execute("SCARD", keys.revoked_in(hour)) for hour in hours))
        if users + sum(sizes) > self._options.max_entries:
            return None
        for hour, size in zip(hours, sizes, strict=True):
            if size:
                async for marks in self._scan("SSCAN", keys.revoked_in(hour)):
                    for mark in marks:
                        known.mark(mark, hour)
        if users:
            await self._read_cutoffs(known)
        return known

    async def begin(self, indexed: bytes = b"") -> tuple[Revoked, bool, list[int]]:
        """Have Redis reckon with a mirror; return where it begins, whether all is indexed, and hours of marks' ends."""
        keys = self._redis.keys
        places = (keys.revoked, keys.revoked_mirrors, keys.revoked_stream)
        reply = await self._redis.run_script(_BEGIN, places, (_RECKONED_WITH, indexed), repeatable=True)
        epoch, last, now, is_indexed, *counts = reply
        self._server = (float(now), self._loop.time())
        hours = {int(hour) + near for hour in counts[::2] for near in (-1, 0, 1)}
        first = self.hour()
        hours.update(range(first - 1, first + self._options.longest // 3_600_000 + 3))
        return Revoked(bytes(epoch), bytes(last)), bool(is_indexed), sorted(hours)

    async def _index(self, epoch: bytes) -> None:
        """Index what was revoked before anybody mirrored it: once in an epoch, a walk through all keys."""
        keys = self._redis.keys
        logger.info("the blacklist is looked through for its first mirror")
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", keys.prefix) + "[tu]:*"
        length = len(keys.token_of(b"-" * 20))
        async for found in self._scan("SCAN", None, "MATCH", pattern):
            whole = [key for key in found if len(key) == length]
            marks = [key for key in whole if key == keys.token_of(key[-20:])]
            cutoffs = [key for key in whole if key == keys.user_of(key[-20:])]
            if marks or cutoffs:
                words = [word for pair in await self._left(marks) for word in pair]
                rest = [word for pair in await self._left(cutoffs) for word in pair]
                values = (len(words) // 2, *words, *rest)
                await self._redis.run_script(_INDEX, (keys.revoked, keys.revoked_users), values, repeatable=True)

    async def _left(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Return the digests in keys that are there still, each with the ms that it has left."""
        left = await asyncio.gather(*[self._redis.execute("PTTL", key) for key in keys])
        return [(key[-20:], int(ms)) for key, ms in zip(keys, left, strict=True) if int(ms) > 0]

    async def _scan(self, command: str, key: bytes | None, *more: str) -> AsyncIterator[list[bytes]]:
        cursor: bytes = b"0"
        while True:
            where = (cursor,) if key is None else (key, cursor)
            cursor, found = await self._redis.execute(command, *where, *more, "COUNT", _PART)
            yield found
            if int(cursor) == 0:
                return

    async def _read_cutoffs(self, known: Revoked) -> None:
        keys = self._redis.keys
        async for found in self._scan("ZSCAN", keys.revoked_users):
            users = found[::2]
            if users:
                values = await self._redis.execute("MGET", *(keys.user_of(user) for user in users))
                for user, value in zip(users, values, strict=True):
                    if value is not None:
                        known.cut(user, int(value))

    async def has_lost(self, former: Revoked, known: Revoked) -> bool:
        """Tell whether Redis, which knows `known`, has forgotten of what a mirror knew, or has another history since.

        A server that takes the place of another without its last entries goes on from those before them.
        """
        if former.epoch != known.epoch or is_behind(known.after, former.after):
            return True
        if former.after == known.after:
            return False
        stream = self._redis.keys.revoked_stream
        found = await self._redis.execute("XRANGE", stream, b"(" + former.after, b"+", "COUNT", 1)
        return bool(found) and skips(found[0][1] or (), former.after)

    def told(self, at: float) -> None:
        """Take it that it was `at` (ms) for the server: its clock may have been set back since it was asked."""
        if at < self._now():
            self._server = (at, self._loop.time())

    async def give_back(self, former: Revoked, known: Revoked) -> int:
        """Write what a mirror knew into a Redis that knows less; `known`, what that has, learns it. Return how much."""
        marks, cutoffs = former.missing(known)
        if not marks and not cutoffs:
            return 0
        where, count = self._redis.address, len(marks) + len(cutoffs)
        logger.warning("Redis at %s has lost revocations; %d that were known here are written back", where, count)
        keys, write = self._redis.keys, Marks(self._redis)
        for start in range(0, len(marks), _PART):
            part = marks[start : start + _PART]
            await write.set(
                [Mark(keys.token_of(mark), (hour + 1) * 3_600_000) for mark, hour in part], margin=0, known=True
            )
        for user, cutoff in cutoffs:
            await write.cut(keys.user_of(user), max(self._kept, _GIVEN_BACK), cutoff, known=True)
        return count

    async def restore(self, former: Revoked) -> None:
        """Write all of it again: some node of a cluster lost what is in the index still, which lies elsewhere."""
        keys, write = self._redis.keys, Marks(self._redis)
        marks = [Mark(keys.token_of(mark), (hour + 1) * 3_600_000) for mark, hour in former.marks()]
        cutoffs = [(keys.user_of(user), cutoff) for user, cutoff in former.cutoffs.items()]
        keep = max(self._kept, _GIVEN_BACK)
        for start in range(0, len(marks), _PART):
            await write.restore(marks[start : start + _PART], (), keep)
        await write.restore((), cutoffs, keep)

    @property
    def _kept(self) -> int:
        """How long a cutoff is kept, in ms."""
        return self._options.longest + round(MAX_LEEWAY * 1000)

    def _now(self) -> float:
        """The server's time in ms, as far as it can be told: never ahead of it by more than clocks drift."""
        at, since = self._server
        return at + (self._loop.time() - since) * 1000

    def time_at(self, at: float) -> int:
        """The server's time in ms when the loop's clock was `at`: never ahead of it but by what clocks drift."""
        return int(self._now() - (self._loop.time() - at) * 1000)

    def hour(self) -> int:
        """The hour since the epoch."""
        return int(self._now() // 3_600_000)

    def hour_of(self, end: int) -> int:
        """The hour in which a mark ends that was set now; `end` as of `Mark`. It is kept until that is over."""
        ends = self._now() - end if end < 0 else end
        return max(self.hour() + 1, int(ends // 3_600_000) + 1)

    def oldest_cutoff(self) -> int:
        """The earliest cutoff that can still matter, in µs: no token is older."""
        return round((self._now() - self._kept) * 1000)
