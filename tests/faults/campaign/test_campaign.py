"""The fault campaign: each fault on each topology, under load through the full stack; see `cell.py` for what must hold."""

import pytest

from tests.faults.campaign.cell import run
from tests.faults.campaign.faults import FAULTS
from tests.faults.campaign.report import ROWS

CELLS = [(world, fault.name) for fault in FAULTS.values() for world in fault.on]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("world", "name"), CELLS, ids=[f"{world}: {name}" for world, name in CELLS])
async def test_no_wrong_answer_no_endless_wait_nothing_left(world: str, name: str) -> None:
    row = await run(world, FAULTS[name], steady=1.5)
    ROWS.append(row)
    assert not row.faults
