"""What a process knows of the incarnations of its servers' data: the state behind `losses.py`. Pure.

Times are ms since the epoch by the clocks of the servers, which are taken to agree within seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..core.keys import Keys
from .slots import Place, SlotMap, slot_of

#: For `upto`: whatever was written counts as whole.
FOR_ALL = 9_000_000_000_000_000

#: A server that was seen may have been written to since the look before that (ms), as far as others know.
_UNSEEN = 3_000

#: Numbers to try for records in slots of all servers.
_MOST = 200_000

#: A record that ends so soon after what it is for (ms) is written anew: clocks drift.
_MARGIN = 60_000


class Planned(NamedTuple):
    """What is to be written, and must not be forgotten: it ends in `life` ms, or at `till` (ms); 0 for no such thing.

    `unheld`: no mirror holds it, so that nobody can give it back.
    """

    life: int = 0
    till: int = 0
    unheld: bool = False

    def lasting(self, more: int) -> Planned:
        """Return the same as if it lasted so much longer (ms)."""
        return Planned(self.life + more if self.life else 0, self.till + more if self.till else 0, self.unheld)


NOTHING = Planned()


class Known(NamedTuple):
    """One server's record as it was `seen` last: by when all has ended that was written, and all that was lost.

    `unheld`: the same of what no mirror holds. `upto`: what was written before it, up to then, was given back. `beat`
    becomes larger as time goes by: an old copy of the data has a smaller one.
    """

    id: bytes
    until: int
    lost: int
    seen: int
    unheld: int = 0
    upto: int = 0
    beat: int = 0


class Records:
    """The records of all servers, by their keys."""

    def __init__(self) -> None:
        self.known: dict[bytes, Known] = {}
        #: When this process has written last what must not be forgotten, in µs.
        self.wrote = 0
        #: The same of what it can give back by itself.
        self.held = 0
        #: By when everything has ended that was written anywhere, as far as it is known.
        self.until = 0
        self._judged: dict[bytes, int] = {}
        self._clock: tuple[int, float] | None = None

    def words(self, key: bytes, fresh: bytes, planned: Planned, process: bytes) -> tuple[bytes | int, ...]:
        """Return what `incarnation.lua` takes beside the key."""
        known = self.known.get(key)
        name, until, need, former, beat = b"", 0, 0, 0, 0
        if known is not None:
            need = max(self.wrote, (known.seen - _UNSEEN) * 1000)
            name, until, former, beat = known.id, known.until, known.unheld, known.beat
        life, till, unheld = planned
        ends = max(till, self.until)
        return name, until, need, life, ends, fresh, former, int(unheld), self.held, process, beat

    def judge(self, key: bytes, number: int, reply: Sequence[Any], at: float) -> bool:
        """Take what the script said at a time of the loop's clock; tell whether data was lost that was not known to be.

        Looks are numbered: an older one does not undo what a newer one has found.
        """
        name, until, lost, now, written, unheld, upto, beat = bytes(reply[0]), *map(int, reply[1:])
        former, newer = self.known.get(key), number > self._judged.get(key, 0)
        if not newer and not lost:
            return False
        self._judged[key] = max(number, self._judged.get(key, 0))
        self._clock = (now, at)
        if not name:
            self.known.pop(key, None)
            return False
        is_news = lost > 0 and (former is None or not former.lost or (bool(written) and former.id != name))
        if not written:  # looked for again under the name of what is gone
            if former is not None:
                self.known[key] = former._replace(lost=lost)
            return is_news and former is not None
        # What is written while something is missing is told of exactly, by who writes it.
        seen = now if not lost or former is None else former.seen
        self.known[key] = Known(name, until, lost, seen, unheld, upto, beat)
        self.until = max(self.until, until)
        return is_news

    @property
    def missing(self) -> dict[bytes, Known]:
        """Those of servers that have not all that they should have."""
        return {key: known for key, known in self.known.items() if known.lost}

    def covers(self, keys: Iterable[bytes], planned: Planned, at: float) -> bool:
        """Tell whether all records last as long as what is to be written, at a time of the loop's clock."""
        if self._clock is None:
            return False
        now = self._clock[0] + (at - self._clock[1]) * 1000
        ends = max(now + planned.life if planned.life else 0, planned.till) + _MARGIN
        if ends <= now:
            return True
        found = [self.known.get(key) for key in keys]
        return all(known is not None and (known.unheld if planned.unheld else known.until) >= ends for known in found)


def anchors(keys: Keys, slots: SlotMap) -> dict[Place | None, bytes]:
    """Return for each primary of a cluster the key of its record: the first by number that lies there."""
    wanted, found = set(slots.primaries), dict[Place | None, bytes]()
    seen: set[int] = set()
    for number in range(_MOST):
        key = keys.incarnation(number)
        slot = slot_of(key)
        seen.add(slot)
        shard = slots[slot]
        if shard is not None and shard.primary in wanted:
            found.setdefault(shard.primary, key)
        if len(found) == len(wanted) or (number == 3 and len(seen) == 1):  # a prefix with a tag: one slot for all
            break
    return found
