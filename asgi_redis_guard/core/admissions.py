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
from collections.abc import Callable, Mapping, Sequence
from types import GeneratorType, MappingProxyType
from typing import Any, NamedTuple

from ..errors import OperationFailed, RedisUnavailable
from .exchange import Exchange
from .flows import Flows, checked_verdict
from .guard import Guard
from .problem import AWAY, unavailable
from .responder import Responder
from .rounds import JoinedReply, Round, read_replies
from .script import Batch, Operation, Place, Replies, place_of, stopping
from .steps import PASS, Answer, Ask, Body, Pass, RequestEdits, Wait
from .warnings import Warnings

logger = logging.getLogger("asgi_redis_guard.core")
_warnings = Warnings(logger)

#: For each guard what starts it where nothing has to be looked at first, else None.
Starts = Sequence[Callable[[Exchange], Any] | None]


class _Result(NamedTuple):
    """What a guard gets for a step that is not the replies to an ask: a body, what it waited for, or an error."""

    step: Ask | Wait | Body
    value: Any

    @property
    def matters(self) -> bool:
        """True where a guard that was overruled must hear it: something may be held. Redis being away is no news."""
        if not isinstance(self.value, RedisUnavailable):
            return True
        return self.step.__class__ is Ask and self.step.place.holds


def starts_of(guards: Sequence[Guard]) -> Starts:
    """Return what starts each guard that asks once at most and concerns every exchange but a preflight."""
    return [
        guard.ask if guard.one_round and not guard.exempt.patterns and type(guard).applies is Guard.applies else None  # type: ignore[attr-defined]
        for guard in guards
    ]


class Admissions:
    """The guards' progress on one exchange. `starts`: what `starts_of` says of them, where it is known already.

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
    _flows: Flows | None = None

    def __init__(self, guards: Sequence[Guard], exchange: Exchange, starts: Starts | None = None) -> None:
        self.exchange = exchange
        self._guards = guards
        self._starts = starts_of(guards) if starts is None else starts
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

    def passed(self, place: int) -> Pass | None:
        """Return the verdict of the guard at `place` if it let the exchange pass."""
        step = self._steps[place] if place < len(self._steps) else None
        return step if step.__class__ is Pass else None

    def replied(self, raw: Sequence[Any]) -> None:
        """Take the program's reply to the round that `advance` returned."""
        self.late = None
        at, steps, clock = 0, self._steps, raw[-1]
        clocks = iter(raw.clocks) if raw.__class__ is JoinedReply else None
        for index in range(self._cursor, len(steps)):
            step = steps[index]
            if step.__class__ is Ask:
                if clocks is not None:
                    clock = next(clocks)
                place = step.place
                part = raw[at : at + place.width]
                at += place.width
                if place.statuses(part) == place.all_passed:  # by far the commonest
                    steps[index] = Replies(step, part, True, clock)
                elif (replies := read_replies(step, part, clock)) is not None:  # None: one before it stopped the round
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
        guard, exchange = self._guards[index], self.exchange
        try:
            if given.__class__ is not Replies:
                return self._pass_on(index, guard, given)
            if guard.one_round and (self._flows is None or not self._flows.has(index)):
                verdict = guard.decide(exchange, given)  # type: ignore[attr-defined]
                return verdict if verdict.__class__ is Pass else self._own_way(index, verdict)
            return self._published(self._generators().resume(index, given))
        except RedisUnavailable:
            return guard.refuse(exchange, unavailable(AWAY))

    def _pass_on(self, index: int, guard: Guard, given: _Result) -> Any:
        """Give a guard what is not replies."""
        if isinstance(given.value, RedisUnavailable):
            self.degraded = [*self.degraded, index]
            if isinstance(given.value, OperationFailed):
                _tell_of_refusal(given.value)
            if guard.one_round and (self._flows is None or not self._flows.has(index)):
                verdict = guard.without_redis(self.exchange, given.step, given.value)  # type: ignore[attr-defined]
                return checked_verdict(guard, verdict)
        return self._published(self._generators().resume(index, given.value))

    def _generators(self) -> Flows:
        if self._flows is None:
            self._flows = Flows(self._guards)
        return self._flows

    def _published(self, step: Any) -> Any:
        if step.__class__ is Ask and step.facts:
            self.exchange.publish(step.facts)
        return step

    def _begin(self) -> Round | Wait | Body | None:
        """Start the guards; where each asks or passes at once, by far the commonest, put their round together."""
        steps, exchange = self._steps, self.exchange
        shape: list[Place] = []
        batches: list[Batch] = []
        for guard, start in zip(self._guards, self._starts, strict=True):
            if guard.needs and shape and self._is_to_come(guard.needs):
                break
            if start is None or exchange.method == "OPTIONS":
                step = self._start(guard)
            else:
                step = start(exchange)
                if step.__class__ is not Ask:
                    step = self._own_way(len(steps), step)
            steps.append(step)
            if step.__class__ is Ask:
                shape.append(step.place)
                batches.append(step.batch)
                if step.facts:
                    exchange.publish(step.facts)
                if step.last:
                    break
            elif step.__class__ is not Pass:
                return self.advance()
            elif not shape:
                self._accept(step)
                self._cursor += 1
            elif step.facts:
                exchange.publish(step.facts)
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
            if step is not PASS:
                self._accept(step)
            self._cursor = index + 1
        return None

    def _start_more(self) -> None:
        """Start guards as far as they can start now; the one at the cursor always can."""
        steps = self._steps
        if steps and steps[-1].__class__ is not Pass and (steps[-1].__class__ is not Ask or steps[-1].last):
            return  # nor behind one that has its reply and is still to be heard: it may refuse
        for guard in self._guards[len(steps) :]:
            if guard.needs and len(steps) > self._cursor and self._is_to_come(guard.needs):
                return
            step = self._start(guard)
            steps.append(step)
            if step.__class__ is not Ask and step.__class__ is not Pass:
                return  # an answer, or something that has to wait for its turn: nothing behind it starts
            if step.facts:
                self.exchange.publish(step.facts)
            if step.__class__ is Ask and step.last:
                return

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
            return checked_verdict(guard, guard.exempted(exchange))
        if guard.one_round:
            step: Any = guard.ask(exchange)  # type: ignore[attr-defined]
            return step if step.__class__ is Ask else self._own_way(len(self._steps), step)
        return self._generators().start(len(self._steps), exchange)

    def _own_way(self, index: int, step: Any) -> Any:
        """Return a verdict, or the first step of a guard that goes on by itself after all."""
        if step.__class__ is GeneratorType:
            return self._published(self._generators().adopt(index, step))
        return checked_verdict(self._guards[index], step)

    def _accept(self, verdict: Pass) -> None:
        exchange = self.exchange
        if verdict.facts is not None and verdict.facts is not exchange.facts:
            exchange.publish(verdict.facts)
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
            responder = None
            if step.__class__ is Pass:
                responder = step.responder
            elif step.__class__ is Answer:
                responder = step.background  # it has taken what it was to do behind an answer that nobody gets
            if responder is not None:
                self.orphans = [*self.orphans, responder]

    def _heard(self, index: int) -> Any:
        """Give a guard the reply that it has and return its last step; it goes no further."""
        step = self._steps[index]
        if step.__class__ is Replies or (step.__class__ is _Result and step.matters):
            self._steps[index] = None
            step = self._steps[index] = self._resume(index, step)
        return step if self._flows is None else self._flows.close(index) or step

    def _collect(self) -> Round:
        """Put together what all guards ask that have no reply yet."""
        shape, batches = [], []
        for step in self._steps[self._cursor :] if self._cursor else self._steps:
            if step.__class__ is Ask:
                shape.append(step.place)
                batches.append(step.batch)
            elif step.__class__ is Answer and step.group is not None:
                shape.append(place_of(False, (stopping(step.group),)))
                batches.append(Batch([Operation(stopping(step.group), ())]))
        return Round(tuple(shape), batches)


def _tell_of_refusal(error: OperationFailed) -> None:
    """Say once for each kind that Redis refuses: it is there, so that nobody else tells why outage policies apply."""
    _warnings.tell(
        "redis-refuses", f"Redis is there and refuses what guards ask ({error.code}): they follow on_outage meanwhile"
    )
