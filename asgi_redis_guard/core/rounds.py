"""The way of one exchange through its guards, without any I/O: what to ask next, and what was decided.

Guards are started in order; what they ask for travels together; what comes back is given to them in order again, so
that the outermost refusal wins although all asked at once. A driver does what `advance` returns and calls it again:

    round = admission.advance()
    while round is not None:
        … do it, then `admission.replied(raw)`, `.failed(error)`, `.resumed(value)` or `.thrown(error)` …
        round = admission.advance()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import GuardProtocolError, OperationFailed, RedisUnavailable
from .exchange import Exchange
from .guard import Admission, Answer, Ask, Body, Guard, Pass, RequestEdits, Responder, Wait
from .problem import unavailable
from .script import Operation, OperationKind, Reply



class Round(NamedTuple):
    """What travels together: the operations, and the shape of the program that does them.

    A place of the shape is the guard's index, whether a failure there stops the round, and the kind of operation.
    """

    shape: tuple[tuple[int, bool, OperationKind], ...]
    operations: list[Operation]


#: Statuses of an operation in the program's reply; a failed one has its error's text instead.
_STOPPED, _HELD_BACK, _NOT_RUN = 0, 2, 3

_PASSED = Reply(True)


class Admissions:
    """The guards' progress on one exchange.

    When `advance` returns None it is decided: `answer` is what the guard at `answered_by` gave, or None if all passed.
    """

    __slots__ = (
        "_asked",
        "_cursor",
        "_flows",
        "_guards",
        "_inputs",
        "_started",
        "_steps",
        "answer",
        "answered_by",
        "degraded",
        "edits",
        "exchange",
        "orphans",
        "responders",
        "scope",
    )

    def __init__(self, guards: Sequence[Guard], exchange: Exchange) -> None:
        self.exchange = exchange
        self.answer: Answer | None = None
        self.answered_by = -1
        self.responders: list[Responder] = []
        self.orphans: list[Responder] = []
        self.scope: dict[str, Any] = {}
        self.edits: list[RequestEdits] = []
        self.degraded: list[int] = []
        self._guards = guards
        self._flows: list[Admission | None] = []
        self._steps: list[Any] = []
        self._inputs: dict[int, Any] = {}
        self._asked: list[int] = []
        self._started = 0
        self._cursor = 0

    def advance(self) -> Round | Wait | Body | None:
        """Decide what can be decided, start what can be started; return what to do next, None when all is decided."""
        guards, steps = self._guards, self._steps
        while True:
            while self._cursor < self._started:
                if not self._settle(self._cursor):
                    break
                if self.answer is not None:
                    return None
                self._cursor += 1
            if self._start_more():
                continue
            if self._cursor == len(guards):
                return None
            step = steps[self._cursor]
            return self._collect() if step.__class__ is Ask else step

    def replied(self, raw: Sequence[Any]) -> None:
        """Take the program's reply to the round that `advance` returned."""
        at = 0
        for index in self._asked:
            operations = self._steps[index].operations
            replies, at = read_replies(operations, raw, at)
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
        for index in range(self._cursor, self._started):
            step = self._heard(index)
            if step.__class__ is Pass and step.responder is not None:
                self.orphans.append(step.responder)

    def _settle(self, index: int) -> bool:
        """Move the guard at the cursor on with what came back for it; true if it has decided."""
        while True:
            step = self._steps[index]
            if step.__class__ is Pass:
                self._accept(step)
                return True
            if step.__class__ is Answer:
                self._refuse(index, step)
                return True
            if index not in self._inputs:
                return False
            self._steps[index] = self._resume(index, self._inputs.pop(index))

    def _resume(self, index: int, value: Any) -> Any:
        flow = self._flows[index]
        if flow is None:
            raise GuardProtocolError(f"{self._guards[index]!r} was asked to go on after it had decided")
        try:
            if isinstance(value, Exception):
                if isinstance(value, RedisUnavailable):
                    self.degraded.append(index)
                step = flow.throw(value)
            else:
                step = flow.send(value)
        except StopIteration as stop:
            self._flows[index] = None
            return self._verdict(index, stop.value)
        except RedisUnavailable:
            self._flows[index] = None
            return unavailable("a service this request depends on is away")
        return self._checked(index, step)

    def _start_more(self) -> bool:
        """Start guards as far as they can start now; true if one at the cursor is decided or was started."""
        before = self._started
        while self._started < len(self._guards):
            if self._started > self._cursor and not self._may_start(self._guards[self._started]):
                break
            self._start(self._started)
            self._started += 1
            if self._steps[-1].__class__ not in (Ask, Pass):
                break  # an answer, or something that has to wait for its turn: nothing behind it starts
        return self._started > before and self._cursor < self._started

    def _may_start(self, guard: Guard) -> bool:
        """Tell whether `guard` may start beside guards that are still undecided: nothing it needs is to come from them."""
        if self._steps[-1].__class__ not in (Ask, Pass):
            return False
        facts = self.exchange.facts
        return all(
            need in facts or not any(need in self._guards[i].provides for i in range(self._cursor, self._started))
            for need in guard.needs
        )

    def _start(self, index: int) -> None:
        guard, exchange = self._guards[index], self.exchange
        step: Any
        flow: Admission | None = None
        if not guard.applies(exchange):
            step = guard.exempted(exchange)
        else:
            flow = guard.admit(exchange)
            try:
                step = self._checked(index, next(flow))
            except StopIteration as stop:
                flow = None
                step = self._verdict(index, stop.value)
        facts: Mapping[str, Any] | None = step.facts if step.__class__ in (Ask, Pass) else None
        if facts:
            exchange.facts.update(facts)
        self._flows.append(flow)
        self._steps.append(step)

    def _checked(self, index: int, step: Any) -> Any:
        if step.__class__ in (Ask, Wait, Body):
            return step
        raise GuardProtocolError(f"{self._guards[index]!r} yielded {step!r}; allowed are Ask, Wait and Body")

    def _verdict(self, index: int, value: Any) -> Pass | Answer:
        if isinstance(value, Pass | Answer):
            return value
        raise GuardProtocolError(f"{self._guards[index]!r} returned {value!r}; allowed are Pass and Answer")

    def _accept(self, verdict: Pass) -> None:
        if verdict.facts:
            self.exchange.facts.update(verdict.facts)
        if verdict.scope:
            self.scope.update(verdict.scope)
        if verdict.edits is not None:
            self.edits.append(verdict.edits)
        if verdict.responder is not None:
            self.responders.append(verdict.responder)

    def _refuse(self, index: int, answer: Answer) -> None:
        """End with `answer`; guards behind whose operations have run are heard, so that what they hold is released."""
        self.answer, self.answered_by = answer, index
        for behind in range(index + 1, self._started):
            step = self._heard(behind)
            if step.__class__ is Pass and step.responder is not None:
                self.orphans.append(step.responder)

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
        """Put together the operations of all guards that ask and have no reply yet."""
        asked = self._asked = []
        shape: list[tuple[int, bool, OperationKind]] = []
        operations: list[Operation] = []
        for index in range(self._cursor, self._started):
            step = self._steps[index]
            if step.__class__ is Ask and index not in self._inputs:
                asked.append(index)
                operations += step.operations
                shape += [(index, step.closed, operation[0]) for operation in step.operations]
        return Round(tuple(shape), operations)


def read_replies(
    operations: Sequence[Operation], raw: Sequence[Any], at: int
) -> tuple[list[Reply] | OperationFailed | None, int]:
    """Read the replies to one guard's operations from `at` on; return them and where the next guard's begin.

    One operation that failed fails them all; None means that they were not run.
    """
    replies: list[Reply] | OperationFailed | None = []
    for kind, _, _ in operations:
        status = raw[at]
        end = at + 1 + len(kind.returns)
        if status.__class__ is bytes:
            replies = OperationFailed(status.decode("utf-8", "replace"))
        elif status == _NOT_RUN:
            replies = None
        elif replies.__class__ is list:
            if status == 1 and end == at + 1:
                replies.append(_PASSED)  # type: ignore[union-attr]
            else:
                replies.append(Reply(status != _STOPPED, status != _HELD_BACK, raw[at + 1 : end]))  # type: ignore[union-attr]
        at = end
    return replies, at
