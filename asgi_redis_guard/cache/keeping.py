"""What a `Cache` does with values whose place is known: reading, replacing, forgetting, invalidating."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..core.lua import read_lua
from ..core.script import Operation
from ..core.steps import Ask
from ..errors import EntryRefused, EntryUnreadable, RedisUnavailable
from ..redis.asking import carry_out
from ..redis.manager import RedisManager
from ..redis.program import Script
from .entry import Entry
from .filling import Filling, Make, Terms, called, side_by_side
from .making import Making
from .operations import drop
from .owed import Owed
from .recall import Lifetime, Recall, Spot
from .serializing import Serializing
from .value_options import ValueOptions

logger = logging.getLogger("asgi_redis_guard.cache")

_PEEK = Script(read_lua(__package__, "peek.lua"))

#: Looks at values; where they have other tags than were thought, another is needed.
_MOST_PEEKS = 3

#: Values that are read in one call.
_MOST_READ = 200

#: Times that a value is set anew where it was invalidated while it was: that is as good as afterwards then.
_MOST_SETS = 3

T = TypeVar("T")


class Keeping:
    """The values of one `Cache` in one Redis."""

    def __init__(self, redis: RedisManager, options: ValueOptions) -> None:
        self.redis = redis
        self._recall = Recall(redis.keys, options.codec(), Serializing(options.serializer))
        self._filling = Filling(redis, self._recall, Terms(options.jitter, options.early, options.wait, options.hooks))
        #: What Redis could not be told: it is told before anything else is asked.
        self._owed = Owed()

    def spot(self, namespace: str, parts: Sequence[str | bytes], tags: Iterable[str], label: str) -> Spot:
        """Return where a value stands that goes by `parts`, and what its tags are."""
        return self._recall.spot(namespace, parts, tags, label)

    # Reading.

    async def obtain(self, spot: Spot, make: Make, lifetime: Lifetime) -> Any:
        """Return a value that is kept, or made and kept."""
        await self._settle(raises=False)
        if self._owed:
            self._filling.tell(spot, "bypass", "unavailable")
            return await called(make)
        return await Making(self._filling, spot, make, lifetime).run()

    async def read(self, spots: Sequence[Spot]) -> dict[str, Any]:
        """Return the fresh values of those spots that have one, by their labels; none while Redis is away."""
        found: dict[str, Any] = {}
        await self._settle(raises=False)
        for some in _chunks(spots, _MOST_READ):
            try:
                found |= await self._read(some)
            except RedisUnavailable:
                for spot in some:
                    self._filling.tell(spot, "bypass", "unavailable")
        return found

    async def _read(self, spots: Sequence[Spot]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._owed:
            raise RedisUnavailable("what was written last is not told yet")
        for _ in range(_MOST_PEEKS):
            keys = list(dict.fromkeys(key for spot in spots for key in self._recall.wanted(spot)))
            clock, values = await self._peek(keys)
            told = dict(zip(keys, values, strict=True))
            again = []
            for spot in spots:
                entry = self._recall.read(spot, told, clock)
                if entry is True:
                    again.append(spot)
                elif isinstance(entry, Entry) and self._take(spot, entry, found):
                    self._filling.tell(spot, "hit", size=len(entry.body))
                else:
                    self._filling.tell(spot, "miss")
            if not again:
                break
            spots = again
        return found

    async def _peek(self, keys: Sequence[bytes]) -> tuple[int, Sequence[Any]]:
        """Return the server's time in µs, and what stands under keys.

        On a cluster they are not read at one moment: a value that was written or invalidated meanwhile is a miss, or is
        what it was when the call began.
        """
        if not self.redis.is_cluster:
            clock, *values = await self.redis.run_script(_PEEK, tuple(keys), repeatable=True)
            return int(clock), values
        (seconds, micros), values = await asyncio.gather(self.redis.execute("TIME"), self.redis.execute("MGET", *keys))
        return int(seconds) * 1_000_000 + int(micros), values

    def _take(self, spot: Spot, entry: Entry, found: dict[str, Any]) -> bool:
        try:
            found[spot.label] = self._filling.value_of(entry)
        except EntryUnreadable as error:
            logger.warning("%s: %s", spot.label, error)
            return False
        return True

    # Writing.

    async def write(self, spots: Iterable[Spot], values: Iterable[Any], lifetime: Lifetime) -> None:
        """Keep values in place of what there is. Raises `RedisUnavailable`; TypeError for what cannot be kept."""
        await self._settle(raises=True)
        await side_by_side([self._write(spot, value, lifetime) for spot, value in zip(spots, values, strict=True)])

    async def _write(self, spot: Spot, value: Any, lifetime: Lifetime) -> None:
        try:
            for _ in range(_MOST_SETS):
                if await self._filling.renew(spot, value, lifetime):
                    return
        except EntryRefused as error:
            raise ValueError(f"{spot.label}: {error}") from None

    async def replace(self, spot: Spot, make: Make, lifetime: Lifetime) -> Any:
        """Make a value and keep it, unless another write came between, of which nobody knows which was the last.

        Where Redis is away, what there is is forgotten as soon as it is back.
        """
        before = None
        try:
            await self._settle(raises=True)
            before = await self._filling.begin(spot)
        except RedisUnavailable:
            pass
        value = await called(make)
        try:
            if before is None:
                raise RedisUnavailable("it was away before the value was made")
            await self._filling.replace(spot, before, value, lifetime)
        except RedisUnavailable as error:
            self._owed.add(drop(spot.place))
            logger.warning("%s is not kept, and what there was will be forgotten: %s", spot.label, error)
        except BaseException:
            self._owed.add(drop(spot.place))  # it cannot be kept, or nobody waits for it, and what there was is old
            self.redis.spawn(self._settle(raises=False))
            raise
        return value

    async def forget(self, spots: Iterable[Spot]) -> None:
        """Forget values. Raises `RedisUnavailable`."""
        await self.perform([operation for spot in spots for operation in drop(spot.place)])

    async def perform(self, operations: Sequence[Operation]) -> None:
        """Carry out operations that write, in as few round trips as they fit into. Raises `RedisUnavailable`."""
        await self._settle(raises=True)
        for some in halves(operations):
            await carry_out(self.redis, Ask(some))

    # What is owed.

    async def _settle(self, *, raises: bool) -> None:
        """Tell Redis what it could not be told before."""
        while self._owed:
            some = self._owed.some()
            try:
                await carry_out(self.redis, Ask([operation for operation, _ in some]))
            except RedisUnavailable:
                if raises:
                    raise
                return
            self._owed.paid(some)


def halves(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut into parts of 32, 16, 8, 4, 2 and 1: each length that is asked for is a program of its own."""
    at, size = 0, 32
    while at < len(items):
        while size > len(items) - at:
            size //= 2
        yield items[at : at + size]
        at += size


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
