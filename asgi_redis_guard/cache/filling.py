"""What making a value needs of Redis: looking for it, taking and giving back its fill, storing what was made.

Law: a lookup that is cancelled leaves no fill taken. Who makes a value, and who waits, is the business of `making.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, NamedTuple

from ..core.script import Operation
from ..core.steps import Ask
from ..errors import EntryUnreadable, RedisUnavailable
from ..redis.asking import carry_out
from ..redis.manager import RedisManager
from .entry import Entry
from .events import ValueHook, ValueOutcome, value_event
from .found import Found
from .operations import release
from .recall import Kept, Recall, Spot

logger = logging.getLogger("asgi_redis_guard.cache")

#: Makes a value: a coroutine function runs here, a plain one in a thread.
Make = Callable[[], Any]


class Terms(NamedTuple):
    """What all fills of a `Cache` have in common: see there."""

    jitter: float
    early: float
    wait: float
    hooks: tuple[ValueHook, ...]


class Filling:
    """Finds values, and has them made."""

    def __init__(self, redis: RedisManager, recall: Recall, terms: Terms) -> None:
        self.redis = redis
        self.recall = recall
        self.terms = terms
        self._beta = round(terms.early * 1000)

    async def renew(self, spot: Spot, value: Any, kept: Kept) -> bool:
        """Keep a value in place of what there is; false where it was invalidated meanwhile, or a later one is there.

        Raises `RedisUnavailable`, and TypeError or ValueError for what cannot be kept.
        """
        found = self.recall.begun(spot, await carry_out(self.redis, Ask(self.recall.beginnings(spot))))
        entry = self.recall.entry(found, value, kept, self.factor, 0.0)
        return await self.store(spot, found, entry) is not None

    # What a fill needs.

    @property
    def factor(self) -> float:
        """What a lifetime is multiplied by, so that what was stored at once does not end at once."""
        return 1.0 - self.terms.jitter * random.random()  # noqa: S311 - no secret

    def tell(self, spot: Spot, outcome: ValueOutcome, reason: str = "", *, size: int = 0, seconds: float = 0.0) -> None:
        """Give an event to the hooks."""
        value_event(self.terms.hooks, spot.namespace, spot.label, outcome, reason, size, seconds)

    async def look(self, spot: Spot) -> Found:
        """Look for a value, and take its fill where it is to be made. Raises `RedisUnavailable`."""
        redis, recall = self.redis, self.recall
        token = redis.links.identity
        try:
            replies = await carry_out(redis, recall.questions(spot, token, self._beta))
        except asyncio.CancelledError:
            if redis.flights.find(spot.place.flight) is None:
                self.give_back(spot, token)  # it may have been taken all the same
            raise
        found, data = recall.found(spot, token, replies)
        if data and not found.again:
            try:
                if recall.is_cut(data):
                    data = await redis.execute("GET", spot.place.entry) or b""
            except (EntryUnreadable, RedisUnavailable):
                return found
            found = recall.examined(found, data)
        return found

    async def store(self, spot: Spot, found: Found, entry: Entry) -> int | None:
        """Store an entry; return the server's µs, None where it was refused. Raises `RedisUnavailable`."""
        at, operations = self.recall.storing(spot, found, entry)
        replies = await carry_out(self.redis, Ask(operations, shadow=True))
        reply = list(replies)[at]
        if not (reply.passed and reply.committed):
            self.tell(spot, "refused", "invalidated")
            return None
        self.recall.stored(spot, entry)
        self.tell(spot, "stored", size=len(entry.body), seconds=entry.delta / 1e6)
        return replies.clock

    def give_back(self, spot: Spot, token: bytes) -> None:
        """Give a fill back, in the background."""
        self.redis.spawn(self._do([release(self.recall.keys, spot.place, token)]))

    async def _do(self, operations: list[Operation]) -> None:
        try:
            await carry_out(self.redis, Ask(operations))
        except RedisUnavailable as error:
            logger.debug("a fill was not given back: %s", error)  # it ends by its time

    def value_of(self, entry: Entry) -> Any:
        """Return the value of an entry; raises `EntryUnreadable`."""
        return self.recall.serializing.load(entry.headers, entry.body)


async def called(make: Make) -> Any:
    """Call a function: a plain one in a thread, for it may block."""
    if iscoroutinefunction(make) or iscoroutinefunction(getattr(make, "__call__", None)):  # noqa: B004 - of an object
        return await make()
    value = await asyncio.to_thread(make)
    return await value if isawaitable(value) else value


async def side_by_side(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all of them at once; raises the first error when all have ended."""
    if len(work) == 1:
        return await work[0]
    for done in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done
    return None
