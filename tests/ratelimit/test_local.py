"""Limits in this process, at given times: all or nothing, a bound on memory, and no thread or clock of its own."""

import random
import threading

import pytest

from asgi_redis_guard import RateLimit
from asgi_redis_guard.ratelimit.headers import HeaderStyle
from asgi_redis_guard.ratelimit.local import LocalLimits
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.plan import Plan
from asgi_redis_guard.ratelimit.policy import LimitState
from tests.conformance.models import most_in_any_window

NOW = 1_700_000_000.5


class Local:
    """The limits of one process, under one plan."""

    def __init__(self, *notations: str, max_keys: int = 10_000, workers: int = 1) -> None:
        self.plan = Plan(make_limits(notations, Style()), HeaderStyle())
        self.limits = LocalLimits(max_keys=max_keys, workers=workers)

    def decide(self, who: bytes, cost: int, now: float) -> list[LimitState]:
        return self.limits.decide(self.plan, who, cost, now)


local = Local


def admits(limits: Local, who: bytes = b"a", now: float = NOW) -> bool:
    return all(state.allowed for state in limits.decide(who, 1, now))


def test_so_many_in_a_window_that_begins_with_the_first() -> None:
    limits = local("3/minute")
    assert [admits(limits, now=NOW + second) for second in (0, 10, 20, 30, 59.9, 60, 61, 62, 63, 119.9, 120)] == [
        *(True, True, True, False, False),
        *(True, True, True, False, False),
        True,
    ]


def test_the_states_tell_what_is_left_and_when_to_come_back() -> None:
    limits = local("2/minute", "9/hour")
    minute, hour = limits.decide(b"a", 1, NOW)
    assert (minute.allowed, minute.remaining, minute.reset_after, minute.retry_after) == (True, 1, 60_000_000, 0)
    assert (hour.limit.name, hour.remaining, hour.reset_after) == ("hour", 8, 3_600_000_000)
    limits.decide(b"a", 1, NOW + 15)
    minute, hour = limits.decide(b"a", 1, NOW + 15)
    assert (minute.allowed, minute.remaining, minute.reset_after, minute.retry_after) == (
        False,
        0,
        45_000_000,
        45_000_000,
    )
    assert (hour.allowed, hour.remaining, hour.retry_after) == (True, 7, 0)
    assert admits(limits, now=NOW + 60)


def test_all_limits_count_or_none_does() -> None:
    limits = local("1/second", "3/minute")
    outcomes = [admits(limits, now=NOW + half / 2) for half in range(12)]
    assert outcomes == [True, False, True, False, True, *[False] * 7]
    assert limits.decide(b"a", 1, NOW + 6)[1].remaining == 0


def test_identities_are_counted_apart() -> None:
    limits = local("1/minute")
    assert [admits(limits, who) for who in (b"a", b"b", b"a", b"\xff\x00", b"b")] == [True, True, False, True, False]


def test_a_flood_of_identities_takes_a_bounded_amount_of_memory() -> None:
    limits = local("5/minute", "9/hour", max_keys=100)
    for number in range(10_000):
        assert admits(limits, b"%d" % number)
        assert len(limits.limits.windows) <= 100


def test_who_was_seen_last_is_remembered() -> None:
    limits = local("1/minute", max_keys=3)
    for who in (b"a", b"b", b"c", b"a", b"d"):
        limits.decide(who, 1, NOW)
    assert not admits(limits, b"a"), "refused, and so seen again"
    assert not admits(limits, b"d")
    assert admits(limits, b"b"), "forgotten"


def test_a_clock_that_was_wrong_locks_nobody_out() -> None:
    limits = local("1/minute")
    assert admits(limits, now=NOW + 1e6)
    assert admits(limits, now=NOW)
    assert not admits(limits, now=NOW + 59)


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_the_amount_in_a_window_and_twice_in_any(seed: int) -> None:
    dice, limits, now = random.Random(seed), local("5/10 seconds"), NOW
    admitted: list[int] = []
    for _ in range(500):
        now += dice.choice([0, 0.001, 0.5, dice.expovariate(0.3)])
        if admits(limits, now=now):
            admitted.append(round((now - NOW) * 1_000_000))
    assert most_in_any_window(admitted, 10_000_000) <= 10
    windows = []
    for time in admitted:
        if not windows or time >= windows[-1][0] + 10_000_000:
            windows.append([time])
        else:
            windows[-1].append(time)
    assert max(map(len, windows)) == 5


def test_a_guard_starts_no_thread() -> None:
    before = threading.active_count()
    guards = [RateLimit("5/minute") for _ in range(20)]
    assert threading.active_count() == before
    assert len(guards) == 20


def test_units_are_counted_together_or_not_at_all() -> None:
    limits = local("5/minute", "100/hour")
    assert [state.remaining for state in limits.decide(b"a", 3, NOW)] == [2, 97]
    assert [state.allowed for state in limits.decide(b"a", 3, NOW)] == [False, True]
    assert [state.remaining for state in limits.decide(b"a", 0, NOW)] == [2, 97]
    assert [state.remaining for state in limits.decide(b"a", 2, NOW)] == [0, 95]
