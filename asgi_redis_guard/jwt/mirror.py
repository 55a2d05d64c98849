"""The mirror of the blacklist in one event loop: a snapshot, kept current by the stream; saves round trips while fresh.

Law: whether it is fresh is reckoned from when Redis was asked, never from when the answer came, by the loop's clock.
What Redis has lost (a restart without data, FLUSHALL, a failover that lost writes) and is known here is written back.
Marks end by the server's clock.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ..core.lua import read_lua
from ..errors import OperationFailed, RedisUnavailable
from ..pubsub.stream import MOST, Entry, Stream
from ..redis.manager import RedisManager
from ..redis.program import Script
from .mirrored import Malformed, Revoked, by, is_behind
from .policy import MAX_LEEWAY

logger = logging.getLogger("asgi_redis_guard.jwt")

_BEGIN, _INDEX, _REVOKE, _CUTOFF = (
    Script(read_lua(__package__, f"{name}.lua")) for name in ("mirror_begin", "mirror_index", "revoke", "cutoff")
)

#: How long Redis reckons with mirrors after the last of them has begun or said so again, and how often each says it.
_RECKONED_WITH, _SAY_AGAIN = 86_400_000, 3600.0

#: Members, keys or marks in one command.
_PART = 2_000

#: Seconds until a snapshot that failed is tried again, and one that was too large.
_AGAIN, _ONCE_SMALLER = 0.5, 60.0


class MirrorStatus(TypedDict):
    """How a mirror does. `age` is how many seconds ago Redis was asked last that all is known, None if never.

    `fresh`: asked within `max_stale`; `stale`: before that; `loading`: no snapshot yet; `full`: the blacklist is larger
    than `max_entries`. `lost` counts how often Redis had lost what was known here, `written_back` what it got again.
    """

    state: Literal["loading", "fresh", "stale", "full"]
    age: float | None
    entries: int
    lost: int
    written_back: int


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """What a mirror goes by; all in a loop that have the same share one."""

    max_stale: float
    max_entries: int
    longest: int  # ms, of a token's life


class Mirror:
    """What is revoked, as far as one event loop knows."""

    def __init__(self, redis: RedisManager, options: MirrorOptions) -> None:
        self._redis, self._options = redis, options
        self._loop = asyncio.get_running_loop()
        self._known: Revoked | None = None
        #: When Redis was asked last whether that was all, by the loop's clock.
        self._proven = float("-inf")
        #: The server's time in ms, and when it was that.
        self._server = (0.0, 0.0)
        self._full = False
        self._lost = self._written_back = 0
        self._said = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        keys = redis.keys
        self._stream = Stream(
            redis,
            keys.revoked_stream,
            (keys.revoked_mirrors, b"epoch", b"last"),
            self,
            beat=min(1.0, options.max_stale / 4),
            what="The stream of revocations",
        )

    # What it says.

    @property
    def fresh(self) -> bool:
        """True while what is known here is what Redis would say, but for `max_stale` seconds."""
        return self.is_known_for(self._options.max_stale)

    def is_known_for(self, age: float) -> bool:
        """Tell whether everything was known here at some time in the last `age` seconds."""
        return self._loop.time() - self._proven <= age

    def is_revoked(self, keys: Sequence[bytes], issued_at: int) -> bool:
        """Tell whether a token is revoked by what is known: by its mark's key, and its user's if it has one."""
        known = self._known
        if known is None:
            return False
        if known.is_marked(keys[0][-20:]):
            return True
        return len(keys) > 1 and issued_at <= known.cutoffs.get(keys[1][-20:], -1)

    def note(self, key: bytes, *, revoked: bool) -> None:
        """Take note of a mark that this process has set or taken back, before the stream tells."""
        if self._known is not None:
            if revoked:
                self._known.mark(key[-20:], self._hour() + 1)
            else:
                self._known.unmark(key[-20:])

    def note_cutoff(self, key: bytes, cutoff: int) -> None:
        """The same for a user's cutoff."""
        if self._known is not None:
            self._known.cut(key[-20:], cutoff)

    async def ready(self) -> None:
        """Wait until it is fresh, or full."""
        while not self.fresh and not self._full:
            self._ready.clear()
            await self._ready.wait()

    def status(self) -> MirrorStatus:
        """Tell how it does."""
        age = self._loop.time() - self._proven
        state: Literal["loading", "fresh", "stale", "full"] = "stale"
        if self._full:
            state = "full"
        elif self._known is None:
            state = "loading"
        elif self.fresh:
            state = "fresh"
        entries = 0 if self._known is None else len(self._known)
        known_age = None if age == float("inf") else age
        return MirrorStatus(
            state=state, age=known_age, entries=entries, lost=self._lost, written_back=self._written_back
        )

    def warnings(self) -> Mapping[str, str]:
        """What `health()` is to say."""
        found = {}
        if self._full:
            found["mirror_full"] = (
                f"more than {self._options.max_entries} tokens and users are revoked: they are not mirrored, and every "
                "request asks Redis"
            )
        elif not self.fresh:
            found["mirror_stale"] = "the mirror of the blacklist is not current: every request asks Redis"
        if self._lost:
            found["revocations_lost"] = (
                f"Redis has lost revocations {self._lost} times; {self._written_back} that were known here were "
                "written back"
            )
        return found

    # Follower of the stream.

    def linked(self) -> None:
        """Look at everything, then follow."""
        self._look_anew()

    def unlinked(self) -> None:
        """Nothing more is heard for now."""
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None

    def heard(self, asked: float, state: Sequence[Any], entries: Sequence[Entry]) -> bytes | None:
        """Take what was told; where something is missing, look at everything anew."""
        known = self._known
        if known is None or not self._takes(known, state, entries):
            self._look_anew()
            return None
        if len(known) > self._options.max_entries:
            self._give_up()
            self._look_anew(_ONCE_SMALLER)
            return None
        known.drop(self._hour(), self._oldest_cutoff())
        if len(entries) < MOST:
            self._prove(asked)
        if self._loop.time() - self._said > _SAY_AGAIN:
            self._said = self._loop.time()
            self._stream.spawn(self._say_again())
        return known.after

    def _takes(self, known: Revoked, state: Sequence[Any], entries: Sequence[Entry]) -> bool:
        epoch, last = state
        if epoch != known.epoch:
            return False
        if not entries:
            return bool(last == known.after)  # else there was an entry that is not after ours: trimmed, or behind
        try:
            return all(known.take(after, fields) for after, fields in entries)
        except Malformed:
            logger.warning("an entry of the stream of revocations cannot be read; all are looked at again")
            return False

    async def _say_again(self) -> None:
        try:
            await self._begin()
        except RedisUnavailable as error:
            logger.debug("Redis cannot be told of the mirror: %s", error)

    # The snapshot.

    def _look_anew(self, later: float = 0.0) -> None:
        if self._loading is not None:
            self._loading.cancel()
        self._loading = self._stream.spawn(self._load(later))

    async def _load(self, later: float) -> None:
        """Look at everything, again and again until that succeeds, then follow the stream."""
        told = False
        while True:
            await asyncio.sleep(later)
            asked = self._loop.time()
            try:
                known = await self._snapshot()
            except RedisUnavailable as error:
                later = _AGAIN
                if isinstance(error, OperationFailed) and not told:
                    told = True
                    logger.warning("the blacklist cannot be mirrored: %s", error)
                continue
            if known is not None:
                break
            self._give_up()
            later = _ONCE_SMALLER
        self._loading = None
        self._known, self._full = known, False
        self._prove(asked)
        self._stream.read(known.after)

    def _prove(self, asked: float) -> None:
        self._proven = asked
        self._ready.set()

    def _give_up(self) -> None:
        """Know nothing: it is too much."""
        if not self._full:
            most = self._options.max_entries
            logger.warning("more than %d tokens and users are revoked: every request asks Redis", most)
        self._known, self._full, self._proven = None, True, float("-inf")
        self._ready.set()

    async def _snapshot(self) -> Revoked | None:
        """Return all that is revoked; None if that is too much. Raises `RedisUnavailable`."""
        known, is_indexed, hours = await self._begin()
        if not is_indexed:
            await self._index(known.epoch)
            known, is_indexed, hours = await self._begin(known.epoch)
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
        await self._write_back(known)
        return known

    async def _begin(self, indexed: bytes = b"") -> tuple[Revoked, bool, list[int]]:
        """Have Redis reckon with a mirror; return where it begins, whether all is indexed, and hours of marks' ends."""
        keys = self._redis.keys
        places = (keys.revoked, keys.revoked_mirrors, keys.revoked_users)
        self._said = self._loop.time()
        reply = await self._redis.run_script(_BEGIN, places, (_RECKONED_WITH, indexed), repeatable=True)
        epoch, last, now, is_indexed, _, *counts = reply
        self._server = (float(now), self._loop.time())
        hours = {int(hour) + near for hour in counts[::2] for near in (-1, 0, 1)}
        first = self._hour()
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
                places = (keys.revoked, keys.revoked_users, *marks, *cutoffs)
                await self._redis.run_script(_INDEX, places, (len(marks),), repeatable=True)

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

    async def _write_back(self, known: Revoked) -> None:
        """Where Redis has lost what was known here, give it back; `known` is what it has now."""
        former = self._known
        if former is None or (former.epoch == known.epoch and not is_behind(known.after, former.after)):
            return
        marks, cutoffs = former.missing(known)
        if not marks and not cutoffs:
            return
        self._lost += 1
        where, count = self._redis.address, len(marks) + len(cutoffs)
        logger.warning("Redis at %s has lost revocations; %d that were known here are written back", where, count)
        keys, run = self._redis.keys, self._redis.run_script
        for part in by(_PART, marks):
            ends = [word for _, hour in part for word in ((hour + 1) * 3_600_000, b"")]
            places = (keys.revoked, keys.revoked_mirrors, keys.revoked_stream)
            await run(_REVOKE, (*places, *(keys.token_of(mark) for mark, _ in part)), (0, *ends), repeatable=True)
            self._written_back += len(part)
        for user, cutoff in cutoffs:
            places = (keys.revoked_users, keys.revoked_mirrors, keys.revoked_stream)
            await run(_CUTOFF, (*places, keys.user_of(user)), (self._kept, cutoff), repeatable=True)
            self._written_back += 1

    @property
    def _kept(self) -> int:
        """How long a cutoff is kept, in ms."""
        return self._options.longest + round(MAX_LEEWAY * 1000)

    def _now(self) -> float:
        """The server's time in ms, as far as it can be told: never ahead of it by more than clocks drift."""
        at, since = self._server
        return at + (self._loop.time() - since) * 1000

    def _hour(self) -> int:
        return int(self._now() // 3_600_000)

    def _oldest_cutoff(self) -> int:
        return round((self._now() - self._kept) * 1000)

    # Resident of the loop.

    async def aclose(self) -> None:
        """Follow no more."""
        await self._stream.aclose()

    def abandon(self) -> Any:
        """Let go without I/O."""
        return self._stream.abandon()

    def __repr__(self) -> str:
        return f"<Mirror of the blacklist: {self.status()['state']}, {self._known!r}>"
