"""What is watched for one exchange while it lasts: keys that may end, keys that may be named, times that come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ..core.steps import Asking
from ..pubsub.feed import Watch
from ..pubsub.suspects import Suspect, Suspects
from .trips import RoundTrips

#: Seconds after which a time that is to come is reckoned anew at the latest: clocks are set, and hosts sleep.
_LONGEST = 60.0

#: Seconds between two looks at the clock at the shortest.
_SHORTEST = 0.01


class Vigil:
    """Nothing of it is left when it has ended; what is asked of it then, nobody waits for."""

    def __init__(self, trips: RoundTrips) -> None:
        self._trips = trips
        self._over = False
        self._watches: list[Watch] = []
        self._suspects: list[tuple[Suspects, Suspect]] = []
        self._timers: set[asyncio.TimerHandle] = set()

    def watch(
        self, topic: str, key: bytes, ended: Callable[[], None], lives: Callable[[bytes], Awaitable[float]]
    ) -> None:
        """Watch a key."""
        if not self._over:
            watch = Watch(topic, key, ended, lives)
            self._watches.append(watch)
            self._trips.manager.pubsub.feed.watch(watch)

    def suspect(self, topic: str, keys: Iterable[bytes], look: Callable[[bool], Asking]) -> Callable[[], None]:
        """Have `look` carried out when one of `keys` is named; calling what comes back has it done without that."""
        suspects = self._trips.manager.pubsub.feed.suspects(topic)
        suspect = Suspect(keys, lambda told: self._carry_out(look(told)))
        if not self._over:
            self._suspects.append((suspects, suspect))
            suspects.add(suspect)
        return lambda: suspects.look(suspect)

    async def _carry_out(self, flow: Asking) -> None:
        for one, result in await self._trips.converse([flow]):
            await self._trips.finish(one, result)

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call once that time has come, by the engine's clock."""
        if self._over:
            return
        left = min(max(time - self._trips.clock(), _SHORTEST), _LONGEST)

        def look() -> None:
            self._timers.discard(timer)
            if self._trips.clock() >= time:
                call()
            else:
                self.at(time, call)

        timer = asyncio.get_running_loop().call_later(left, look)
        self._timers.add(timer)

    def end(self) -> None:
        """Watch nothing any more."""
        self._over = True
        for watch in self._watches:
            self._trips.manager.pubsub.feed.unwatch(watch)
        for suspects, suspect in self._suspects:
            suspects.discard(suspect)
        for timer in self._timers:
            timer.cancel()
        self._watches.clear()
        self._suspects.clear()
        self._timers.clear()
