"""What has ended, told to all processes: one subscription for each topic of a process, however many watch it.

A topic is a channel below the prefix; a message on it names keys, separated by spaces; `old>new` says that what went by
the one goes by the other from now on. Whoever holds something open under a key (a socket under a session) is called
when the key is named; whoever goes by all words of a topic follows it; to whom a word is no more than a reason to look
is a suspect (`suspects.py`). Messages may be missed, and some things end in silence: every watcher is asked to look for
itself when it begins, after a gap, and when what it watches would end by its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import RedisUnavailable
from .listener import Listener
from .messages import Event, Gap, Message
from .suspects import Suspects

if TYPE_CHECKING:
    from ..redis.manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.pubsub")

#: Watchers that look for themselves at a time after a gap.
_AT_ONCE = 64

#: Seconds after which a watcher looks again at the latest, and at the earliest where the time is up already.
_LONGEST, _SHORTEST = 86_400.0, 0.05

#: Seconds after which a follower that found Redis away looks again.
_AGAIN = 1.0


@dataclass(slots=True, eq=False)
class Watch:
    """One watcher of one key: `ended` is called once at most.

    `lives` tells for how many seconds the key it is given still lives if nothing happens: 0 if it has ended. `closed`
    is called if the connections of the loop are closed meanwhile, after which no word comes.
    """

    topic: str
    key: bytes
    ended: Callable[[], None]
    lives: Callable[[bytes], Awaitable[float]]
    closed: Callable[[], None] | None = None
    timer: asyncio.TimerHandle | None = None

    def look_in(self, seconds: float, look: Callable[[], object]) -> None:
        """Look again later."""
        self.stop()
        self.timer = asyncio.get_running_loop().call_later(min(max(seconds, _SHORTEST), _LONGEST), look)

    def stop(self) -> None:
        """Look no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Follower(Protocol):
    """Somebody who wants every word of a topic, for as long as the loop runs. Compared by what it stands for."""

    def told(self, word: bytes) -> bool:
        """Take a word; true if it is to look for itself."""

    async def missed(self) -> None:
        """Look at what may have been said: at first, after a gap, and when told to.

        What raises `RedisUnavailable` is asked again later.
        """


class Feed:
    """The watchers and followers of one event loop."""

    def __init__(self, manager: RedisManager) -> None:
        self._manager = manager
        self._watches: dict[tuple[str, bytes], set[Watch]] = {}
        self._followers: dict[str, dict[object, Follower]] = {}
        self._suspects: dict[str, Suspects] = {}
        self._listeners: dict[str, Listener] = {}
        #: Followers that could not look, each with the timer that lets it try again.
        self._waiting: dict[Follower, asyncio.TimerHandle] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def watch(self, watch: Watch) -> None:
        """Begin to watch; `unwatch` ends it, and so does its key's end."""
        self._watches.setdefault((watch.topic, watch.key), set()).add(watch)
        self._listen(watch.topic)
        self._manager.spawn(self._begin(watch.topic, lambda: self._look(watch)))

    def follow(self, topic: str, whose: object, make: Callable[[], Follower]) -> None:
        """Let somebody have every word of a topic from now on; for who has it already, nothing happens."""
        followers = self._followers.setdefault(topic, {})
        if whose not in followers:
            follower = followers[whose] = make()
            self._listen(topic)
            self._manager.spawn(self._begin(topic, lambda: self._missed(follower)))

    def suspects(self, topic: str) -> Suspects:
        """Return those who look for themselves when they are named on a topic."""
        found = self._suspects.get(topic)
        if found is None:
            found = self._suspects[topic] = Suspects(self._manager.spawn, lambda: self.hears(topic))
            self.follow(topic, Suspects, lambda: found)
        return found

    def hears(self, topic: str) -> bool:
        """Tell whether words on a topic that is watched or followed are heard now."""
        listener = self._listeners.get(topic)
        return listener is not None and listener.live

    def _listen(self, topic: str) -> None:
        if topic not in self._listeners:
            self._listeners[topic] = self._manager.pubsub.listen(
                self._channel(topic), lambda event: self._hear(topic, event), maxsize=10_000
            )

    async def _begin(self, topic: str, look: Callable[[], Awaitable[None]]) -> None:
        """Look once word would come: what was said before that was not heard."""
        with contextlib.suppress(RedisUnavailable):  # the listener goes on trying, and reports a gap when it is there
            await self._listeners[topic].ready()
        await look()

    def unwatch(self, watch: Watch) -> None:
        """End a watch; one that has ended is no fault."""
        watch.stop()
        place = (watch.topic, watch.key)
        watches = self._watches.get(place)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[place]

    def wake(self, topic: str, key: bytes) -> None:
        """End the watches of a key in this process alone, as word of it would."""
        for watch in self._watches.pop((topic, key), ()):
            self._end(watch)

    async def tell(self, topic: str, keys: Iterable[bytes]) -> None:
        """Tell all processes that `keys` have ended. Raises `RedisUnavailable`."""
        named = b" ".join(keys)
        if named:
            await self._manager.pubsub.publish(self._channel(topic), named)

    def _channel(self, topic: str) -> str:
        return f"{self._manager.keys.prefix}{topic}"

    def _hear(self, topic: str, event: Event) -> None:
        if isinstance(event, Message):
            words = bytes(event.data).split()
            for follower in self._followers.get(topic, {}).values():
                self._give(follower, words)
            for word in words:
                key, moved, other = word.partition(b">")
                for watch in self._watches.pop((topic, key), ()):
                    if moved:
                        watch.key = other
                        self._watches.setdefault((topic, other), set()).add(watch)
                    else:
                        self._end(watch)
        elif isinstance(event, Gap):
            for follower in self._followers.get(topic, {}).values():
                self._manager.spawn(self._missed(follower))
            for watch in [watch for watches in self._watches.values() for watch in watches if watch.topic == topic]:
                self._manager.spawn(self._look(watch))

    def _give(self, follower: Follower, words: Iterable[bytes]) -> None:
        """Give a follower all words; where it fails at one, or wants to, it looks for itself."""
        looks = False
        for word in words:
            try:
                looks = follower.told(word) or looks
            except Exception:
                logger.exception("a follower failed at a word")
                looks = True
        if looks:
            self._manager.spawn(self._missed(follower))

    async def _missed(self, follower: Follower) -> None:
        """Let a follower look for itself; while Redis is away, again and again."""
        if (timer := self._waiting.pop(follower, None)) is not None:
            timer.cancel()
        try:
            await follower.missed()
        except RedisUnavailable as error:
            logger.debug("what was said cannot be looked at: %s", error)
            again = asyncio.get_running_loop().call_later(_AGAIN, lambda: self._manager.spawn(self._missed(follower)))
            former, self._waiting[follower] = self._waiting.get(follower), again
            if former is not None:
                former.cancel()
        except Exception:
            logger.exception("a follower failed when it looked for itself")

    def close(self) -> None:
        """Look no more: the loop's connections are closed."""
        for watch in [watch for watches in self._watches.values() for watch in watches]:
            watch.stop()
            if watch.closed is not None:
                watch.closed()
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for suspects in self._suspects.values():
            suspects.close()

    async def _look(self, watch: Watch) -> None:
        """Ask whether a watched key still lives; one that cannot be told counts as alive until the next gap."""
        key = watch.key
        async with self._gate:
            if not self._is_watched(watch):
                return
            try:
                seconds = await watch.lives(key)
            except Exception as error:
                logger.debug("whether %s is still there cannot be told: %s", key, error)
                return
        if not self._is_watched(watch):
            return
        if seconds <= 0 and watch.key == key:
            self.unwatch(watch)
            self._end(watch)
        else:
            watch.look_in(seconds, lambda: self._manager.spawn(self._look(watch)))

    def _is_watched(self, watch: Watch) -> bool:
        return watch in self._watches.get((watch.topic, watch.key), ())

    def _end(self, watch: Watch) -> None:
        watch.stop()
        try:
            watch.ended()
        except Exception:
            logger.exception("the watcher of a key failed when it ended")

    def __repr__(self) -> str:
        count = len(self._watches) + sum(map(len, self._suspects.values()))
        return f"<Feed of {', '.join(self._listeners) or 'nothing'}, {count} keys watched>"
