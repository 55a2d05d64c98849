"""Who is suspected: what is open under several keys is looked at when one of them is named on a topic, not ended.

A word is a reason to look, and no more: it may be about something else, and may have been overtaken. Whoever holds
something open looks once words would reach it, when one names it, and after a gap. It never looks twice at a time, and
a look that began before a word does not answer it. Looks are bounded, however many are suspected at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any

from ..errors import OperationFailed, RedisUnavailable

logger = logging.getLogger("asgi_redis_guard.pubsub")

#: Who looks at a time.
_AT_ONCE = 64

#: Seconds after which those look again that could not be told.
_AGAIN = 1.0


class Suspect:
    """Somebody who holds something open under `keys`.

    `look` sees to it; true says that a word is the reason. What raises `RedisUnavailable` is carried out again later.
    """

    __slots__ = ("keys", "look")

    def __init__(self, keys: Iterable[bytes], look: Callable[[bool], Awaitable[None]]) -> None:
        self.keys = tuple(dict.fromkeys(keys))
        self.look = look


class Suspects:
    """All of one topic in an event loop; a follower of it."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object], hears: Callable[[], bool]) -> None:
        self._spawn, self._hears = spawn, hears
        self._all: set[Suspect] = set()
        self._by_key: dict[bytes, set[Suspect]] = {}
        #: Those who are to look: because of a word, or for another reason; in order.
        self._named: dict[Suspect, None] = {}
        self._due: dict[Suspect, None] = {}
        #: Those who could not be told; true where a word was the reason.
        self._later: dict[Suspect, bool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._working = False

    def add(self, suspect: Suspect) -> None:
        """Let somebody look from now on; at once, or as soon as words are heard."""
        self._all.add(suspect)
        for key in suspect.keys:
            self._by_key.setdefault(key, set()).add(suspect)
        if self._hears():
            self.look(suspect)

    def discard(self, suspect: Suspect) -> None:
        """Let somebody look no more; who does not is no fault."""
        self._all.discard(suspect)
        for waiting in (self._named, self._due, self._later):
            waiting.pop(suspect, None)
        for key in suspect.keys:
            there = self._by_key.get(key)
            if there is not None:
                there.discard(suspect)
                if not there:
                    del self._by_key[key]

    def look(self, suspect: Suspect) -> None:
        """Let somebody look now, without a word."""
        if suspect in self._all:
            self._due[suspect] = None
            self._work()

    # Follower.

    def told(self, word: bytes) -> bool:
        """Let those look who are named."""
        named = self._by_key.get(word)
        if named:
            self._named.update(dict.fromkeys(named))
            self._work()
        return False

    async def missed(self) -> None:
        """Let all look."""
        self._due.update(dict.fromkeys(self._all))
        self._work()

    def close(self) -> None:
        """Let nobody look any more: the loop's connections are closed."""
        for those in (self._all, self._by_key, self._named, self._due, self._later):
            those.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self) -> None:
        if not self._working:
            self._working = True
            self._spawn(self._look_all())

    async def _look_all(self) -> None:
        """Let them look, those first who were named; while Redis is away, the rest waits."""
        away = False
        try:
            while self._named or (self._due and not away):
                told = bool(self._named)
                waiting = self._named if told else self._due
                some = [*islice(waiting, _AT_ONCE)]
                for suspect in some:
                    self._named.pop(suspect, None)
                    self._due.pop(suspect, None)
                heard = await asyncio.gather(*[self._look(suspect, told) for suspect in some])
                away = away or False in heard
        finally:
            self._working = False
        if (self._later or self._due) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AGAIN, self._again)

    async def _look(self, suspect: Suspect, told: bool) -> bool:
        """Let one look; false where Redis is away."""
        try:
            await suspect.look(told)
        except RedisUnavailable as error:
            logger.debug("what is open cannot be looked at: %s", error)
            if suspect in self._all:
                self._later[suspect] = told
            return isinstance(error, OperationFailed)
        except Exception:
            logger.exception("somebody failed who looked at what is open")
        return True

    def _again(self) -> None:
        """Let those look again who could not be told."""
        self._timer = None
        later, self._later = self._later, {}
        for suspect, told in later.items():
            (self._named if told else self._due)[suspect] = None
        if self._named or self._due:
            self._work()

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"<Suspects: {len(self._all)} under {len(self._by_key)} keys>"
