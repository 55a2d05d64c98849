"""A lane whose rounds may have their last part looked at by a replica, at the same time as the primary does the rest.

Law: what comes back is what the primary alone would say, but for what a replica has not heard of yet. A replica's word
counts where its checks say that there is nothing to do; else the primary is asked as well, and its word counts. What
would not have been run (something in front refuses) is told as not run, whatever a replica has said of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from ..core.rounds import JoinedReply, clock_of
from ..core.script import NOT_RUN, PASSED, Batch, OperationKind, Place, is_certain, on_replica, place_of
from ..errors import RedisTimeout, RedisUnavailable
from .lane import Lane
from .link import Link
from .program import Program, program_of
from .replica_set import ReplicaSet
from .verdict import judge


class ReadingLane:
    """A `Lane` that has replicas beside it. `timeout`: seconds of a round, if nothing else is said."""

    def __init__(self, primary: Lane, replicas: ReplicaSet, timeout: float) -> None:
        self._primary = primary
        self._replicas = replicas
        self._timeout = timeout
        self.submit = primary.submit
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def link(self) -> Link | None:
        """That to the primary."""
        return self._primary.link

    @property
    def in_flight(self) -> int:
        """Commands queued or owed a reply by the primary."""
        return self._primary.in_flight

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Send one round, as `Channel.evaluate` does; a replica sees its last part if that may be."""
        looked = self._look(program, batches) if program.shape and program.shape[-1].replica else None
        if looked is None:
            return self._primary.evaluate(program, batches, timeout)
        loop = self._replicas.loop
        deadline = loop.time() + (timeout or self._timeout)
        if len(program.shape) == 1:
            result = loop.create_future()
            looked.add_done_callback(partial(self._alone, result, program, batches[0], deadline))
            return result
        try:
            front = self._primary.evaluate(program_of(program.shape[:-1]), batches[:-1], timeout)
        except BaseException:
            looked.cancel()
            raise
        looked.add_done_callback(_heard)
        return self._spawn(self._join(program, batches[-1], looked, front, deadline))

    def _look(self, program: Program, batches: Sequence[Batch]) -> asyncio.Future[Any] | None:
        """Ask a replica about the last part of a round; None where there is none to ask."""
        try:
            return self._replicas.evaluate(_looking(program.shape[-1]), batches[-1])
        except RedisUnavailable:
            return None

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._replicas.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _alone(
        self,
        result: asyncio.Future[Any],
        program: Program,
        batch: Batch,
        deadline: float,
        looked: asyncio.Future[Any],
    ) -> None:
        """Take the word of a replica for a round of one part, or have the primary asked."""
        error = None if looked.cancelled() else looked.exception()
        if result.done():
            return
        if error is None and not looked.cancelled():
            tail = _certain(program.shape[0], looked.result())
            if tail is not None:
                result.set_result(tail)
                return
        task = self._spawn(self._from_primary(program.shape[0], batch, deadline, alone=True))
        task.add_done_callback(partial(_hand_on, result))

    async def _join(
        self,
        program: Program,
        batch: Batch,
        looked: asyncio.Future[Any],
        front: asyncio.Future[Any],
        deadline: float,
    ) -> Any:
        """Put the reply together of what stands in front and the last part."""
        place = program.shape[-1]
        try:
            head = await front
        except BaseException:
            looked.cancel()
            raise
        if _is_stopped(program.shape, head):
            looked.cancel()
            return _joined(program, head, [*_nothing(place.kinds), head[-1]])
        tail: Sequence[Any] | None = None
        with suppress(RedisUnavailable):
            tail = _certain(place, await looked)
        if tail is None:
            tail = await self._from_primary(place, batch, deadline, alone=False)
        return _joined(program, head, tail)

    async def _from_primary(self, place: Place, batch: Batch, deadline: float, *, alone: bool) -> Sequence[Any]:
        """Have the last part done where it can be; an error stands for its statuses, or is raised where it is alone."""
        try:
            left = deadline - self._replicas.loop.time()
            if left <= 0:
                raise RedisTimeout("the time for Redis is used up")
            raw: Sequence[Any] = await self._primary.evaluate(program_of((place,)), [batch], left)
        except RedisUnavailable as error:
            if alone:
                raise
            return [value for kind in place.kinds for value in (error, *[0] * len(kind.returns))] + [0]
        return raw

    async def connect(self) -> Link | None:
        """Connect to the primary; replicas are looked for when somebody asks."""
        return await self._primary.connect()

    def drop(self, reason: str) -> None:
        """Cut the link to the primary."""
        self._primary.drop(reason)

    def close(self) -> asyncio.Task[None] | None:
        """Fail every caller; the replicas are closed with the links."""
        return self._primary.close()

    def abandon(self) -> Link | None:
        """Let go without I/O."""
        return self._primary.abandon()

    def __repr__(self) -> str:
        return f"<ReadingLane {self._primary!r}, {self._replicas!r}>"


@lru_cache(maxsize=512)
def _looking(place: Place) -> Program:
    """Return the program that only checks what stands in a place."""
    return program_of((place_of(False, tuple([on_replica(kind) for kind in place.kinds])),))


def _certain(place: Place, raw: Any) -> list[Any] | None:
    """Return a replica's reply as the primary would give it; None where the primary has to be asked."""
    if not isinstance(raw, list) or len(raw) != place.width + 1:
        return None
    reply: list[Any] = raw if raw.__class__ is not JoinedReply else JoinedReply(raw, raw.clocks)
    at = 0
    for kind in place.kinds:
        if not is_certain(kind, reply[at]):
            return None
        reply[at] = PASSED
        at += kind.width
    return reply


def _is_stopped(shape: Sequence[Place], head: Sequence[Any]) -> bool:
    """Tell whether something in front of the last place has stopped the round."""
    outcomes: list[Any] = []
    at = 0
    for kind in [kind for place in shape[:-1] for kind in place.kinds]:
        outcomes.append(head[at])
        at += kind.width
    last = shape[-1]
    return bool(judge(shape, [*outcomes, *[PASSED] * len(last.kinds)]).statuses[-1] == NOT_RUN)


def _nothing(kinds: Sequence[OperationKind]) -> list[Any]:
    return [value for kind in kinds for value in (NOT_RUN, *[0] * len(kind.returns))]


def _joined(program: Program, head: Sequence[Any], tail: Sequence[Any]) -> JoinedReply:
    """Return one reply; each place has the clock of who has answered it."""
    clocks = [clock_of(head, number) for number in range(len(program.shape) - 1)]
    return JoinedReply([*head[:-1], *tail[:-1], head[-1]], [*clocks, clock_of(tail, 0) or head[-1]])


def _heard(reply: asyncio.Future[Any]) -> None:
    """What a replica has failed with concerns nobody."""
    if not reply.cancelled():
        reply.exception()


def _hand_on(result: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
    """Give what the primary has said to who waits, if somebody does."""
    error = RedisUnavailable("closed") if task.cancelled() else task.exception()
    if result.done():
        return
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())
