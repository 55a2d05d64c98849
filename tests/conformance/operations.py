"""Limits as the conformance tests ask for them: any numbers, and calendars whose periods are as short as wanted."""

from typing import Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.policy import Algorithm, Limit

START = 1_700_000_000_123_456  # µs
SECOND = 1_000_000
KEYS = Keys()
ALGORITHMS: list[Any] = [*get_args(Algorithm)]

#: Those whose buckets drain, and those whose windows or periods are over all at once.
DRAINING, WINDOWED = ["gcra", "leaky"], ["fixed", "counter", "calendar"]


class Flight(NamedTuple):
    """A request on its way: when it was counted, and as how many units."""

    taken: int
    reserved: int


class Bound:
    """A limit and whom it counts."""

    def __init__(self, algorithm: Any, amount: int, period: int, burst: int, name: str = "x") -> None:
        self.limit = Limit(amount, period, algorithm, burst, name, name.encode())
        if algorithm == "calendar":  # periods since the epoch; told as they are at START, whatever the time is
            first = START - START % (period * SECOND)
            self.limit = _Regular(amount, period, algorithm, burst, name, name.encode(), "day", ZoneInfo("UTC"))
            object.__setattr__(self.limit, "_numbers", (amount, *(first + n * period * SECOND for n in range(3))))

    def take(self, cost: int = 1) -> Operation:
        return self.limit.operation(KEYS, digest("who"), cost)

    def settle(self, taken: int, reserved: int, actual: int) -> Operation:
        return self.limit.settle(KEYS, digest("who"), taken, reserved, actual)


class _Regular(Limit):
    """A calendar quota of a test."""

    def numbers(self, now: float) -> tuple[int, ...]:
        return self._numbers


def operation(algorithm: Any, amount: int, period: int, burst: int, cost: int = 1) -> Operation:
    return Bound(algorithm, amount, period, burst).take(cost)
