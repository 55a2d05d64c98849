"""The leaky bucket over random arrivals: requests leave at a steady pace, and none waits for too long.

Time is given to the server's script, see `clockwork`.
"""

import random

import pytest

from asgi_redis_guard.core.script import Reply
from asgi_redis_guard.ratelimit.headers import HeaderStyle
from asgi_redis_guard.ratelimit.plan import Plan
from asgi_redis_guard.ratelimit.policy import read_states
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.operations import SECOND, START, Bound

SHAPES = [(5, 1, 5), (7, 3, 2), (100, 60, 10), (3, 3600, 1), (50, 1, 50)]  # amount, period (s), burst


@pytest.mark.parametrize(("amount", "period", "burst"), SHAPES)
@pytest.mark.parametrize("most", [1, 3], ids=["single units", "several units"])
async def test_requests_leave_no_closer_than_the_pace(
    clockwork: Clockwork, amount: int, period: int, burst: int, most: int
) -> None:
    dice = random.Random(f"{amount} {period} {most}")
    bound = Bound("leaky", amount, period, burst)
    plan, step, now = Plan([bound.limit], HeaderStyle()), bound.limit.step, START
    free, waited, refused = START, 0, 0  # when the last one that left is through
    pauses = [0, 0, 0, 1, step // 3, step, step + 1]
    for turn in range(300):
        now += dice.choice([*pauses, dice.randrange(3 * step), burst * step * (turn % 50 == 0)])
        cost = dice.randint(1, most)
        said = await clockwork.one(now, bound.take(cost))
        if said.status == STOPPED:
            refused += 1
            continue
        delay = round(plan.delay(read_states([bound.limit], [Reply(True, True, said.values)], cost), cost) * SECOND)
        assert now + delay >= free - 1
        assert delay in (0, free - now), "nor later than it has to"
        assert 0 <= delay <= (burst - cost) * step
        free, waited = now + delay + cost * step, waited + (delay > 0)
    assert refused > 10
    assert waited > 10 or burst == 1


async def test_the_slowest_of_several_tells_how_long_to_wait(clockwork: Clockwork) -> None:
    bounds = [Bound("leaky", 10, 1, 10, "a"), Bound("gcra", 9, 60, 9, "b"), Bound("leaky", 5, 2, 5, "c")]
    plan, delays = Plan([bound.limit for bound in bounds], HeaderStyle()), []
    for _ in range(4):
        said = (await clockwork.at(START, [bound.take() for bound in bounds]))[0]
        replies = [Reply(one.status == PASSED, True, one.values) for one in said]
        delays.append(plan.delay(read_states(plan.limits, replies), 1))
    assert delays == [0, 0.4, 0.8, 1.2]


async def test_a_bucket_that_has_run_dry_lets_one_go_at_once(clockwork: Clockwork) -> None:
    bound = Bound("leaky", 10, 1, 3)
    plan = Plan([bound.limit], HeaderStyle())
    for now, expected in [(0, 0.0), (0, 0.1), (50_000, 0.15), (250_000, 0.05), (400_000, 0.0), (10**7, 0.0)]:
        said = await clockwork.one(START + now, bound.take())
        assert plan.delay(read_states([bound.limit], [Reply(True, True, said.values)]), 1) == expected
