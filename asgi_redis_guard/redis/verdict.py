"""What a round has come to, where its checks were done in several places: the rules of `program.py`, in Python. Pure.

Law: the same as the one program's Lua says, for any outcomes of the checks; `tests/redis/test_cut_plan.py` compares the
two. A failure counts as one of the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.script import HELD_BACK, IDLE, NOT_RUN, PASSED, STOPPED, Place


class Verdict(NamedTuple):
    """Statuses of all operations, as the one program would give them, and the places whose commits are `refused`."""

    statuses: list[Any]
    refused: frozenset[int]


def judge(shape: Sequence[Place], outcomes: Sequence[Any]) -> Verdict:
    """Tell what becomes of a round, by what came of each check: passed, stopped, or an error in its place.

    What stands for a check that was not run does not matter: something in front of it has stopped.
    """
    statuses: list[Any] = []
    stop_at, stop_group = len(outcomes), None
    refused: set[int] = set()
    for number, place in enumerate(shape):
        if stop_at < len(statuses):
            statuses += [NOT_RUN] * len(place.kinds)
            continue
        for kind in place.kinds:
            outcome = outcomes[len(statuses)]
            stops = outcome == STOPPED
            if stops and place.shadow:
                refused.add(number)
            elif (stops or (place.closed and is_failure(outcome))) and stop_at == len(outcomes):
                stop_at, stop_group = len(statuses), kind.stops if stops else None
                if not place.shadow:
                    refused.add(number)
            statuses.append(outcome if stops or is_failure(outcome) or outcome == IDLE else PASSED)
    _hold_back(shape, statuses, stop_at, stop_group, refused)
    return Verdict(statuses, frozenset(refused))


def is_failure(outcome: Any) -> bool:
    """Tell whether an operation has failed: its status is the text of an error, or the error itself."""
    return outcome.__class__ is not int


def _hold_back(
    shape: Sequence[Place], statuses: list[Any], stop_at: int, stop_group: str | None, refused: set[int]
) -> None:
    """Set the status of what has passed and must not commit."""
    at = 0
    for number, place in enumerate(shape):
        stopped_inside = place.shadow and number in refused
        for kind in place.kinds:
            if statuses[at] == PASSED and kind.commit:
                with_its_group = kind.group is not None and (kind.group == stop_group or stopped_inside)
                if stop_at < at or with_its_group:
                    statuses[at] = HELD_BACK
            at += 1
