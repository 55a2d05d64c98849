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
from ..middleware.waits import Gone
from ..redis.asking import carry_out
from ..redis.manager import RedisManager
from .entry import Entry
from .events import ValueHook, ValueOutcome, value_event
from .found import Found
from .operations import TOPIC, release, renew
from .recall import Lifetime, Recall, Spot

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
        #: By fill, what wakes the leader of this process that waits for another process.
        self._words: dict[bytes, asyncio.Future[None]] = {}

    async def begin(self, spot: Spot) -> Found:
        """Return the generations that a value is set under. Raises `RedisUnavailable`."""
        return self.recall.begun(spot, await carry_out(self.redis, Ask(self.recall.beginnings(spot))))

    async def renew(self, spot: Spot, value: Any, lifetime: Lifetime) -> bool:
        """Keep a value in place of what there is; false where it was invalidated meanwhile, or a later one is there.

        Raises `RedisUnavailable`, and TypeError or ValueError for what cannot be kept.
        """
        found = await self.begin(spot)
        entry = self.recall.entry(found, value, lifetime, self.factor, 0.0)
        return await self.store(spot, found, entry) is not None

    async def replace(self, spot: Spot, before: Found, value: Any, lifetime: Lifetime) -> None:
        """Keep what a write has returned, and nothing where another write may have come between `before` and now.

        Fills that are under way, which may have read what was there before, are not kept. Raises as `renew`.
        """
        replies = await carry_out(self.redis, Ask(self.recall.replacing(spot, before)))
        found = self.recall.replaced(before, replies)
        if found is None:
            self.tell(spot, "refused", "invalidated")
        else:
            await self.store(spot, found, self.recall.entry(found, value, lifetime, self.factor, 0.0))

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
            redis.spawn(self._left(spot, token))  # it may have been taken all the same
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

    async def gone(self, spot: Spot) -> None:
        """Wait until another process's fill has ended, or this process has taken it meanwhile."""
        place = spot.place
        word = self._words[place.fill] = asyncio.get_running_loop().create_future()
        gone = asyncio.ensure_future(Gone(self.redis, TOPIC, place.word, place.fill).wait())
        gone.add_done_callback(lambda _: self.wake(spot))
        try:
            await word
        finally:
            gone.cancel()
            self._words.pop(place.fill, None)

    def wake(self, spot: Spot) -> None:
        """Let the leader look again: a lookup beside it has taken the fill in the name of this process."""
        word = self._words.get(spot.place.fill)
        if word is not None and not word.done():
            word.set_result(None)

    async def _left(self, spot: Spot, token: bytes) -> None:
        """Give back what a cancelled lookup may have taken, or let the leader have it that this process has by then."""
        await self._do([renew(spot.place, token)])  # behind the lookup, on the same lane
        if self.redis.flights.find(spot.place.flight) is None:
            await self._do([release(self.recall.keys, spot.place, token)])
        else:
            self.wake(spot)

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
    work = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        value = await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_close)  # the thread goes on
        raise
    return await value if isawaitable(value) else value


def _close(work: asyncio.Future[Any]) -> None:
    """Close the coroutine that nobody awaits any more."""
    if not work.cancelled() and work.exception() is None and isinstance(made := work.result(), Coroutine):
        made.close()


async def side_by_side(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all of them at once; raises the first error when all have ended."""
    if len(work) == 1:
        return await work[0]
    for done in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done
    return None
