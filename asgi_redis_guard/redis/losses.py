"""What a server has lost that came back without its data: what writers and repairers say and ask of it.

Who writes what must not be forgotten sees to it before (`ensure`) and after (`is_there`) that its loss is noticed.
Nothing is missing any more when somebody has written it again who knew all (`mend`), an operator says so (`accept`), or
all has ended that was lost.

Law: `loss_watch.py` notices, and `incarnation.lua` decides; nothing here waits for anything but replies.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.lua import read_lua
from .incarnation import FOR_ALL, Planned
from .loss_watch import LossWatch
from .program import Script

_WHOLE = Script(read_lua(__package__, "incarnation_whole.lua"))

#: A record is made to last for so much longer than is needed (ms): it is written about once an hour for that.
_AHEAD = 3_600_000


class Losses(LossWatch):
    """What one event loop knows of it; `lost` is true while a server has not all that it should have."""

    @property
    def state(self) -> Mapping[bytes, tuple[bytes, bool, int]]:
        """Which incarnations lack data, and which have it again, as seen last: another wherever that has changed."""
        those = self._records.known.items()
        return {key: (known.id, known.lost > 0, known.upto) for key, known in those if known.lost or known.upto}

    async def look(self) -> Mapping[bytes, tuple[bytes, bool]]:
        """Look now; return the incarnations, and which of them have not all that they should have.

        Raises `RedisUnavailable`; of a cluster those count that answer.
        """
        self.heed()
        await self._look_at(self._keys_now())
        return {key: (known.id, known.lost > 0) for key, known in self._records.known.items()}

    async def ensure(self, life: int, till: int = 0, *, unheld: bool = False) -> None:
        """See to it that a loss is noticed of what is written after this: it ends in `life` ms, or at `till` (ms).

        `unheld`: nobody holds it in memory, so that what gives back all the rest makes nothing whole.
        Costs nothing but about once an hour. Raises `RedisUnavailable`.
        """
        self.heed()
        keys, planned = self._keys_now(), Planned(life, till, unheld)
        if not keys or not self._records.covers(keys, planned, self._loop.time()):
            if not keys and self._topology is not None:
                await self._topology.connect()
                keys = self._keys_now()
            await self._look_at(keys, planned.lasting(_AHEAD))

    @property
    def record(self) -> bytes:
        """The key of the record of the one server that there is: whose `id` tells the incarnation."""
        return self._keys.incarnation(0)

    def incarnations(self) -> Mapping[bytes, bytes]:
        """What is known of them, for `is_there`."""
        return {key: known.id for key, known in self._records.known.items()}

    async def is_there(
        self, before: Mapping[bytes, bytes], name: bytes | None, now: int, *, held: bool = False
    ) -> bool:
        """Tell whether what was written at `now` (µs, the server's; 0: nothing new) was not lost at the same moment.

        `before` are the incarnations that were known when it was sent, `name` is that which it was written to; None
        where the servers of a cluster have to be asked. `held`: this process can give it back by itself.
        Raises `RedisUnavailable`.
        """
        if name is None:
            await self._look_at(self._keys_now())
            is_there = all(self.incarnations().get(key) == known for key, known in before.items())
        else:
            is_there = before.get(self.record, name) == name
            if not is_there:
                await self._look_at(self._keys_now())
        if is_there and held:
            self._records.held = max(self._records.held, now)
        elif is_there:
            self._records.wrote = max(self._records.wrote, now)
        return is_there

    async def mend(self, incarnations: Mapping[bytes, bytes], upto: int) -> None:
        """Say that all is written again that was written up to then (µs) or by this process, into those incarnations.

        What was written later by somebody who says so is missing still. Raises `RedisUnavailable`.
        """
        for key, name in incarnations.items():
            await self._run(_WHOLE, key, (name, upto, self._identity))
        await self._look_at(self._keys_now())

    async def accept(self) -> int:
        """Take it that nothing is missing, whatever was lost; return of how many servers. Raises `RedisUnavailable`."""
        await self.look()
        replies = [await self._run(_WHOLE, key, (b"", FOR_ALL, b"")) for key in self._keys_now()]
        await self.look()
        return sum(map(int, replies))
