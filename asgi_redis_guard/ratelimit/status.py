"""What is told of limits to whoever runs them: frozen values, and how they are read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .policy import LimitStanding


@dataclass(frozen=True, slots=True)
class LimitedIdentity:
    """Somebody whose requests are counted together.

    `identity` is the digest that stands in the keys; every method of `RateLimitAdmin` takes it in place of the key's
    parts. `label` is what it is called, where labels are kept. `requests` and `denied` are of the hours asked for.
    """

    identity: bytes
    label: str | None = None
    requests: int = 0
    denied: int = 0


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How somebody stands: `states` of all limits for a next request, and until when it is banned, if it is."""

    identity: bytes
    states: tuple[LimitStanding, ...]
    banned_until: datetime | None = None

    @property
    def blocked(self) -> bool:
        """True where a next request would be refused."""
        return self.banned_until is not None or not all(state.allowed for state in self.states)


@dataclass(frozen=True, slots=True)
class LimitTotals:
    """How many requests were allowed and denied in the hour that begins at `hour`."""

    hour: datetime
    allowed: int
    denied: int


def totals(hour: int, flat: Sequence[bytes]) -> LimitTotals:
    """Read the totals of an hour since the epoch."""
    counts = {bytes(name): int(count) for name, count in zip(flat[::2], flat[1::2], strict=True)}
    return LimitTotals(moment(hour * 3_600_000_000), counts.get(b"allowed", 0), counts.get(b"denied", 0))


def sums(hours: Iterable[Sequence[bytes]]) -> Counter[bytes]:
    """Add up what sorted sets of identities say."""
    summed: Counter[bytes] = Counter()
    for flat in hours:
        for member, score in zip(flat[::2], flat[1::2], strict=True):
            summed[bytes(member)] += int(float(score))
    return summed


def names(hours: Iterable[Sequence[bytes]]) -> dict[bytes, str]:
    """Read what identities are called; the latest word counts, which comes first."""
    called: dict[bytes, str] = {}
    for flat in hours:
        for member, name in zip(flat[::2], flat[1::2], strict=True):
            called.setdefault(bytes(member), bytes(name).decode("utf-8", "replace"))
    return called


def moment(microseconds: int) -> datetime:
    """Return a time since the epoch."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def ban_end(strikes: bytes | None, clock: int) -> datetime | None:
    """Return when a ban ends, if it has not by the server's `clock` (µs)."""
    ends = int(bytes(strikes).partition(b":")[0]) if strikes else 0
    return moment(ends) if ends > clock else None
