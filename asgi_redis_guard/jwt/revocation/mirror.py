"""The mirror of the blacklist in one event loop: a snapshot, kept current by the stream; saves round trips while fresh.

Law: whether it is fresh is reckoned from when Redis was asked, never from when the answer came, by the loop's clock.
What Redis has lost (a restart without data, FLUSHALL, a failover that lost writes) and is known here is written back.
Marks end by the server's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from ...errors import OperationFailed, RedisUnavailable
from ...pubsub.stream import MOST, Entry, Stream
from ...redis.manager import RedisManager
from .marks import Witness
from .mirrored import Malformed, Revoked
from .questions import Questions
from .snapshot import MirrorOptions, Snapshots

logger = logging.getLogger("asgi_redis_guard.jwt")

#: Seconds after which Redis is told again that there is a mirror.
_SAY_AGAIN = 3600.0

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


class Mirror(Witness):
    """What is revoked, as far as one event loop knows."""

    def __init__(self, redis: RedisManager, options: MirrorOptions) -> None:
        self._redis, self._options = redis, options
        self._loop = asyncio.get_running_loop()
        self._known: Revoked | None = None
        #: When Redis was asked last whether that was all, by the loop's clock.
        self._proven = float("-inf")
        self._snapshots = Snapshots(redis, options)
        self._full = False
        self._lost = self._written_back = 0
        self._said = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        #: All that was written up to then (the server's clock, µs) is known here.
        self._upto = 0
        self._anew = False
        #: The incarnations that what is known here was read from.
        self._read_from: Mapping[bytes, tuple[bytes, bool, int]] = {}
        self._losses = redis.links.losses
        self._losses.heed()
        self._losses.listeners.append(self._lost_some)
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

    def is_revoked(self, questions: Questions) -> bool:
        """Tell whether a token is revoked by what is known."""
        known = self._known
        return known is not None and known.answers(questions)

    def note(self, key: bytes, *, revoked: bool, end: int = 0) -> None:
        """Take note of a mark that this process has set or taken back, before the stream tells."""
        if self._known is not None:
            if revoked:
                if not self._known.is_marked(key[-20:]):  # one that is known keeps its hour, which is not told again
                    self._known.mark(key[-20:], self._snapshots.hour_of(end))
            else:
                self._known.unmark(key[-20:])

    @property
    def holds(self) -> bool:
        """True once all is known: what is noted is given back where Redis loses it."""
        return self._known is not None and self._loading is None

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
        if known is None or self._is_outdated or not self._takes(known, state, entries):
            self._look_anew()
            return None
        if len(known) > self._options.max_entries:
            self._give_up()
            self._look_anew(_ONCE_SMALLER)
            return None
        if entries:
            self._snapshots.told(known.at / 1000)
            self._knows_upto(int(known.at))
        known.drop(self._snapshots.hour(), self._snapshots.oldest_cutoff())
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

    @property
    def _is_outdated(self) -> bool:
        """True where Redis may have had less when it was read than it has: what is given back is not always told."""
        return self._anew or self._losses.state != self._read_from

    def _lost_some(self) -> None:
        """Redis has lost data: all is looked at, and given back, as soon as what is read now has come."""
        self._anew = True

    async def _say_again(self) -> None:
        try:
            await self._snapshots.begin()
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
            asked, self._anew = self._loop.time(), False
            try:
                known = await self._look()
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
        self._full, self._said = False, asked
        self._prove(asked)
        self._stream.read(known.after)

    async def _look(self) -> Revoked | None:
        """Take a snapshot, and give back what Redis has lost; None where it is too much. Raises `RedisUnavailable`."""
        before = await self._losses.look()
        read_from, lost = self._losses.state, {key: name for key, (name, is_lost) in before.items() if is_lost}
        former, known = self._known, await self._snapshots.take()
        if known is None:
            return None
        if former is not None:
            await self._give_back(former, known, is_lost=bool(lost))
        self._known = known
        if await self._losses.look() != before:
            if former is not None:
                former.missing(known)  # which learns of what may have to be given back
            raise RedisUnavailable("Redis has lost its data meanwhile")
        self._read_from = read_from
        if lost and former is not None and self._redis.keys.key_tag is None:
            await self._losses.mend(lost, self._upto)
            self._read_from = self._losses.state  # another loss meanwhile is told
        return known

    async def _give_back(self, former: Revoked, known: Revoked, *, is_lost: bool) -> None:
        """Where Redis has lost what was known here, give it back."""
        if is_lost and self._redis.is_cluster:
            await self._snapshots.restore(former)
        if not is_lost and not await self._snapshots.has_lost(former, known):
            return
        count = await self._snapshots.give_back(former, known)
        if count:
            self._lost += 1
            self._written_back += count

    def _prove(self, asked: float) -> None:
        """Note that Redis was asked then for all that is known now; where that has lost something it proves nothing."""
        if not self._losses.lost:
            self._proven = asked
            self._knows_upto(self._snapshots.time_at(asked) * 1000)
            self._ready.set()

    def _knows_upto(self, at: int) -> None:
        if not self._losses.lost:
            self._upto = max(self._upto, at)

    def _give_up(self) -> None:
        """Know nothing: it is too much."""
        if not self._full:
            most = self._options.max_entries
            logger.warning("more than %d tokens and users are revoked: every request asks Redis", most)
        self._known, self._full, self._proven, self._upto = None, True, float("-inf"), 0
        self._ready.set()

    # Resident of the loop.

    async def aclose(self) -> None:
        """Follow no more."""
        await self._stream.aclose()

    def abandon(self) -> Any:
        """Let go without I/O."""
        return self._stream.abandon()

    def __repr__(self) -> str:
        return f"<Mirror of the blacklist: {self.status()['state']}, {self._known!r}>"
