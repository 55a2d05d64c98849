"""What was counted is set right later: no refund is a gift, no debt is forgotten, and nothing is left of what was not.

Time is given to the server's script, see `clockwork`.
"""

import random

import pytest

from asgi_redis_guard import RedisManager
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.operations import ALGORITHMS, DRAINING, SECOND, START, WINDOWED, Bound, Flight


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("late", [0, 1, SECOND, 9 * SECOND, 10 * SECOND, 15 * SECOND, 25 * SECOND])
async def test_settling_to_what_was_reserved_changes_nothing(clockwork: Clockwork, algorithm: str, late: int) -> None:
    settled, left_alone = bounds = [Bound(algorithm, 10, 10, 10, name) for name in ("settled", "left alone")]
    for cost in (3, 2):
        for bound in bounds:
            await clockwork.one(START, bound.take(cost))
    await clockwork.one(START + late, settled.settle(START, 2, 2))
    for more in (0, 1, SECOND, 4 * SECOND, 10 * SECOND, 18 * SECOND):
        now = START + late + more
        assert await clockwork.one(now, settled.take(0)) == await clockwork.one(now, left_alone.take(0))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("seed", range(4))
async def test_a_refund_lets_nobody_through_who_would_not_have_been_without_the_request(
    clockwork: Clockwork, algorithm: str, seed: int
) -> None:
    """Two identities with the same requests, but that one has guests who are given back: after all, or bit by bit."""
    dice = random.Random(f"{algorithm} {seed}")
    visited, alone = (Bound(algorithm, 12, 4, 6, name) for name in ("visited", "alone"))
    now, guests, equal = START, list[Flight](), 0
    for _ in range(200):
        now += dice.choice([0, 1000, 99_999, SECOND // 3, SECOND, dice.randrange(6 * SECOND)])
        if (await clockwork.one(now, visited.take())).status == PASSED:
            assert (await clockwork.one(now, alone.take())).status == PASSED
            cost = dice.choice([1, 2, 3])
            if (await clockwork.one(now, visited.take(cost))).status == PASSED:
                guests.append(Flight(now, cost))
        now += dice.choice([0, 1000, SECOND, 5 * SECOND])
        dice.shuffle(guests)
        while guests and dice.random() < 0.6:
            await clockwork.one(now, visited.settle(*guests.pop(), 0))
        left, whole = [(await clockwork.one(now, bound.take(0))).values[0] for bound in (visited, alone)]
        assert left <= whole
        if not guests and algorithm not in DRAINING:
            assert left == whole, "nothing is withheld either"
            equal += 1
    assert equal > 50 or algorithm in DRAINING


@pytest.mark.parametrize("algorithm", DRAINING)
async def test_a_bucket_gives_back_what_has_not_drained(clockwork: Clockwork, algorithm: str) -> None:
    bound = Bound(algorithm, 10, 10, 10)
    await clockwork.one(START, bound.take(4))
    await clockwork.one(START + SECOND, bound.settle(START, 4, 1))
    assert (await clockwork.one(START + SECOND, bound.take(0))).values[:2] == (10, 0)
    await clockwork.one(START + SECOND, bound.take(4))
    await clockwork.one(START + SECOND, bound.settle(START + SECOND, 4, 1))
    assert (await clockwork.one(START + SECOND, bound.take(0))).values[:2] == (9, SECOND)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_refund_that_comes_when_the_window_is_over_takes_from_no_other(
    clockwork: Clockwork, algorithm: str
) -> None:
    bound = Bound(algorithm, 5, 10, 5)
    later = START + 20 * SECOND
    assert (await clockwork.one(START, bound.take(5))).status == PASSED
    assert (await clockwork.one(later, bound.take(2))).status == PASSED
    before = await clockwork.content()
    await clockwork.one(later, bound.settle(START, 5, 0))
    assert await clockwork.content() == before
    assert (await clockwork.one(later, bound.take(0))).values[0] == 3


async def test_a_refund_in_the_next_window_of_a_counter_is_of_the_one_before(clockwork: Clockwork) -> None:
    bound = Bound("counter", 10, 10, 10)
    await clockwork.one(START, bound.take(10))
    middle = START + 15 * SECOND
    assert (await clockwork.one(middle, bound.take(1))).values[0] == 4
    await clockwork.one(middle, bound.settle(START, 10, 4))
    assert (await clockwork.one(middle, bound.take(0))).values[0] == 7


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_more_than_was_reserved_is_owed_now(clockwork: Clockwork, algorithm: str) -> None:
    bound = Bound(algorithm, 10, 10, 10)
    await clockwork.one(START, bound.take(1))
    await clockwork.one(START, bound.settle(START, 1, 8))
    assert (await clockwork.one(START, bound.take(0))).values[0] == 2
    assert (await clockwork.one(START, bound.take(3))).status == STOPPED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("seen", [True, False], ids=["used since", "unused since"])
async def test_more_than_was_reserved_in_a_window_that_is_over_is_owed_in_this_one(
    clockwork: Clockwork, algorithm: str, seen: bool
) -> None:
    bound = Bound(algorithm, 10, 10, 10)
    later = START + 40 * SECOND
    await clockwork.one(START, bound.take(1))
    if seen:
        await clockwork.one(later, bound.take(1))
    await clockwork.one(later, bound.settle(START, 1, 8))
    assert (await clockwork.one(later, bound.take(0))).values[0] == 3 - seen


@pytest.mark.parametrize("pause", [-1, 0, 1])
async def test_a_debt_at_the_end_of_a_window_is_owed_without_that_windows_units(
    clockwork: Clockwork, pause: int
) -> None:
    """The key of a window that is over may still be there."""
    bound = Bound("fixed", 10, 10, 10)
    border = START + 10 * SECOND + pause
    await clockwork.one(START, bound.take(9))
    await clockwork.one(border, bound.settle(START, 9, 10))
    assert (await clockwork.one(border, bound.take(0))).values[0] == (0 if pause < 0 else 9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_debt_without_end_is_no_error_and_ends(clockwork: Clockwork, algorithm: str) -> None:
    bound = Bound(algorithm, 10, 10, 10)
    for _ in range(3):
        await clockwork.one(START, bound.settle(START, 1, 1_000_000_000))
        said = await clockwork.one(START, bound.take(1))
        assert (said.status, said.values[0]) == (STOPPED, 0)
        assert said.values[2] > 0
    ((_, ends),) = (await clockwork.ends()).items()
    assert ends is not None
    longest = 366 * 86_400_000 if algorithm in DRAINING else 20_000
    assert 0 < ends - START // 1000 <= longest + 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_nothing_is_left_where_all_was_given_back(clockwork: Clockwork, algorithm: str) -> None:
    bound = Bound(algorithm, 10, 10, 10)
    for cost in (1, 3):
        await clockwork.one(START, bound.take(cost))
    for reserved in (3, 1):
        await clockwork.one(START, bound.settle(START, reserved, 0))
    assert await clockwork.ends() == {}
    await clockwork.one(START + SECOND, bound.settle(START, 1, 1))
    assert await clockwork.ends() == {}
    look = await clockwork.one(START + SECOND, bound.take(0))
    assert (look.status, look.values[0]) == (PASSED, 10)


@pytest.mark.parametrize("algorithm", WINDOWED)
async def test_a_window_in_which_nothing_is_left_begins_anew(clockwork: Clockwork, algorithm: str) -> None:
    bound, other = (Bound(algorithm, 10, 10, 10, name) for name in "ab")
    later = START + 12 * SECOND
    await clockwork.one(START, bound.take(4))
    await clockwork.one(later, bound.settle(START, 4, 3))
    for moment in (later + 9 * SECOND, later + 15 * SECOND):
        assert await clockwork.one(moment, bound.take(1)) == await clockwork.one(moment, other.take(1))


async def test_a_log_counts_all_of_one_microsecond_whatever_was_given_back_in_it(clockwork: Clockwork) -> None:
    bound = Bound("log", 20, 10, 20)
    for cost in (2, 3):
        await clockwork.one(START, bound.take(cost))
    await clockwork.one(START, bound.settle(START, 2, 0))
    assert (await clockwork.one(START, bound.take(4))).values[0] == 13
    for _ in range(2):
        await clockwork.one(START, bound.settle(START, 1, 3))
    assert (await clockwork.one(START, bound.take(0))).values[0] == 9


async def test_a_settlement_whose_key_is_spoiled_says_so(clockwork: Clockwork, manager: RedisManager) -> None:
    bound = Bound("log", 5, 60, 5)
    await manager.execute("SET", bound.take().keys[0], "x")
    with pytest.raises(AssertionError, match="WRONGTYPE"):
        await clockwork.one(START, bound.settle(START, 1, 3))


@pytest.mark.parametrize("algorithm", ["fixed", "counter"])
async def test_a_window_goes_on_though_the_request_that_began_it_was_given_back(
    clockwork: Clockwork, algorithm: str
) -> None:
    """The one thing that a request leaves behind: when the window of the others ends."""
    bound = Bound(algorithm, 5, 10, 5)
    await clockwork.one(START, bound.take(1))
    later = START + 4 * SECOND
    await clockwork.one(later, bound.take(4))
    await clockwork.one(later, bound.settle(START, 1, 0))
    look = await clockwork.one(later, bound.take(0))
    assert look.values[:2] == (1, 6 * SECOND if algorithm == "fixed" else 16 * SECOND)
