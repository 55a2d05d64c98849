"""Several limits in one program: all or nothing, over random arrivals and random stacks, on all servers.

Time is given to the server's script, see `clockwork`.
"""

import random
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Operation, OperationKind
from asgi_redis_guard.jwt.revocation.questions import CUTOFF, MARK
from tests.conformance import operations
from tests.conformance.clockwork import HELD_BACK, NOT_RUN, PASSED, STOPPED, Clockwork, Said
from tests.conformance.models import MODELS, Model
from tests.conformance.operations import DRAINING, KEYS, SECOND, START


class Bound(operations.Bound):
    """A limit, one identity and the model of both."""

    def __init__(self, algorithm: Any, amount: int, period: int, burst: int, name: str) -> None:
        super().__init__(algorithm, amount, period, burst, name)
        self.operation = self.take()
        self.model: Model = MODELS[algorithm](amount, period * SECOND, burst)


def any_limit(dice: random.Random, name: str) -> Bound:
    algorithm = dice.choice([*MODELS])
    amount, period = dice.choice([(1, 1), (3, 2), (5, 1), (20, 10), (50, 60)])
    return Bound(algorithm, amount, period, dice.randint(1, amount) if algorithm in DRAINING else amount, name)


def expect(stack: list[list[Bound]], now: int) -> list[list[Said]]:
    """What must be said: every limit of the first guard that refuses is looked at, those behind it are not run."""
    said: list[list[Said]] = []
    refused = False
    for guard in stack:
        if refused:
            said.append([Said(NOT_RUN, (0, 0, 0)) for _ in guard])
            continue
        verdicts = [bound.model.check(now, 1) for bound in guard]
        said.append([Said(PASSED if verdict.fits else STOPPED, verdict[1:]) for verdict in verdicts])
        refused = not all(verdict.fits for verdict in verdicts)
    if refused:
        return [
            [Said(HELD_BACK if one.status == PASSED else one.status, one.values) for one in guard] for guard in said
        ]
    for bound in (bound for guard in stack for bound in guard):
        bound.model.commit(now, 1)
    return said


@pytest.mark.parametrize("seed", range(6))
async def test_a_stack_counts_in_all_its_limits_or_in_none(clockwork: Clockwork, seed: int) -> None:
    dice = random.Random(seed)
    stack = [
        [any_limit(dice, f"{place}-{n}") for n in range(dice.randint(1, 3))] for place in range(dice.randint(1, 4))
    ]
    now = START
    outcomes = set()
    for _ in range(150):
        now += dice.choice([0, 0, 1, 1000, 40_000, 200_000, dice.randrange(3 * SECOND)])
        expected = expect(stack, now)
        said = await clockwork.at(now, *[[bound.operation for bound in guard] for guard in stack])
        assert said == expected, f"{now - START} µs after the start"
        outcomes |= {one.status for guard in said for one in guard}
    assert {PASSED, STOPPED} <= outcomes


async def test_a_refusal_knows_all_limits_of_its_guard_that_it_violates(clockwork: Clockwork) -> None:
    guard = [Bound("log", 2, 10, 2, "a"), Bound("fixed", 2, 60, 2, "b"), Bound("gcra", 9, 60, 9, "c")]
    asked = [bound.operation for bound in guard]
    for _ in range(2):
        assert [one.status for one in (await clockwork.at(START, asked))[0]] == [PASSED] * 3
    assert [one.status for one in (await clockwork.at(START, asked))[0]] == [STOPPED, STOPPED, HELD_BACK]


@pytest.mark.parametrize("algorithm", [*MODELS])
async def test_a_revoked_token_drains_the_limit_before_it_and_not_the_one_behind(
    clockwork: Clockwork, manager: RedisManager, algorithm: str
) -> None:
    outer, inner = Bound(algorithm, 5, 60, 5, "address"), Bound(algorithm, 5, 60, 5, "user")
    mark, cutoff = KEYS.token("", "t"), KEYS.user("", "alice")
    jwt = [Operation(MARK, (mark,)), Operation(CUTOFF, (cutoff,), (START,))]

    async def remaining(*guards: list[Operation]) -> list[int | None]:
        said = await clockwork.at(START, *guards)
        return [one.values[0] if one.status == PASSED else None for guard in said for one in guard if one.values]

    stack = ([outer.operation], jwt, [inner.operation])
    assert await remaining(*stack) == [4, 4]
    for key, value in ((mark, ""), (cutoff, START)):
        await manager.execute("SET", key, value, "EX", 60)
        assert await remaining(*stack) in ([3, None], [2, None])
        await manager.execute("DEL", key)
    assert await remaining(*stack) == [1, 3]
    assert await remaining(*stack) == [0, 2]
    assert await remaining(*stack) == [None, None]
    assert await remaining([inner.operation]) == [1], "what the outer limit refused has not counted inside"


async def test_a_limit_whose_key_is_spoiled_fails_alone(clockwork: Clockwork, manager: RedisManager) -> None:
    """Its own guard hears of it; the others count."""
    broken, good = Bound("gcra", 5, 60, 5, "broken"), Bound("log", 5, 60, 5, "good")
    await manager.execute("RPUSH", broken.operation.keys[0], "x")
    with pytest.raises(AssertionError, match="WRONGTYPE"):
        await clockwork.at(START, [broken.operation], [good.operation])
    assert (await clockwork.one(START, good.operation)).values[0] == 3


@pytest.mark.parametrize("kind", [MARK, CUTOFF])
async def test_the_blacklist_writes_nothing(clockwork: Clockwork, manager: RedisManager, kind: OperationKind) -> None:
    said = await clockwork.one(START, Operation(kind, (b"key",), (0,) * len(kind.args)))
    assert said == (PASSED, ())
    assert await manager.execute("DBSIZE") == 0
