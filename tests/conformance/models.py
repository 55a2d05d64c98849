"""What the limits promise, in plain Python and exact integers: microseconds, units. Each model is one identity's."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

YEAR = 366 * 86_400_000_000


class Verdict(NamedTuple):
    """Whether the request fits, and what the headers tell."""

    fits: bool
    remaining: int
    reset_after: int
    retry_after: int


class Model(Protocol):
    """A limit: `check` tells and changes nothing, `commit` counts, `settle` sets right what was counted at `taken`."""

    def check(self, now: int, cost: int) -> Verdict: ...
    def commit(self, now: int, cost: int) -> None: ...
    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None: ...


class Gcra:
    """A bucket that holds `burst` units and drains one every `step`, like a queue served at a steady pace."""

    def __init__(self, amount: int, period: int, burst: int) -> None:
        self.step = -(-period // amount)
        self.room = self.step * burst
        self.empty_at = 0  # when everything that was poured in has drained

    def check(self, now: int, cost: int) -> Verdict:
        level = max(0, self.empty_at - now)
        over = level + cost * self.step - self.room
        if over <= 0:
            level += cost * self.step
        return Verdict(over <= 0, max(0, self.room - level) // self.step, level, max(0, over))

    def commit(self, now: int, cost: int) -> None:
        self.empty_at = max(now, self.empty_at) + cost * self.step

    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None:
        """What has drained of it is not poured out again; nobody owes for longer than a year."""
        drained = now - taken
        gone = max(0, min((reserved - actual) * self.step, reserved * self.step - drained))
        more = max(0, actual - reserved) * self.step
        self.empty_at = min(max(now, self.empty_at) - gone + more, now + YEAR)


class Fixed:
    """Windows that begin with the first request after the last window."""

    def __init__(self, amount: int, period: int, burst: int = 0) -> None:
        self.amount, self.period = amount, period
        self.ends, self.used = 0, 0

    def check(self, now: int, cost: int) -> Verdict:
        left, used = self._now(now)
        fits = used + cost <= self.amount
        return Verdict(fits, max(0, self.amount - used - cost * fits), left, 0 if fits else left)

    def commit(self, now: int, cost: int) -> None:
        left, used = self._now(now)
        self.ends, self.used = now + left, used + cost

    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None:
        left, used = self._now(now)
        if used and now + left - self.period <= taken:
            self.ends, self.used = now + left, max(0, used + actual - reserved)
        elif actual > reserved:
            self.commit(now, actual - reserved)

    def _now(self, now: int) -> tuple[int, int]:
        left = self.ends - now
        return (left, self.used) if left > 0 and self.used else (self.period, 0)


class Counter:
    """Windows that begin with a first request; the one before counts by what of it is not older than `period`."""

    def __init__(self, amount: int, period: int, burst: int = 0) -> None:
        self.amount, self.period = amount, period
        self.begun, self.before, self.used = 0, 0, 0

    def check(self, now: int, cost: int) -> Verdict:
        begun, before, used = self._now(now)
        left = min(self.period, begun + self.period - now)
        free = self.amount - used - -(-before * left // self.period)
        if free >= cost:
            return Verdict(True, free - cost, left + self.period, 0)
        wait = next(self._fits_in(left, before, used, cost))
        return Verdict(False, max(0, free), left + self.period * (used > 0), wait)

    def _fits_in(self, left: int, before: int, used: int, cost: int) -> Iterator[int]:
        """The first moment at which the units that still count leave room: in this window, in the next, or after it."""
        room = self.amount - cost
        if room < 0:
            yield left + self.period  # never: what all is forgotten by
        if used <= room:
            yield left - (room - used) * self.period // before
        yield left + self.period - room * self.period // used

    def commit(self, now: int, cost: int) -> None:
        self.begun, self.before, used = self._now(now)
        self.used = used + cost

    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None:
        begun, before, used = self._now(now)
        change = actual - reserved
        if change > 0 or taken >= begun:
            used = max(0, used + change)
        elif taken >= begun - self.period:
            before = max(0, before + change)
        self.begun, self.before, self.used = begun, before, used

    def _now(self, now: int) -> tuple[int, int, int]:
        """A window goes on for as long as anything counts in it."""
        if now >= self.begun + self.period:
            begun, before, used = self.begun + self.period, self.used, 0
        else:
            begun, before, used = self.begun, self.before, self.used
        return (begun, before, used) if before + used and now < begun + self.period else (now, 0, 0)


class Log:
    """Every unit is remembered for exactly `period`."""

    def __init__(self, amount: int, period: int, burst: int = 0) -> None:
        self.amount, self.period = amount, period
        self.times: list[int] = []

    def check(self, now: int, cost: int) -> Verdict:
        live = self.times[bisect_right(self.times, now - self.period) :]
        free = self.amount - len(live)
        if free >= cost:
            return Verdict(True, free - cost, self.period, 0)
        if cost - free > len(live):
            return Verdict(False, max(0, free), live[-1] + self.period - now if live else self.period, self.period)
        return Verdict(False, max(0, free), live[-1] + self.period - now, live[cost - free - 1] + self.period - now)

    def commit(self, now: int, cost: int) -> None:
        del self.times[: bisect_right(self.times, now - self.period)]
        for _ in range(cost):
            insort(self.times, now)

    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None:
        """More than the amount is not owed: it would all be forgotten at once."""
        first = bisect_left(self.times, taken)
        del self.times[first : min(first + max(0, reserved - actual), bisect_right(self.times, taken))]
        for _ in range(min(actual - reserved, self.amount)):
            insort(self.times, now)


class Calendar:
    """Periods that end when `end_of` says; without it, every `period` since the epoch."""

    def __init__(self, amount: int, period: int, burst: int = 0, end_of: Callable[[int], int] | None = None) -> None:
        self.amount = amount
        self.end_of = end_of or (lambda now: now - now % period + period)
        self.ends, self.used = 0, 0

    def check(self, now: int, cost: int) -> Verdict:
        ends, used = self._now(now)
        fits = used + cost <= self.amount
        return Verdict(fits, max(0, self.amount - used - cost * fits), ends - now, 0 if fits else ends - now)

    def commit(self, now: int, cost: int) -> None:
        ends, used = self._now(now)
        self.ends, self.used = ends, used + cost

    def settle(self, now: int, taken: int, reserved: int, actual: int) -> None:
        ends, used = self._now(now)
        if actual > reserved or self.end_of(taken) >= ends:
            self.ends, self.used = ends, max(0, used + actual - reserved)

    def _now(self, now: int) -> tuple[int, int]:
        """A period that is already counted goes on where the clock was set back."""
        ends = self.end_of(now)
        return (self.ends, self.used) if self.used and self.ends >= ends else (ends, 0)


MODELS: dict[str, Callable[[int, int, int], Model]] = {
    "gcra": Gcra,
    "leaky": Gcra,
    "fixed": Fixed,
    "counter": Counter,
    "log": Log,
    "calendar": Calendar,
}


def most_in_any_window(times: Sequence[int], period: int) -> int:
    """Return how many of the sorted `times` lie at most in one window of `period`, end excluded."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - period:
            first += 1
        most = max(most, last - first + 1)
    return most
