"""The campaign finds what is wrong: an oracle that nothing can contradict would prove nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.campaign.cell import run
from tests.faults.campaign.faults import Fault
from tests.faults.campaign.load import Sample
from tests.faults.campaign.measure import recovery, settled, speed
from tests.faults.campaign.oracle import FENCE, LIMIT, LOCK, SESSION, TOKEN, TWICE, Allowance, Oracle
from tests.faults.campaign.world import World, keys_of

GONE = (b"guard:t:", b"guard:s:", b"guard:l:", b"guard:y:", b"guard:k:")


@asynccontextmanager
async def forgetting(world: World) -> AsyncIterator[None]:
    """A server that forgets, and keeps it from everybody."""
    for key, _ in await asyncio.to_thread(lambda: list(keys_of(world.victim))):
        if key.startswith(GONE):
            await asyncio.to_thread(world.victim.command, "DEL", key)
    yield


async def test_what_a_server_forgets_is_found() -> None:
    fault = Fault("forgetting", forgetting, ("single",), 1.0, proxied=False, excused=frozenset(), recent=False)
    row = await run("single", fault, steady=0.5)
    kinds = {fault.partition(":")[0] for fault in row.faults}
    assert {TOKEN, SESSION} <= kinds


def test_holders_with_one_fence_or_at_one_time_are_found() -> None:
    oracle = Oracle()
    oracle.enters("a", 5)
    oracle.leaves("a", 5)
    oracle.enters("b", 5)
    assert not oracle.wrong
    oracle.enters("a", 5)
    assert [wrong.partition(":")[0] for wrong in oracle.wrong] == [FENCE]
    oracle.enters("a", 4)
    assert [wrong.partition(":")[0] for wrong in oracle.wrong] == [FENCE, FENCE, LOCK]


def test_a_payment_after_its_receipt_and_another_receipt_are_found() -> None:
    oracle = Oracle()
    oracle.pays("a")
    oracle.pays("a")  # nobody was told of the first
    oracle.receipt("a", b"2")
    oracle.receipt("a", b"2")
    assert not oracle.wrong
    oracle.receipt("a", b"1")
    oracle.pays("a")
    assert [wrong.partition(":")[0] for wrong in oracle.wrong] == [TWICE, TWICE]


@pytest.mark.parametrize("times", [1, 2])
def test_more_than_a_limit_gives_is_found(times: int) -> None:
    oracle = Oracle()
    allowance = Allowance(oracle, "limit", burst=20, every=300.0, times=times)
    for _ in range(times * 21):
        allowance.passes()
    assert not oracle.wrong
    allowance.passes()
    assert oracle.wrong[0].startswith(LIMIT)


def test_only_what_was_lost_with_the_data_is_excused() -> None:
    oracle = Oracle([SESSION], recent=True)
    oracle.found(SESSION, "before the fault")
    oracle.fault_begins()
    now = oracle._began
    oracle.found(TOKEN, "of another kind", now)
    oracle.found(SESSION, "long ago", now - 10)
    oracle.found(SESSION, "just so", now)
    oracle.fault_ends()
    oracle.found(SESSION, "after the fault", oracle._ended + 1)
    assert len(oracle.wrong) == 4
    assert oracle.lost == {SESSION: 1}


def test_recovery_is_the_first_second_of_full_speed() -> None:
    outage = [Sample(ended=place / 100, took=0.0, served=not 300 <= place < 480) for place in range(1000)]
    assert speed(outage, 0.0, 3.0) == pytest.approx(100, rel=0.02)
    assert recovery(outage, 3.0, 10.0, 100) == pytest.approx(1.5, abs=0.06)
    assert recovery(outage[:450], 3.0, 4.5, 100) is None


def test_a_machine_that_is_slower_now_is_no_fault_unless_something_fails() -> None:
    def served(every: int) -> list[Sample]:
        return [Sample(ended=place / 50, took=0.0, served=place % every != 1) for place in range(100)]

    assert settled(served(1), 0.0, 2.0, before=100) == pytest.approx(50, rel=0.03)
    assert settled(served(1), 0.0, 2.0, before=1000) == 1000, "nor if it is as good as away"
    assert settled(served(10), 0.0, 2.0, before=100) == 100
