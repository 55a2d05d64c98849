"""What a guard has recorded beside its limits: breaches that lead to bans, and statistics. Pure.

Its operations stand in front of those of the limits, in the same round, and see in their commit whether these refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.checks import is_within
from ..core.keys import Keys
from ..core.script import Operation, OperationKind

BAN = OperationKind.load(__package__, "ban.lua")
TALLY = OperationKind.load(__package__, "tally.lua")
HIDDEN = OperationKind.load(__package__, "hidden.lua")

#: Identities that statistics know by themselves; for how many hours they are kept, and the same in ms.
HEAVIEST = 200
HOURS = 48
KEPT = HOURS * 3_600_000

#: Characters of a label.
_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Ban:
    """Who breaks a limit `after` times within `within` seconds is refused for `lasts` seconds, whatever it asks.

    Each further ban lasts `factor` times as long, up to `longest`; that there was one is forgotten `longest` seconds
    after its end. An `after` of 0 bans nobody but by hand.
    """

    after: int = 10
    within: float = 60
    lasts: float = 300
    factor: int = 2
    longest: float = 86_400

    def faults(self) -> list[str]:
        """What is wrong with it."""
        faults = []
        if self.after.__class__ is not int or not 0 <= self.after <= 1_000_000:
            faults.append(f"ban: after={self.after!r} given; allowed are whole numbers from 0 to 1,000,000")
        if self.factor.__class__ is not int or not 1 <= self.factor <= 100:
            faults.append(f"ban: factor={self.factor!r} given; allowed are whole numbers from 1 to 100")
        return faults + [
            f"ban: {option}={getattr(self, option)!r} given; allowed are 1 second to 366 days"
            for option in ("within", "lasts", "longest")
            if not is_within(getattr(self, option), 1, 366 * 86_400)
        ]

    def operation(self, key: bytes, hidden: int) -> Operation:
        """Return what refuses somebody banned, and counts the breach otherwise; `hidden` ones were not told yet."""
        times = [round(seconds * 1_000_000) for seconds in (self.within, self.lasts, self.longest)]
        return Operation(BAN, (key,), (self.after or 2**53, times[0], times[1], self.factor, times[2], hidden))


class Ledger:
    """What one guard called `name` records."""

    def __init__(self, name: str, ban: Ban | None, statistics: bool, labels: bool) -> None:
        self._name = name.encode()
        self.ban = ban
        self.statistics = statistics
        self._labels = labels
        self.kinds = (*((TALLY, HIDDEN) if statistics else ()), *((BAN,) if ban else ()))
        #: How many operations stand in front of the limits, and how many values of the reply are theirs.
        self.count = bool(statistics) + (ban is not None)
        self.width = bool(statistics) * TALLY.width + (ban is not None) * BAN.width

    def operations(
        self, keys: Keys, identity: tuple[str | bytes, ...], hashed: bytes, hidden: int, now: float
    ) -> list[Operation]:
        """Return what goes in front of the limits; `hidden` refusals were not told of yet."""
        operations = []
        if self.statistics:
            label = label_of(identity) if self._labels else ""
            places = keys.limit_statistics(self._name, int(now // 3600))
            operations.append(Operation(TALLY, places, (hashed, label, hidden, HEAVIEST, KEPT)))
        if self.ban is not None:
            operations.append(self.ban.operation(keys.ban(self._name, hashed), hidden))
        return operations

    def flush(self, keys: Keys, hidden: Iterable[tuple[bytes, int]], now: float) -> Operation:
        """Return what tells of refusals that nobody was asked about."""
        counts = b" ".join(b"%b %d" % one for one in hidden)
        return Operation(HIDDEN, keys.limit_statistics(self._name, int(now // 3600)), (counts, HEAVIEST, KEPT))


def label_of(identity: tuple[str | bytes, ...]) -> str:
    """Return an identity as people read it, `user alice`."""
    words = [word.decode("latin-1") if isinstance(word, bytes) else word for word in identity]
    return " ".join(words)[:_LONGEST_LABEL].encode("utf-8", "replace").decode()  # a token may name half a surrogate
