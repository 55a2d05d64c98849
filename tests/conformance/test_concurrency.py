"""The concurrency limit's operations over random histories: every verdict and number is the model's, on all servers.

Time is given to the server's script, see `clockwork`.
"""

import random
from typing import Any

import pytest

from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.concurrency import RELEASE, RENEW, TAKE
from asgi_redis_guard.ratelimit.policy import Limit
from tests.conformance.clockwork import HELD_BACK, PASSED, STOPPED, Clockwork, Said

START = 1_700_000_000_123_456  # µs
SECOND = 1_000_000
KEY = Keys().concurrency(b"x", digest("who"))


def take(amount: int, ttl: int, name: str, cost: int = 1) -> Operation:
    return Operation(TAKE, (KEY,), (amount, ttl, cost, name))


def renew(ttl: int, name: str, cost: int = 1) -> Operation:
    return Operation(RENEW, (KEY,), (ttl, cost, name))


def release(name: str, cost: int = 1) -> Operation:
    return Operation(RELEASE, (KEY,), (cost, name))


class Model:
    """One identity's leases: when each ends and its units."""

    def __init__(self) -> None:
        self.leases: dict[str, tuple[int, int]] = {}

    def live(self, now: int) -> list[int]:
        """When each unit that is held ends."""
        return sorted(ends for ends, cost in self.leases.values() for _ in range(cost) if ends > now)

    def take(self, now: int, amount: int, ttl: int, name: str, cost: int) -> Said:
        ends = self.live(now)
        held = len(ends) - (cost if self.leases.get(name, (0, 0))[0] > now else 0)
        free = amount - held
        if free >= cost:
            if cost:
                self.leases[name] = (now + ttl, cost)
            return Said(PASSED, (free - cost, ttl, 0))
        missing = cost - free
        retry_after = ends[missing - 1] - now if missing <= len(ends) else ttl
        return Said(STOPPED, (max(0, free), ends[-1] - now if held else 0, retry_after))

    def renew(self, now: int, ttl: int, name: str) -> Said:
        ends, cost = self.leases.get(name, (0, 0))
        if ends <= now:
            return Said(STOPPED)
        self.leases[name] = (now + ttl, cost)
        return Said(PASSED)


@pytest.mark.parametrize("seed", range(8))
async def test_every_verdict_and_number_is_the_models(clockwork: Clockwork, seed: int) -> None:
    """Requests that end, repeat, renew, or are never heard of again, on limits whose amount and ttl change."""
    dice = random.Random(seed)
    model, now = Model(), START
    costs: dict[str, int] = {}
    outcomes = set()
    for turn in range(300):
        now += dice.choice([0, 1, 999, 1000, 40_000, SECOND // 3, dice.randrange(SECOND)])
        amount, ttl = dice.choice([(5, SECOND), (5, SECOND), (2, 3 * SECOND), (1, 700_001), (9, SECOND)])
        known = dice.choice([*costs]) if costs else "nobody's"
        action = dice.choice(["take", "take", "repeat", "renew", "renew", "release"])
        if action in ("take", "repeat"):
            name = f"{turn}" if action == "take" else known
            cost = costs.setdefault(name, dice.choice([1, 1, 1, 2, 3, 0]))
            expected = model.take(now, amount, ttl, name, cost)
            said = await clockwork.one(now, take(amount, ttl, name, cost))
        elif action == "renew":
            expected = model.renew(now, ttl, known)
            said = await clockwork.one(now, renew(ttl, known, costs.get(known, 1)))
        else:
            model.leases.pop(known, None)
            expected, said = Said(PASSED), await clockwork.one(now, release(known, costs.get(known, 1)))
        assert said == expected, f"{action} {now - START} µs after the start"
        outcomes.add((action, said.status))
        await ends_with_the_last(clockwork, model, now)
    assert {("take", PASSED), ("take", STOPPED), ("renew", PASSED), ("renew", STOPPED)} <= outcomes


async def ends_with_the_last(clockwork: Clockwork, model: Model, now: int) -> None:
    """The key outlives everything that is held, and not by more than the longest ttl."""
    live, keys = model.live(now), await clockwork.ends()
    assert len(keys) <= 1
    for key, ends in keys.items():
        assert (key, ends is None) == (KEY, False)
        assert ends is not None
        assert ends - now // 1000 <= 3001
    if live:
        (ends,) = keys.values()
        assert ends is not None
        assert (live[-1] - 1) // 1000 <= ends


async def test_what_a_killed_process_held_is_free_again_to_the_microsecond(clockwork: Clockwork) -> None:
    for name in ("a", "b"):
        assert (await clockwork.one(START, take(2, SECOND, name))).status == PASSED
    said = await clockwork.one(START + SECOND - 1, take(2, SECOND, "c"))
    assert said == Said(STOPPED, (0, 1, 1))
    assert await clockwork.one(START + SECOND, take(2, SECOND, "c")) == Said(PASSED, (1, SECOND, 0))


async def test_one_that_is_asked_twice_counts_once(clockwork: Clockwork) -> None:
    for _ in range(3):
        assert await clockwork.one(START, take(3, SECOND, "a", cost=2)) == Said(PASSED, (1, SECOND, 0))
    assert (await clockwork.one(START, take(3, SECOND, "b", cost=2))).status == STOPPED


async def test_one_that_is_renewed_keeps_its_place_for_ever(clockwork: Clockwork) -> None:
    await clockwork.one(START, take(1, SECOND, "a"))
    for third in range(1, 30):
        now = START + third * SECOND // 3
        assert await clockwork.one(now, renew(SECOND, "a")) == Said(PASSED)
        assert (await clockwork.one(now, take(1, SECOND, "b"))).status == STOPPED


async def test_one_that_was_released_or_is_over_is_not_renewed_and_comes_not_back(clockwork: Clockwork) -> None:
    await clockwork.one(START, take(1, SECOND, "a"))
    await clockwork.one(START, release("a"))
    assert await clockwork.one(START, renew(SECOND, "a")) == Said(STOPPED)
    await clockwork.one(START, take(1, SECOND, "b"))
    assert await clockwork.one(START + SECOND, renew(SECOND, "b")) == Said(STOPPED)
    assert (await clockwork.one(START + SECOND, take(1, SECOND, "c"))).status == PASSED


async def test_releasing_twice_or_what_was_never_taken_gives_nobody_a_place(clockwork: Clockwork) -> None:
    await clockwork.one(START, take(1, SECOND, "a"))
    for name in ("b", "b", "never", "a:1"):
        await clockwork.one(START, release(name))
    assert (await clockwork.one(START, take(1, SECOND, "b"))).status == STOPPED
    for _ in range(2):
        await clockwork.one(START, release("a"))
    said = [await clockwork.one(START, take(1, SECOND, name)) for name in ("b", "c")]
    assert [one.status for one in said] == [PASSED, STOPPED]


async def test_a_shorter_ttl_leaves_longer_leases_alone(clockwork: Clockwork) -> None:
    await clockwork.one(START, take(2, 60 * SECOND, "a"))
    await clockwork.one(START, take(2, SECOND, "b"))
    assert (await clockwork.one(START + 30 * SECOND, take(2, SECOND, "c"))).status == PASSED
    assert (await clockwork.one(START + 30 * SECOND, take(2, SECOND, "d"))).status == STOPPED


@pytest.mark.parametrize("back", [1, SECOND, 60 * SECOND])
async def test_a_clock_that_jumps_back_is_no_error_and_lets_nobody_in(clockwork: Clockwork, back: int) -> None:
    await clockwork.one(START, take(1, SECOND, "a"))
    said = await clockwork.one(START - back, take(1, SECOND, "b"))
    assert (said.status, said.values[0]) == (STOPPED, 0)
    assert said.values[2] > 0


async def test_more_than_the_whole_amount_never_fits_and_writes_nothing(clockwork: Clockwork) -> None:
    assert await clockwork.one(START, take(2, SECOND, "a", cost=3)) == Said(STOPPED, (2, 0, SECOND))
    assert await clockwork.ends() == {}


async def test_a_cost_of_nothing_looks_and_writes_nothing(clockwork: Clockwork) -> None:
    assert await clockwork.one(START, take(1, SECOND, "a", cost=0)) == Said(PASSED, (1, SECOND, 0))
    assert await clockwork.ends() == {}
    await clockwork.one(START, take(1, SECOND, "b"))
    assert await clockwork.one(START, take(1, SECOND, "a", cost=0)) == Said(PASSED, (0, SECOND, 0))


async def test_limits_beside_it_are_all_or_nothing_with_it(clockwork: Clockwork) -> None:
    rate: Any = Limit(1, 60, "gcra", 1, "x", b"x").operation(Keys(), digest("who"))
    said = await clockwork.at(START, [take(9, SECOND, "a")], [rate])
    assert [one.status for guard in said for one in guard] == [PASSED, PASSED]
    said = await clockwork.at(START, [take(9, SECOND, "b")], [rate])
    assert [one.status for guard in said for one in guard] == [HELD_BACK, STOPPED]
    assert (await clockwork.one(START, take(9, SECOND, "c"))).values[0] == 7, "a and c are held"
