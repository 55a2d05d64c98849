"""Requests that overlap and are settled at any time, over random histories: all numbers are the model's.

Time is given to the server's script, see `clockwork`.
"""

import random

import pytest

from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.models import MODELS, Model, most_in_any_window
from tests.conformance.operations import ALGORITHMS, SECOND, START, Bound, Flight

#: amount, period in seconds, burst
SHAPES = [(5, 1, 5), (20, 3, 4), (50, 60, 25)]


class History:
    """Random requests that overlap, each settled once: soon, late, or long after all is over."""

    def __init__(self, clockwork: Clockwork, algorithm: str, shape: tuple[int, int, int], dice: random.Random) -> None:
        self.clockwork, self.dice, self.shape = clockwork, dice, shape
        self.bound = Bound(algorithm, *shape)
        self.fresh = lambda: MODELS[algorithm](shape[0], shape[1] * SECOND, shape[2])
        self.model: Model = self.fresh()
        self.flying: list[Flight] = []
        self.counted: list[int] = []
        self.ends: dict[bytes, int | None] = {}

    async def step(self, now: int, most: int) -> str:
        """Do one thing at `now`, with the model beside it; settle to at most `most` times what was reserved."""
        if self.flying and self.dice.random() < 0.4:
            return await self.settle(now, self.flying.pop(self.dice.randrange(len(self.flying))), most)
        cost = self.dice.choice([0, 1, 1, 2, 3, 1 + self.shape[2] // 3])
        said = await self.clockwork.one(now, self.bound.take(cost))
        verdict = self.model.check(now, cost)
        assert said == (PASSED if verdict.fits else STOPPED, verdict[1:]), f"{now - START} µs after the start"
        if verdict.fits and cost:
            self.model.commit(now, cost)
            self.flying.append(Flight(now, cost))
        return "taken" if verdict.fits else "refused"

    async def settle(self, now: int, flight: Flight, most: int) -> str:
        actual = self.dice.choice([0, 0, flight.reserved, self.dice.randint(0, most * flight.reserved)])
        said = await self.clockwork.one(now, self.bound.settle(*flight, actual))
        assert said == (PASSED, ())
        self.model.settle(now, *flight, actual)
        self.counted += [flight.taken] * actual
        return "more" if actual > flight.reserved else "less" if actual < flight.reserved else "same"

    def pause(self) -> int:
        amount, period, _ = self.shape
        spans = [*[0] * 12, 1, 1000, period * SECOND // amount, self.dice.randrange(period * SECOND)]
        return self.dice.choice([*spans, period * SECOND + self.dice.choice([-1000, -1, 0, 1, 999, 5 * SECOND])])

    async def every_key_ends(self, now: int) -> None:
        """What was written now ends in time to come; what was not touched may be over."""
        found = await self.clockwork.ends()
        for key, ends in found.items():
            assert ends is not None, key
            assert ends > now // 1000 or ends == self.ends[key]
        self.ends = found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_every_number_is_the_models(clockwork: Clockwork, algorithm: str, shape: tuple[int, int, int]) -> None:
    history = History(clockwork, algorithm, shape, random.Random(f"{algorithm} {shape}"))
    now, outcomes = START, set()
    for _ in range(300):
        now += history.pause()
        outcomes.add(await history.step(now, 3))
        await history.every_key_ends(now)
    assert outcomes == {"taken", "refused", "more", "less", "same"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_really_ran_keeps_the_promise_where_nobody_takes_more_than_was_reserved(
    clockwork: Clockwork, algorithm: str
) -> None:
    amount, period, _ = shape = (8, 2, 8)
    history = History(clockwork, algorithm, shape, random.Random(algorithm))
    now = START
    for _ in range(400):
        now += history.dice.choice([0, 1000, SECOND // 20, SECOND // 5])
        await history.step(now, 1)
    most = most_in_any_window(sorted(history.counted), period * SECOND)
    assert 1 < most <= (amount if algorithm == "log" else 2 * amount)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("seed", range(3))
async def test_a_clock_that_steps_is_no_error_and_all_keys_end(clockwork: Clockwork, algorithm: str, seed: int) -> None:
    """What is gone by the server's clock is gone for good; apart from that the numbers are the model's still."""
    history = History(clockwork, algorithm, (6, 4, 6), random.Random(f"{algorithm} {seed}"))
    now, latest, steps = START, START, 0
    for _ in range(250):
        step = history.dice.choice([0, 1000, SECOND // 2, SECOND, -1, -1000, -SECOND, -3 * SECOND, 5 * SECOND])
        now = max(now + step, latest - 4 * SECOND)
        latest, steps = max(now, latest), steps + (step < 0)
        if not any(ends >= now // 1000 for ends in (await clockwork.ends()).values() if ends):
            history.model, history.flying = history.fresh(), []
        await history.step(now, 2)
        await history.every_key_ends(now)
    assert steps > 50
