"""The way of one exchange through its guards, without any I/O: what to ask next, and what was decided.

Guards are started in order; what they ask for travels together; what comes back is given to them in order again, so
that the outermost refusal wins although all asked at once. A driver does what `advance` returns and calls it again:

    round = admission.advance()
    while round is not None:
        … do it, then `admission.replied(raw)`, `.failed(error)`, `.resumed(value)` or `.thrown(error)` …
        round = admission.advance()

Many exchanges stand here at a time, each waiting for its reply, and every object of theirs is one that the garbage
collector walks meanwhile: so there are few, and the lists are shared by what comes one after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import GuardProtocolError, RedisUnavailable
from .exchange import Exchange
from .guard import Guard
from .problem import unavailable
from .responder import Responder
from .rounds import Round, read_replies
from .script import Batch, Place, Replies
from .steps import PASS, Admission, Answer, Ask, Body, Pass, RequestEdits, Wait

logger = logging.getLogger("asgi_redis_guard.core")


class _Result(NamedTuple):
    """What a guard gets for a step that is not the replies to an ask: a body, what it waited for, or an error."""

    step: Ask | Wait | Body
    value: Any


class Admissions:
    """The guards' progress on one exchange.

    When `advance` returns None it is decided: `answer` is what the guard at `answered_by` gave, or None if all passed.
    """

    responders: Sequence[Responder] = ()
    scope: Mapping[str, Any] = MappingProxyType({})
    answer: Answer | None = None
    answered_by = -1
    orphans: Sequence[Responder] = ()
    edits: Sequence[RequestEdits] = ()
    degraded: Sequence[int] = ()
    #: For the driver: when the first round was sent (0.0 before), and the reply to one that takes something and must
    #: be heard, although its caller be cancelled.
    began = 0.0
    late: Any = None
    _cursor = 0
    #: The generators of guards that have one and are not through with it.
    _flows: Mapping[int, Admission] = MappingProxyType({})

    def __init__(self, guards: Sequence[Guard], exchange: Exchange) -> None:
        self.exchange = exchange
        self._guards = guards
        #: For each guard that has started: what it yielded last, then what it gets for it, in the end its verdict.
        self._steps: list[Any] = []

    def advance(self) -> Round | Wait | Body | None:
        """Decide what can be decided, start what can be started; return what to do next, None when all is decided."""
        if not self._steps:
            return self._begin()
        steps, count = self._steps, len(self._guards)
        while True:
            if (answer := self._settle()) is not None:
                self._refuse(self._cursor, answer)
                return None
            if self._cursor == count:
                return None
            if len(steps) < count:
                self._start_more()
            step = steps[self._cursor]
            if step.__class__ is Ask:
                return self._collect()
            if step.__class__ is Wait or step.__class__ is Body:
                return step

    def replied(self, raw: Sequence[Any]) -> None:
        """Take the program's reply to the round that `advance` returned."""
        self.late = None
        at, steps = 0, self._steps
        for index in range(self._cursor, len(steps)):
            step = steps[index]
            if step.__class__ is Ask:
                end = at + step.place.width
                replies = read_replies(step, raw[at:end])
                at = end
                if replies is not None:  # None: a guard before it stopped the round, it was not run
                    steps[index] = replies if replies.__class__ is Replies else _Result(step, replies)

    def failed(self, error: RedisUnavailable) -> None:
        """Tell every guard that asked that there is no reply."""
        self.late = None
        steps = self._steps
        for index in range(self._cursor, len(steps)):
            if steps[index].__class__ is Ask:
                steps[index] = _Result(steps[index], error)

    def resumed(self, value: Any) -> None:
        """Give the guard that waits its result: the body, or what it waited for."""
        self._steps[self._cursor] = _Result(self._steps[self._cursor], value)

    def thrown(self, error: Exception) -> None:
        """Throw into the guard that waits."""
        self._steps[self._cursor] = _Result(self._steps[self._cursor], error)

    def abandon(self) -> None:
        """Let every guard that has its reply decide, and close the others: nobody will be answered."""
        self._hear(self._cursor)

    def _resume(self, index: int, given: Any) -> Any:
        """Give a guard what came back for it; return its next step or its verdict."""
        guard = self._guards[index]
        try:
            if given.__class__ is not Replies:
                return self._pass_on(index, guard, given.step, given.value)
            if guard.one_round:
                verdict = guard.decide(self.exchange, given)  # type: ignore[attr-defined]
                return verdict if verdict.__class__ is Pass else self._verdict(index, verdict)
            return self._checked(index, self._flow(index).send(given))
        except StopIteration as stop:
            if index not in self._flows:
                raise  # not the end of a generator
            self._flows = {other: flow for other, flow in self._flows.items() if other != index}
            return self._verdict(index, stop.value)
        except RedisUnavailable:
            return unavailable("a service this request depends on is away")

    def _pass_on(self, index: int, guard: Guard, step: Any, value: Any) -> Any:
        """Give a guard what is not replies."""
        if isinstance(value, RedisUnavailable):
            self.degraded = [*self.degraded, index]
            if guard.one_round:
                return self._verdict(index, guard.without_redis(self.exchange, step, value))  # type: ignore[attr-defined]
        flow = self._flow(index)
        return self._checked(index, flow.throw(value) if isinstance(value, Exception) else flow.send(value))

    def _flow(self, index: int) -> Admission:
        flow = self._flows.get(index)
        if flow is None:
            raise GuardProtocolError(f"{self._guards[index]!r} was asked to go on after it had decided")
        return flow

    def _begin(self) -> Round | Wait | Body | None:
        """Start the guards; where each asks or passes at once, by far the commonest, put their round together."""
        steps, exchange = self._steps, self.exchange
        shape: list[Place] = []
        batches: list[Batch] = []
        for guard in self._guards:
            if guard.needs and shape and self._is_to_come(guard.needs):
                break
            step = self._start(guard)
            steps.append(step)
            if step.__class__ is Ask:
                shape.append(step.place)
                batches.append(step.batch)
                if step.facts:
                    exchange.publish(step.facts)
            elif step.__class__ is not Pass:
                return self.advance()
            elif shape:
                if step.facts:
                    exchange.publish(step.facts)
            else:
                self._accept(step)
                self._cursor += 1
        return Round(tuple(shape), batches) if shape else None

    def _settle(self) -> Answer | None:
        """Let the guards at the cursor go on with what came back for them; return the answer of one that refuses."""
        steps = self._steps
        for index in range(self._cursor, len(steps)):
            step = steps[index]
            if step.__class__ is Replies or step.__class__ is _Result:
                steps[index] = None  # given once, whatever the guard makes of it
                step = steps[index] = self._resume(index, step)
            if step.__class__ is not Pass:
                return step if step.__class__ is Answer else None
            self._accept(step)
            self._cursor = index + 1
        return None

    def _start_more(self) -> None:
        """Start guards as far as they can start now; the one at the cursor always can."""
        steps, exchange = self._steps, self.exchange
        if steps and steps[-1].__class__ is not Ask and steps[-1].__class__ is not Pass:
            return  # nor behind one that has its reply and is still to be heard: it may refuse
        for guard in self._guards[len(steps) :]:
            if guard.needs and len(steps) > self._cursor and self._is_to_come(guard.needs):
                return
            step = self._start(guard)
            steps.append(step)
            if step.__class__ is not Ask and step.__class__ is not Pass:
                return  # an answer, or something that has to wait for its turn: nothing behind it starts
            if step.facts:
                exchange.publish(step.facts)

    def _is_to_come(self, needs: frozenset[str]) -> bool:
        """Tell whether a guard that is still undecided may provide what is missing."""
        facts = self.exchange.facts
        if needs.issubset(facts):
            return False
        missing = needs - facts.keys()
        return any(
            missing & self._guards[index].provides
            for index in range(self._cursor, len(self._steps))
            if self._steps[index].__class__ is not Pass  # one that has passed has told what it knows
        )

    def _start(self, guard: Guard) -> Any:
        """Start a guard; return its first step."""
        exchange = self.exchange
        if not guard.applies(exchange):
            return self._verdict(len(self._steps), guard.exempted(exchange))
        if guard.one_round:
            step: Any = guard.ask(exchange)  # type: ignore[attr-defined]
            return step if step.__class__ is Ask else self._verdict(len(self._steps), step)
        return self._first_step(guard, guard.admit(exchange))

    def _first_step(self, guard: Guard, flow: Admission) -> Any:
        index = len(self._steps)
        try:
            step = next(flow)
        except StopIteration as stop:
            return self._verdict(index, stop.value)
        except TypeError:
            if hasattr(flow, "send"):
                raise
            raise GuardProtocolError(f"{guard!r} admits with {flow!r}; allowed is a generator") from None
        self._flows = {**self._flows, index: flow}
        return self._checked(index, step)

    def _checked(self, index: int, step: Any) -> Any:
        """Return what a guard yielded, with the facts published that it knows before any reply."""
        if step.__class__ is Ask:
            if step.facts:
                self.exchange.publish(step.facts)
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
        if verdict is PASS:
            return
        if verdict.facts is not None and verdict.facts is not self.exchange.facts:
            self.exchange.publish(verdict.facts)
        if verdict.scope is not None:
            self.scope = {**self.scope, **verdict.scope} if self.scope else verdict.scope
        if verdict.edits is not None:
            self.edits = (*self.edits, verdict.edits)
        if verdict.responder is not None:
            self.responders = (*self.responders, verdict.responder)

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
        if step.__class__ is Replies or step.__class__ is _Result:
            self._steps[index] = None
            step = self._steps[index] = self._resume(index, step)
        if index in self._flows:
            self._flows[index].close()
        return step

    def _collect(self) -> Round:
        """Put together what all guards ask that have no reply yet."""
        shape, batches = [], []
        for step in self._steps[self._cursor :] if self._cursor else self._steps:
            if step.__class__ is Ask:
                shape.append(step.place)
                batches.append(step.batch)
        return Round(tuple(shape), batches)
