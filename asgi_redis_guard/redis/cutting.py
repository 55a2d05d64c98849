"""Rounds whose keys lie in several slots: cut, sent in one pass or two, and put together as one reply.

Law: the reply is that of the one program (`verdict.py`), and never takes more than two passes. What is left for the
second one is checked again there: it has lost a race where that stops, and is reported as stopped. What was committed
meanwhile in another slot and would not have been is undone where its kind says how, in the background, and else
reported as committed: whoever took something and hears of it gives it back.

A slot that cannot be reached fails its own operations alone: the error itself stands for their status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from ..core.script import Batch, Operation
from ..errors import GuardProtocolError
from .cut_plan import NOWHERE, plan_of
from .cut_round import CutRound
from .kept import Kept, KeptFuture
from .program import Program


class Send(Protocol):
    """Sends a program to where a slot is served; as `Lane.evaluate`, which may raise `RedisUnavailable` at once."""

    def __call__(
        self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float
    ) -> asyncio.Future[Any]: ...


#: Has an operation done at a slot in the background: it undoes what another has committed there.
Undo = Callable[[Any, Operation], None]


class Cutter:
    """Carries out rounds over slots, which `slot_of` tells of a key; anything that can be a key of a dict is one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slot_of: Callable[[bytes], Hashable],
        send: Send,
        undo: Undo,
        timeout: float,
    ) -> None:
        self.loop = loop
        self.send = send
        self.undo = undo
        self._slot_of = slot_of
        self._timeout = timeout

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Carry out one round, as `Lane.evaluate` does; raises `GuardProtocolError` for keys of one operation apart."""
        numbers: dict[Any, int] = {}
        slots = [
            NOWHERE if slot is None else numbers.setdefault(slot, len(numbers))
            for batch in batches
            for slot in self._slots(batch)
        ]
        timeout = timeout or self._timeout
        if len(numbers) <= 1:
            return self.send(next(iter(numbers), None), program, batches, timeout)
        plan = plan_of(program.shape, tuple(slots))
        future: asyncio.Future[Any]
        if not program.holds:
            future = self.loop.create_future()
            CutRound(self, plan, batches, list(numbers), timeout, future)
        else:
            future = kept = KeptFuture(loop=self.loop)
            CutRound(self, plan, batches, list(numbers), timeout, Kept(kept))
        return future

    def _slots(self, batch: Batch) -> Sequence[Any]:
        """Return the slot of each operation of a batch, None for one without keys."""
        found, at = [], 0
        for kind in batch.kinds:
            keys = batch.keys[at : at + len(kind.keys)]
            at += len(kind.keys)
            slots = [*map(self._slot_of, keys)]
            if len(slots) > 1 and len({*slots}) > 1:
                raise GuardProtocolError(f"the keys of {kind.name} lie in {len({*slots})} slots; one is allowed")
            found.append(slots[0] if slots else None)
        return found
