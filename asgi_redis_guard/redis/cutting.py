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
from functools import partial
from typing import Any, Protocol

from ..core.keys import hash_tag
from ..core.script import Batch, Operation
from ..errors import GuardProtocolError, RedisUnavailable
from .cut_plan import NOWHERE, plan_of
from .cut_round import CutRound
from .kept import Kept, KeptFuture
from .pipeline import Waiter
from .program import Program


class Send(Protocol):
    """Sends a program to where a slot is served; as `Lane.evaluate`, which may raise `RedisUnavailable` at once."""

    def __call__(
        self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float
    ) -> asyncio.Future[Any]: ...


#: Has an operation done at a slot in the background: it undoes what another has committed there.
Undo = Callable[[Any, Operation], None]

#: Sends as `Send` does, and gives the reply to a waiter: that spares a future and a pass of the loop for each part.
Tell = Callable[[Any, Program, Sequence[Batch], float, Waiter], None]


class Cutter:
    """Carries out rounds over slots, which `slot_of` tells of a hash tag, or of a key without one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slot_of: Callable[[bytes], Hashable],
        send: Send,
        undo: Undo,
        timeout: float,
        tell: Tell | None = None,
    ) -> None:
        self.loop = loop
        self.send = send
        self.tell = tell or self._tell
        self.undo = undo
        self._slot_of = slot_of
        self._timeout = timeout

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Carry out one round, as `Lane.evaluate` does; raises `GuardProtocolError` for keys of one operation apart.

        It is cut by hash tags: which slots happen to be the same is chance, or a client's choice, and no shape of
        rounds. Where all of them are, it is sent whole.
        """
        tags: dict[bytes, int] = {}
        places = [
            NOWHERE if tag is None else tags.setdefault(tag, len(tags))
            for batch in batches
            for tag in batch.tags or _tags(batch)
        ]
        slots = [*map(self._slot_of, tags)]
        timeout = timeout or self._timeout
        if len({*slots}) <= 1:
            return self.send(slots[0] if slots else None, program, batches, timeout)
        plan = plan_of(program.shape, tuple(places))
        future: asyncio.Future[Any]
        if not program.holds:
            future = self.loop.create_future()
            CutRound(self, plan, batches, slots, timeout, future)
        else:
            future = kept = KeptFuture(loop=self.loop)
            CutRound(self, plan, batches, slots, timeout, Kept(kept))
        return future

    def _tell(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float, waiter: Waiter) -> None:
        reply = self.send(slot, program, batches, timeout)
        if reply.done():
            _pass_on(waiter, reply)
        else:
            reply.add_done_callback(partial(_pass_on, waiter))


def _pass_on(waiter: Waiter, reply: asyncio.Future[Any]) -> None:
    error = RedisUnavailable("closed") if reply.cancelled() else reply.exception()
    if error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(reply.result())


def _tags(batch: Batch) -> tuple[bytes | None, ...]:
    """Return the hash tag of each operation of a batch, which remembers them; None for one without keys."""
    at = 0
    tags: list[bytes | None] = []
    for kind in batch.kinds:
        count = len(kind.keys)
        tag = hash_tag(batch.keys[at]) if count else None
        if count > 1 and (apart := {hash_tag(key) for key in batch.keys[at : at + count]} - {tag}):
            raise GuardProtocolError(f"the keys of {kind.name} lie in {1 + len(apart)} slots; one is allowed")
        at += count
        tags.append(tag)
    batch.tags = found = tuple(tags)
    return found
