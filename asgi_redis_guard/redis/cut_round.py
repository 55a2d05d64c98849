"""One round over several slots on its way: its passes, what was heard, and the reply that is made of it.

Law: it never awaits; callbacks of the parts' futures drive it. Every status that it reports is true: what it says was
committed was, and what it says was not is not there, or is being undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.rounds import JoinedReply
from ..core.script import HELD_BACK, IDLE, NOT_RUN, PASSED, Batch, Operation
from ..errors import RedisTimeout, RedisUnavailable
from .cut_plan import Part, Plan
from .verdict import Verdict, is_failure, judge

if TYPE_CHECKING:
    from .cutting import Cutter


#: The places whose guards refuse, where none does.
_NOBODY: frozenset[int] = frozenset()


class Heard:
    """Stands where the caller's future would stand, for one part of a pass: its reply goes to the round."""

    __slots__ = ("_part", "_round", "_then")

    def __init__(self, whole: CutRound, part: Part, then: Callable[[], None]) -> None:
        self._round: CutRound | None = whole
        self._part = part
        self._then = then

    def done(self) -> bool:
        """Tell whether it was answered; that nobody waits for the round is no reason to drop a part of it."""
        return self._round is None

    def set_result(self, result: Any, /) -> None:
        """Take the reply."""
        whole, self._round = self._round, None
        if whole is not None:
            whole.hear(self._part, result)
            whole.count(self._then)

    def set_exception(self, exception: BaseException, /) -> None:
        """Take what came instead of it."""
        whole, self._round = self._round, None
        if whole is not None:
            whole.fail(self._part, exception)
            whole.count(self._then)


class CutRound:
    """One round on its way. For each operation: what came of its check, its values, and its server's time."""

    __slots__ = (
        "_batches",
        "_clocks",
        "_cutter",
        "_deadline",
        "_future",
        "_left",
        "_outcomes",
        "_plan",
        "_slots",
        "_values",
    )

    def __init__(
        self, cutter: Cutter, plan: Plan, batches: Sequence[Batch], slots: list[Any], timeout: float, future: Any
    ) -> None:
        self._cutter = cutter
        self._plan = plan
        self._batches = batches
        self._slots = slots
        self._future = future
        self._deadline = cutter.loop.time() + timeout
        self._values: list[Sequence[Any]] = [()] * len(plan.members)
        self._clocks = [0] * len(plan.members)
        #: None for what has not been heard of.
        self._outcomes: list[Any] = [None] * len(plan.members)
        self._pass(plan.first, timeout, self._look)

    def _pass(self, parts: Sequence[Part], timeout: float, then: Callable[[], None]) -> None:
        """Send the parts of a pass, all at the same time; when all have been answered, go on."""
        self._left = len(parts)
        tell, slots = self._cutter.tell, self._slots
        for part in parts:
            waiter = Heard(self, part, then)
            try:
                tell(slots[part.slot], part.program, part.batches(self._batches), timeout, waiter)
            except RedisUnavailable as error:
                waiter.set_exception(error)

    def hear(self, part: Part, raw: Any) -> None:
        """Note what a part has come to."""
        if not isinstance(raw, list) or len(raw) != part.width:
            self.fail(part, RedisUnavailable("a reply to something else", maybe_executed=True))
            return
        outcomes, clocks, clock = self._outcomes, self._clocks, raw[-1]
        for number, at, values in part.layout:
            if (status := raw[at]) != NOT_RUN:
                outcomes[number] = status
                self._values[number] = raw[values]
            elif outcomes[number] is None:
                outcomes[number] = NOT_RUN
            clocks[number] = clock

    def fail(self, part: Part, error: BaseException) -> None:
        if not isinstance(error, RedisUnavailable):
            error = RedisUnavailable(repr(error), maybe_executed=True)
        for number, _, _ in part.layout:
            if self._outcomes[number] is None:
                self._outcomes[number] = error

    def count(self, then: Callable[[], None]) -> None:
        """Go on when all parts of a pass have been heard of; not here, where a link is being read."""
        self._left -= 1
        if not self._left:
            self._cutter.loop.call_soon(then)

    def _look(self) -> None:
        """Go on when all checks are done: have committed what must be."""
        plan, outcomes = self._plan, self._outcomes
        if self._future.done():
            return  # nobody waits, and nothing is held
        if not any(self._clocks):
            errors = [one for one in outcomes if one is not None]
            self._future.set_exception(next((one for one in errors if one.leaves_doubt), errors[0]))
            return
        if plan.is_checked and outcomes.count(PASSED) == len(outcomes):  # by far the commonest
            self._commit([*outcomes], plan.deferred, _NOBODY)
            return
        for number in plan.unchecked:
            outcomes[number] = PASSED
        idle = [number for number in plan.deferred if outcomes[number] == IDLE]
        for number in idle:
            outcomes[number] = PASSED
        statuses, refused = self._judge()
        self._keep(statuses, plan.immediate)
        committing = tuple([n for n in plan.deferred if statuses[n] == PASSED])
        if idle:
            committing = tuple([n for n in committing if n not in idle or plan.members[n].place in refused])
        self._commit(statuses, committing, refused)

    def _commit(self, statuses: list[Any], committing: tuple[int, ...], refused: frozenset[int]) -> None:
        """Send what has to commit in a second pass, where anything does."""
        if not committing:
            self._tell(statuses)
            return
        outcomes = self._outcomes
        for number in committing:
            outcomes[number] = None
        parts = self._plan.second(committing, refused)
        left = self._deadline - self._cutter.loop.time()
        if left > 0:
            self._pass(parts, left, partial(self._end, statuses, committing))
            return
        for part in parts:
            self.fail(part, RedisTimeout("the time for Redis is used up"))
        self._end(statuses, committing)

    def _end(self, statuses: list[Any], committing: Sequence[int]) -> None:
        """Go on when the second pass is through: all is committed, but for what has lost a race or was not reached."""
        outcomes = self._outcomes
        said = {number: outcomes[number] for number in committing}
        if any(status != PASSED for status in said.values()):
            statuses, _ = self._judge()
            self._set_right(statuses, said)
        self._tell(statuses)

    def _judge(self) -> Verdict:
        """Tell what becomes of the round, by what is known of its checks."""
        checks = self._outcomes
        if checks.count(PASSED) == len(checks):  # by far the commonest
            return Verdict([*checks], frozenset())
        if failed := [n for n in self._plan.sure if checks[n].__class__ is bytes]:
            checks = [PASSED if n in failed else outcome for n, outcome in enumerate(checks)]
        return judge(self._plan.shape, checks)

    def _set_right(self, statuses: list[Any], said: dict[int, Any]) -> None:
        """Undo what was committed and must not have been; what cannot be undone is told as it is."""
        kept = [*self._plan.immediate]
        for number in self._plan.deferred:
            if number not in said and statuses[number] == PASSED:
                statuses[number] = HELD_BACK  # by what did not stop before another one did
        for number, status in said.items():
            if status == PASSED and statuses[number] != PASSED:
                if not self._undo(number):
                    kept.append(number)
            elif isinstance(status, RedisUnavailable) and status.leaves_doubt:
                kept.append(number)  # or nobody would give it back
            elif statuses[number] == PASSED and status != PASSED:
                statuses[number] = status if is_failure(status) else HELD_BACK
        self._keep(statuses, kept)

    def _keep(self, statuses: list[Any], numbers: Iterable[int]) -> None:
        """Let these operations have the statuses that their programs gave them, whatever the verdict would be."""
        outcomes, members = self._outcomes, self._plan.members
        places: set[int] = set()
        for number in numbers:
            if statuses[number] != outcomes[number] and outcomes[number] != NOT_RUN:
                statuses[number] = outcomes[number]
                places.add(members[number].place)
        if not places:
            return
        for number, member in enumerate(members):
            if member.place in places and statuses[number] == NOT_RUN:  # its guard would take all of it for not run
                idle = outcomes[number] == NOT_RUN or (outcomes[number] == PASSED and member.kind.commit)
                statuses[number] = HELD_BACK if idle else outcomes[number]

    def _undo(self, number: int) -> bool:
        """Have an operation undone; tell whether that is possible."""
        place, kind, slot, _, keys, args = self._plan.members[number]
        batch = self._batches[place]
        undoing = kind.undoing(Operation(kind, batch.keys[keys], batch.args[args]), self._clocks[number])
        if undoing is not None:
            self._cutter.undo(self._slots[slot], undoing)
        return undoing is not None

    def _is_held(self, place: int, statuses: Sequence[Any]) -> bool:
        members = self._plan.members
        return any(
            one.place == place and one.kind.holds and status == PASSED
            for one, status in zip(members, statuses, strict=True)
        )

    def _tell(self, statuses: Sequence[Any]) -> None:
        """Give the caller the reply."""
        flat: list[Any] = []
        for status, values, member in zip(statuses, self._values, self._plan.members, strict=True):
            if (
                isinstance(status, RedisUnavailable)
                and not status.leaves_doubt
                and self._is_held(member.place, statuses)
            ):
                status = RedisUnavailable(
                    str(status), maybe_executed=True
                )  # what of its guard was taken is to be given back
            flat.append(status)
            flat += values if status != NOT_RUN and values else [0] * len(member.kind.returns)
        latest = max(self._clocks)
        flat.append(latest)
        if not self._future.done():
            self._future.set_result(JoinedReply(flat, [self._clocks[lead] or latest for lead in self._plan.leads]))
