"""Each algorithm alone, over random arrivals: verdict and numbers are the model's to the microsecond, on all servers.

Time is given to the server's script, see `clockwork`.
"""

import random
from collections import Counter as Counted
from collections.abc import Iterator

import pytest

from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.policy import KINDS, SETTLES
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.models import MODELS, Calendar, Counter, Fixed, Gcra, Log, Model, Verdict, most_in_any_window
from tests.conformance.operations import ALGORITHMS, DRAINING, SECOND, START, operation

#: amount, period in seconds, burst
SHAPES = [(1, 1, 1), (5, 1, 5), (7, 3, 2), (100, 60, 10), (3, 3600, 3), (999_983, 1, 7)]


def arrivals(dice: random.Random, period: int, amount: int) -> Iterator[int]:
    """Pauses: none, steady, at random, and now and then longer than anything is remembered."""
    while True:
        for _ in range(dice.choice([1, 3, 2 * min(amount, 8)])):
            yield 0
        mean = period * SECOND / amount
        for _ in range(dice.randrange(4)):
            yield dice.choice([1, int(mean), int(dice.expovariate(1 / mean)), int(dice.random() * period * SECOND)])
        if dice.random() < 0.15:
            yield period * SECOND + dice.choice([-1, 0, 1, 999, 1000, 10 * period * SECOND])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("amount", "period", "burst"), SHAPES)
async def test_every_verdict_and_number_is_the_models(
    clockwork: Clockwork, algorithm: str, amount: int, period: int, burst: int
) -> None:
    dice = random.Random(f"{algorithm} {amount} {period}")
    model = MODELS[algorithm](amount, period * SECOND, burst)
    now, pauses = START, arrivals(dice, period, amount)
    admitted: list[int] = []
    for _ in range(400):
        now += next(pauses)
        cost = dice.choice([1, 1, 1, 2, 3])
        said = await clockwork.one(now, operation(algorithm, amount, period, burst, cost))
        verdict = model.check(now, cost)
        assert said == (PASSED if verdict.fits else STOPPED, verdict[1:]), f"{now - START} µs after the start"
        if verdict.fits:
            model.commit(now, cost)
            admitted += [now] * cost
        elif cost <= min(burst, amount) and dice.random() < 0.5:
            now = await retry(clockwork, model, verdict, operation(algorithm, amount, period, burst, cost), now)
            admitted += [now] * cost
    promise_is_kept(model, admitted, amount, period * SECOND, burst)


async def retry(clockwork: Clockwork, model: Model, verdict: Verdict, again: Operation, now: int) -> int:
    """Come back when told to, and before that a moment too early."""
    early = now + verdict.retry_after - 1
    if early > now:
        assert (await clockwork.one(early, again)).status == STOPPED
    assert (await clockwork.one(now + verdict.retry_after, again)).status == PASSED
    model.commit(now + verdict.retry_after, again.args[-1])
    return now + verdict.retry_after


def promise_is_kept(model: object, admitted: list[int], amount: int, period: int, burst: int) -> None:
    """What is said of each algorithm, looked at from outside."""
    if isinstance(model, Log):
        assert most_in_any_window(admitted, period) <= amount
    if isinstance(model, Fixed | Counter | Calendar):
        assert most_in_any_window(admitted, period) <= 2 * amount
    if isinstance(model, Calendar):
        assert max(Counted(time // period for time in admitted).values()) <= amount
    if isinstance(model, Gcra):
        for first, begin in enumerate(admitted):
            for last in range(first, min(len(admitted), first + 100)):
                assert (last - first + 1 - burst) * model.step <= admitted[last] - begin


#: For each algorithm the least and the most that an adversary gets through in one period, in parts of the amount.
WORST = {
    "gcra": (1.9, 2),
    "leaky": (1.9, 2),
    "fixed": (1.9, 2),
    "counter": (1.9, 2),
    "log": (1, 1),
    "calendar": (2, 2),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_worst_case_is_what_the_docs_say(clockwork: Clockwork, algorithm: str) -> None:
    """One request, all that is left a moment before its window ends, and then as much as is let through."""
    amount, period = 100, 60 * SECOND
    asked = operation(algorithm, amount, 60, amount)
    admitted: list[int] = []
    for now in (START, START + period - 1000, *range(START + period, START + 2 * period, period // 100)):
        while now > START or not admitted:
            if (await clockwork.one(now, asked)).status != PASSED:
                break
            admitted.append(now)
    least, most = WORST[algorithm]
    assert least * amount <= most_in_any_window(admitted, period) <= most * amount


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_key_ends_when_nothing_is_left_to_remember(clockwork: Clockwork, algorithm: str) -> None:
    dice = random.Random(algorithm)
    now = START
    for _ in range(60):
        now += dice.choice([0, 1, 100_000, 900_000])
        said = await clockwork.one(now, operation(algorithm, 10, 5, 10))
        reset_after = said.values[1] if said.status == PASSED else None
        ((_, ends),) = (await clockwork.ends()).items()
        assert ends is not None
        assert 0 < ends - now // 1000 <= (10_000 if algorithm == "counter" else 5000)
        if reset_after is not None:
            assert reset_after <= (ends + 1) * 1000 - now <= reset_after + 2000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_refused_request_writes_nothing(clockwork: Clockwork, algorithm: str) -> None:
    asked = operation(algorithm, 2, 10, 2)
    assert [(await clockwork.one(START, asked)).status for _ in range(3)] == [PASSED, PASSED, STOPPED]
    before = await clockwork.ends()
    until = {"gcra": 5, "leaky": 5, "fixed": 10, "counter": 15, "log": 10, "calendar": 10}[algorithm] * SECOND
    whole = until - (START % until if algorithm == "calendar" else 0)
    for pause in (1000, 4000, SECOND):
        said = await clockwork.one(START + pause, asked)
        assert (said.status, said.values[2]) == (STOPPED, whole - pause)
    assert await clockwork.ends() == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_cost_of_nothing_looks_and_writes_nothing(clockwork: Clockwork, algorithm: str) -> None:
    look, take = (operation(algorithm, 2, 10, 2, cost=cost) for cost in (0, 1))
    assert (await clockwork.one(START, look)).values[0] == 2
    assert await clockwork.ends() == {}
    for left in (1, 0):
        assert (await clockwork.one(START, take)).status == PASSED
        before = await clockwork.ends()
        said = await clockwork.one(START, look)
        assert (said.status, said.values[0], await clockwork.ends()) == (PASSED, left, before)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_clock_that_jumps_back_is_no_error_and_lets_nobody_in(clockwork: Clockwork, algorithm: str) -> None:
    asked = operation(algorithm, 3, 10, 3)
    assert [(await clockwork.one(START, asked)).status for _ in range(3)] == [PASSED] * 3
    for back in (1, 1000, SECOND, 5 * SECOND):
        said = await clockwork.one(START - back, asked)
        assert (said.status, said.values[0]) == (STOPPED, 0)
        assert said.values[2] > 0


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in DRAINING])
async def test_another_amount_keeps_what_was_used(clockwork: Clockwork, algorithm: str) -> None:
    for _ in range(4):
        await clockwork.one(START, operation(algorithm, 10, 60, 10))
    assert (await clockwork.one(START, operation(algorithm, 6, 60, 6))).values[0] == 1
    assert (await clockwork.one(START, operation(algorithm, 3, 60, 3))).status == STOPPED
    assert (await clockwork.one(START, operation(algorithm, 5, 60, 5))).status == STOPPED
    assert (await clockwork.one(START, operation(algorithm, 100, 60, 100))).values[0] == 94


@pytest.mark.parametrize("algorithm", DRAINING)
async def test_another_amount_keeps_how_full_the_bucket_is(clockwork: Clockwork, algorithm: str) -> None:
    for _ in range(5):
        await clockwork.one(START, operation(algorithm, 10, 60, 10))
    assert (await clockwork.one(START, operation(algorithm, 100, 60, 100))).values[0] == 49
    assert (await clockwork.one(START, operation(algorithm, 2, 60, 2))).status == STOPPED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_more_than_the_whole_amount_never_fits_and_is_no_error(clockwork: Clockwork, algorithm: str) -> None:
    for _ in range(3):
        said = await clockwork.one(START, operation(algorithm, 3, 10, 3, cost=4))
        assert (said.status, said.values[0]) == (STOPPED, 3)
        assert said.values[2] > 0
    assert (await clockwork.one(START, operation(algorithm, 3, 10, 3, cost=3))).status == PASSED


def test_every_algorithm_is_looked_at_here() -> None:
    assert KINDS.keys() == SETTLES.keys() == MODELS.keys() == WORST.keys() == {*ALGORITHMS}
