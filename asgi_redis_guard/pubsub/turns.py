"""Waiting for what others hold: a lock, a request that is under way. One at a time asks, woken by word.

Callers of one event loop who want the same thing stand in line, by the single flight of the house; the first of them
asks Redis, once the server has confirmed that word would come, again when it comes, after a gap, and when what is held
would end by itself. So a process has one that asks for each thing, however many wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.script import Replies
from ..core.steps import Ask, Sought
from ..errors import RedisUnavailable
from ..redis.asking import replies_of, send
from ..redis.flight import Lead
from ..redis.giving_back import give_back
from .feed import Watch

if TYPE_CHECKING:
    from ..redis.manager import RedisManager

#: Seconds until it is asked again while Redis does not answer; nobody gives up before his deadline.
_AGAIN = 0.25

#: Passes of the loop within which the processes that wait ask, once word has come: timers are too coarse for that.
_SPREAD = 8

#: Seconds for which a process that has given back what others wait for does not ask for it anew.
_ASIDE = 0.002

#: Seconds for which it is tried at the least to give back what a caller took who was gone when it came.
_UNDO = 60.0


async def ask_once(manager: RedisManager, ask: Ask, undo: Callable[[], Ask], lasts: float = 0.0) -> Replies:
    """Ask for what others may hold; a caller that is cancelled, or hears nothing, leaves nothing taken.

    `lasts` is for how many seconds it would be taken.
    """
    sent = send(manager, ask)
    try:
        return replies_of(ask, await sent)
    except BaseException as error:
        if not isinstance(error, RedisUnavailable) or error.leaves_doubt:
            give_back(manager, undo(), max(lasts, _UNDO))
        raise


def step_up(manager: RedisManager, topic: str, word: bytes) -> Lead | None:
    """Be the first in line for a thing if nobody of this loop stands there; who is must end the lead."""
    flights = manager.flights
    key = (topic, word)
    return flights.begin(key) if flights.find(key) is None else None


def stand_aside(manager: RedisManager, topic: str, word: bytes) -> None:
    """Let nobody of this loop ask for a moment: who has just given it back would be first, before others hear of it."""
    lead = step_up(manager, topic, word)
    if lead is not None:
        manager.links.loop.call_later(_ASIDE, lead.hand_over)


class Turn:
    """One caller's wait for what is `sought`."""

    __slots__ = ("_doubtful", "_error", "_key", "_manager", "_over", "_replies", "_sought", "since")

    def __init__(self, manager: RedisManager, sought: Sought) -> None:
        self._manager = manager
        self._sought = sought
        self._key = (sought.topic, sought.word)
        self._over = False
        self._doubtful = False
        self._error: RedisUnavailable | None = None
        self._replies: Replies | None = None
        #: When that was sent which the replies answer, by the loop's clock.
        self.since = 0.0

    async def wait(self, lead: Lead | None = None) -> Replies:
        """Wait in line, then until it is taken; return the replies that say so. May be cancelled at any time.

        Without an end but the caller's: have a deadline. While Redis is away it goes on trying. `lead` is that of a
        caller who stands first already.
        """
        lead = lead or await self._come_first()
        try:
            while self._replies is None:
                await self._one_word()
            return self._replies
        except BaseException:
            self._over = True
            if self._doubtful or self._replies is not None:
                self._give_back()
            raise
        finally:
            lead.hand_over()

    @property
    def error(self) -> RedisUnavailable | None:
        """What Redis failed with when it was asked last, None if it answered."""
        return self._error

    async def _come_first(self) -> Lead:
        flights = self._manager.flights
        flight = flights.find(self._key)
        if flight is None:
            return flights.begin(self._key)
        landing = await flight.wait()
        if landing.lead is None:
            raise RedisUnavailable("the connections of this event loop were closed")
        return landing.lead

    async def _one_word(self) -> None:
        """Wait until the word is said, or until it is taken."""
        said: asyncio.Future[bool] = self._manager.links.loop.create_future()

        def tell(word: bool) -> None:
            if not said.done():
                said.set_result(word)

        feed = self._manager.pubsub.feed
        watch = Watch(*self._key, lambda: tell(True), self._look, lambda: tell(False))
        feed.watch(watch)
        try:
            if not await said:
                raise RedisUnavailable("the connections of this event loop were closed")
        finally:
            feed.unwatch(watch)
        # The server tells processes in the order in which they subscribed: the first would get it every time.
        for _ in range(random.randrange(_SPREAD) if self._replies is None else 0):  # noqa: S311  (chance will do)
            await asyncio.sleep(0)

    async def _look(self, _: bytes) -> float:
        """Ask; return the seconds until it is worth asking again, 0 if there is nothing more to wait for."""
        if self._over or self._replies is not None:
            return 0.0
        ask, since = self._sought.ask, self._manager.links.loop.time()
        try:
            replies = replies_of(ask, await send(self._manager, ask))
        except RedisUnavailable as error:
            self._error = error
            self._doubtful = self._doubtful or error.leaves_doubt
            if self._over and self._doubtful:
                self._give_back()
            return _AGAIN
        except BaseException:  # the loop's connections are closed, and do not wait for it
            self._doubtful = True
            raise
        self._error = None
        left = self._sought.left(replies)
        if left is not None:
            return max(left, 0.001)
        if self._over:
            self._give_back()
        self._replies, self.since = replies, since
        return 0.0

    def _give_back(self) -> None:
        give_back(self._manager, self._sought.undo, max(self._sought.lasts, _UNDO))

    def __repr__(self) -> str:
        return f"<Turn on {self._key[0]}>"
