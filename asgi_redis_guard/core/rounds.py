"""The way of one exchange through its guards, without any I/O: what to ask next, and what was decided.

Guards are started in order; what they ask for travels together; what comes back is given to them in order again, so
that the outermost refusal wins although all asked at once. A driver does what `advance` returns and calls it again:

    round = admission.advance()
    while round is not None:
        … do it, then `admission.replied(raw)`, `.failed(error)`, `.resumed(value)` or `.thrown(error)` …
        round = admission.advance()
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import GuardProtocolError, OperationFailed, RedisUnavailable
from .exchange import Exchange
from .guard import PASS, Admission, Answer, Ask, Body, Guard, Pass, RequestEdits, Responder, Wait
from .problem import unavailable
from .script import NOT_RUN, PASSED, Batch, OperationKind, Replies

logger = logging.getLogger("asgi_redis_guard.core")


class Round(NamedTuple):
    """What travels together: a batch for each guard that asks, and the shape of the program that does them.

    A place of the shape is the guard's index, whether a failure there stops the round, and the kinds of operation.
    """

    shape: tuple[Place, ...]
    batches: list[Batch]


Place = tuple[int, bool, tuple[OperationKind, ...]]


class Admissions:
    """The guards' progress on one exchange.

    When `advance` returns None it is decided: `answer` is what the guard at `answered_by` gave, or None if all passed.
    """

    # Allocated when there is something to put in: objects alive while a reply is awaited are what the collector walks.
    responders: Sequence[Responder] = ()
    scope: Mapping[str, Any] = MappingProxyType({})
    answer: Answer | None = None
    answered_by = -1
    orphans: Sequence[Responder] = ()
    edits: Sequence[RequestEdits] = ()
    degraded: Sequence[int] = ()
    _asked: Sequence[int] = ()

    def __init__(self, guards: Sequence[Guard], exchange: Exchange) -> None:
        self.exchange = exchange
        self._guards = guards
        self._flows: list[Admission | None] = []
        self._steps: list[Any] = []
        self._inputs: dict[int, Any] = {}
        self._cursor = 0

    def advance(self) -> Round | Wait | Body | None:
        """Decide what can be decided, start what can be started; return what to do next, None when all is decided."""
        guards, steps, inputs = self._guards, self._steps, self._inputs
        while True:
            while self._cursor < len(steps):
                step = steps[self._cursor]
                if step.__class__ is Pass:
                    if step is not PASS:
                        self._accept(step)
                    self._cursor += 1
                elif step.__class__ is Answer:
                    self._refuse(self._cursor, step)
                    return None
                elif self._cursor in inputs:
                    steps[self._cursor] = self._resume(self._cursor, inputs.pop(self._cursor))
                else:
                    break
            if self._cursor == len(guards):
                return None
            if len(steps) < len(guards):
                self._start_more()
            step = steps[self._cursor]
            if step.__class__ is Ask:
                return self._collect()
            if step.__class__ is Wait or step.__class__ is Body:
                return step

    def replied(self, raw: Sequence[Any]) -> None:
        """Take the program's reply to the round that `advance` returned."""
        at = 0
        for index in self._asked:
            kinds = self._steps[index].batch.kinds
            replies, at = read_replies(kinds, raw, at)
            if replies is not None:  # None: a guard before it stopped the round, it was not run
                self._inputs[index] = replies

    def failed(self, error: RedisUnavailable) -> None:
        """Tell every guard that asked that there is no reply."""
        for index in self._asked:
            self._inputs[index] = error

    def resumed(self, value: Any) -> None:
        """Give the guard that waits its result: the body, or what it waited for."""
        self._inputs[self._cursor] = value

    def thrown(self, error: Exception) -> None:
        """Throw into the guard that waits."""
        self._inputs[self._cursor] = error

    def abandon(self) -> None:
        """Let every guard that has its reply decide, and close the others: nobody will be answered."""
        self._hear(self._cursor)

    def _resume(self, index: int, value: Any) -> Any:
        """Give a guard what came back for it; return its next step or its verdict."""
        flow = self._flows[index]
        if flow is None:
            raise GuardProtocolError(f"{self._guards[index]!r} was asked to go on after it had decided")
        try:
            if value.__class__ is not Replies and isinstance(value, Exception):
                if isinstance(value, RedisUnavailable):
                    self.degraded = [*self.degraded, index]
                return self._checked(index, flow.throw(value))
            return self._checked(index, flow.send(value))
        except StopIteration as stop:
            self._flows[index] = None
            return self._verdict(index, stop.value)
        except RedisUnavailable:
            self._flows[index] = None
            return unavailable("a service this request depends on is away")

    def _start_more(self) -> None:
        """Start guards as far as they can start now; the one at the cursor always can."""
        guards, steps, facts = self._guards, self._steps, self.exchange.facts
        if steps and steps[-1].__class__ is not Ask and steps[-1].__class__ is not Pass:
            return
        while len(steps) < len(guards):
            guard = guards[len(steps)]
            if guard.needs and len(steps) > self._cursor and self._is_to_come(guard.needs - facts.keys()):
                return
            step = self._start(guard)
            steps.append(step)
            if step.__class__ is not Ask and step.__class__ is not Pass:
                return  # an answer, or something that has to wait for its turn: nothing behind it starts
            if step.facts:
                facts.update(step.facts)

    def _is_to_come(self, missing: frozenset[str]) -> bool:
        """Tell whether a guard that is still undecided may provide what is missing."""
        return bool(missing) and any(
            missing & self._guards[index].provides
            for index in range(self._cursor, len(self._steps))
            if self._steps[index].__class__ is not Pass  # one that has passed has told what it knows
        )

    def _start(self, guard: Guard) -> Any:
        """Start a guard; return its first step."""
        index = len(self._steps)
        if not guard.applies(self.exchange):
            self._flows.append(None)
            return self._verdict(index, guard.exempted(self.exchange))
        flow = guard.admit(self.exchange)
        try:
            step = next(flow)
        except StopIteration as stop:
            self._flows.append(None)
            return self._verdict(index, stop.value)
        except TypeError:
            if hasattr(flow, "send"):
                raise
            raise GuardProtocolError(f"{guard!r} admits with {flow!r}; allowed is a generator") from None
        self._flows.append(flow)
        return step if step.__class__ is Ask else self._checked(index, step)

    def _checked(self, index: int, step: Any) -> Any:
        """Return what a guard yielded, with the facts published that it knows before any reply."""
        if step.__class__ is Ask:
            if step.facts:
                self.exchange.facts.update(step.facts)
            return step
        if step.__class__ is Wait or step.__class__ is Body:
            return step
        raise GuardProtocolError(f"{self._guards[index]!r} yielded {step!r}; allowed are Ask, Wait and Body")

    def _verdict(self, index: int, value: Any) -> Pass | Answer:
        if value.__class__ is Pass or value.__class__ is Answer:
            verdict: Pass | Answer = value
            return verdict
        raise GuardProtocolError(f"{self._guards[index]!r} returned {value!r}; allowed are Pass and Answer")

    def _accept(self, verdict: Pass) -> None:
        if verdict.facts:
            self.exchange.facts.update(verdict.facts)
        if verdict.scope:
            self.scope = {**self.scope, **verdict.scope} if self.scope else verdict.scope
        if verdict.edits is not None:
            self.edits = [*self.edits, verdict.edits]
        if verdict.responder is not None:
            self.responders = [*self.responders, verdict.responder]

    def _refuse(self, index: int, answer: Answer) -> None:
        """End with `answer`; guards behind whose operations have run are heard, so that what they hold is released."""
        self.answer, self.answered_by = answer, index
        self._hear(index + 1)

    def _hear(self, first: int) -> None:
        """Hear the guards from `first` on, whose word no longer counts; one that fails now changes nothing."""
        for index in range(first, len(self._steps)):
            try:
                step = self._heard(index)
            except Exception:
                logger.exception("%r failed after the exchange had been decided", self._guards[index])
                continue
            if step.__class__ is Pass and step.responder is not None:
                self.orphans = [*self.orphans, step.responder]

    def _heard(self, index: int) -> Any:
        """Give a guard the reply that it has and return its last step; it goes no further."""
        step = self._steps[index]
        if index in self._inputs:
            step = self._resume(index, self._inputs.pop(index))
        flow, self._flows[index] = self._flows[index], None
        if flow is not None:
            flow.close()
        return step

    def _collect(self) -> Round:
        """Put together what all guards ask that have no reply yet."""
        asked: list[int] = []
        shape: list[Place] = []
        batches: list[Batch] = []
        for index in range(self._cursor, len(self._steps)):
            step = self._steps[index]
            if step.__class__ is Ask and index not in self._inputs:
                asked.append(index)
                shape.append((index, step.closed, step.batch.kinds))
                batches.append(step.batch)
        self._asked = asked
        return Round(tuple(shape), batches)


def read_replies(
    kinds: tuple[OperationKind, ...], raw: Sequence[Any], at: int
) -> tuple[Replies | OperationFailed | None, int]:
    """Read the replies to one guard's operations from `at` on; return them and where the next guard's begin.

    One operation that failed fails them all; None means that they were not run.
    """
    begin, passed, trouble = at, True, None
    for kind in kinds:
        status = raw[at]
        at += kind.width
        if status != PASSED:
            passed = False
            if status.__class__ is bytes or status == NOT_RUN:
                trouble = status
    if trouble is None:
        return Replies(kinds, raw, begin, passed), at
    return (None if trouble == NOT_RUN else OperationFailed(trouble.decode("utf-8", "replace"))), at
