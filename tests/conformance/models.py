"""What the limits promise, in plain Python and exact integers: microseconds, units. Each model is one identity's."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """Whether the request fits, and what the headers tell."""

    fits: bool
    remaining: int
    reset_after: int
    retry_after: int


class Model(Protocol):
    """A limit: `check` tells and changes nothing, `commit` counts."""

    def check(self, now: int, cost: int) -> Verdict: ...
    def commit(self, now: int, cost: int) -> None: ...


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


class Fixed:
    """Windows that begin with the first request after the last window; the server's milliseconds count."""

    def __init__(self, amount: int, period: int, burst: int = 0) -> None:
        self.amount, self.period = amount, period
        self.ends, self.used = 0, 0

    def check(self, now: int, cost: int) -> Verdict:
        left, used = self._now(now)
        fits = used + cost <= self.amount
        return Verdict(fits, max(0, self.amount - used - cost * fits), left * 1000, 0 if fits else left * 1000)

    def commit(self, now: int, cost: int) -> None:
        left, used = self._now(now)
        self.ends, self.used = now // 1000 + left, used + cost

    def _now(self, now: int) -> tuple[int, int]:
        left = self.ends - now // 1000
        return (left, self.used) if left > 0 and self.used else (self.period // 1000, 0)


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

    def _now(self, now: int) -> tuple[int, int, int]:
        if not self.begun or now >= self.begun + 2 * self.period:
            return now, 0, 0
        if now >= self.begun + self.period:
            return self.begun + self.period, self.used, 0
        return self.begun, self.before, self.used


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
        self.times += [now] * cost


MODELS = {"gcra": Gcra, "fixed": Fixed, "counter": Counter, "log": Log}


def most_in_any_window(times: Sequence[int], period: int) -> int:
    """Return how many of the sorted `times` lie at most in one window of `period`, end excluded."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - period:
            first += 1
        most = max(most, last - first + 1)
    return most
