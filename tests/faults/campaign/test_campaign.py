"""The fault campaign: each fault on each topology, under the load of a full stack; `cell.py` says what must hold.

A short form of some cells runs in every run of the tests, the whole of it with `pytest -m campaign`.
"""

import pytest

from tests.faults.campaign.cell import run
from tests.faults.campaign.faults import FAULTS
from tests.faults.campaign.report import ROWS

CELLS = [(world, fault.name) for fault in FAULTS.values() for world in fault.on]
SHORT = [
    ("single", "killed, back with its data"),
    ("single", "full, noeviction"),
    ("single", "cut before the reply"),
    ("cluster", "failed over in order"),
    ("cluster", "resharded"),
    ("sentinel", "stopped, replaced and continued"),
]


async def judge(world: str, name: str, steady: float) -> None:
    """Run a cell; its row goes into the table, whatever comes of it."""
    row = await run(world, FAULTS[name], steady=steady)
    ROWS.append(row)
    assert not row.faults, "\n".join(row.faults)


@pytest.mark.parametrize(("world", "name"), SHORT, ids=[f"{world}: {name}" for world, name in SHORT])
async def test_some_faults_do_no_harm(world: str, name: str) -> None:
    await judge(world, name, steady=0.5)


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("world", "name"), CELLS, ids=[f"{world}: {name}" for world, name in CELLS])
async def test_no_fault_makes_a_wrong_answer_an_endless_wait_or_leaves_something_behind(world: str, name: str) -> None:
    await judge(world, name, steady=1.5)
