"""A round: what travels to Redis together, and how its reply is divided again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import OperationFailed, RedisUnavailable
from .script import NOT_RUN, Batch, Place, Replies
from .steps import Ask


class Round(NamedTuple):
    """What travels together: a batch for each guard that asks, and the shape of the program that does them."""

    shape: tuple[Place, ...]
    batches: list[Batch]


class JoinedReply(list[Any]):
    """A program's reply that was put together of several servers' ones: each place has a clock of its own."""

    __slots__ = ("clocks",)

    def __init__(self, values: Sequence[Any], clocks: Sequence[int]) -> None:
        super().__init__(values)
        #: Of each place, in microseconds, the time of the server where the first of its operations was that looks at
        #: something: marks that it makes, and what it counts, bear that time.
        self.clocks = clocks


def clock_of(raw: Sequence[Any], place: int) -> int:
    """Return the server's time in a program's reply, as far as it concerns one place of the round."""
    clock: int = raw.clocks[place] if raw.__class__ is JoinedReply else raw[-1]
    return clock


def read_replies(ask: Ask, part: Sequence[Any], clock: int) -> Replies | RedisUnavailable | None:
    """Read the part of a program's reply that answers `ask`; `clock` is the server's time in it.

    One operation that failed fails them all, with `OperationFailed`, or with the error that stands for its status: it
    did not come to its node. None means that they were not run.
    """
    place = ask.place
    statuses = place.statuses(part)
    if statuses == place.all_passed:
        return Replies(ask, part, True, clock)
    trouble = None
    for status in statuses if len(place.kinds) > 1 else (statuses,):
        if status.__class__ is not int or status == NOT_RUN:
            trouble = status
    if trouble is None:
        return Replies(ask, part, False, clock)
    if isinstance(trouble, RedisUnavailable):
        return trouble
    return None if trouble == NOT_RUN else OperationFailed(trouble.decode("utf-8", "replace"))
