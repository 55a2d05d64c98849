"""How a round is cut where its keys lie in several slots: what goes where, and what may commit at once. Pure.

Law: keys of one slot travel in one program, and nothing commits before all is known that could hold it back.

First every slot has its checks done, all at the same time. What could only be held back by operations of its own slot
commits there and then; of the others the checks are looked at, and what has to commit is checked again and committed
in a second pass. So most rounds take two round trips, and one where what stands in several slots writes nothing.

An operation waits for the second pass where one in another slot could stop the round in front of it, could stop its
group, or belongs to its guard while its commit asks for `refused`; or where such a one waits itself. With it wait all
of its feature in its slot: they may share keys, and checks come before commits. Operations without keys that ask Redis
nothing go into every program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from ..core.script import Batch, Operation, OperationKind, Place, place_of
from .program import REFUSED, Program, program_of

#: The slot of what has no keys.
NOWHERE = -1

_COMMENT = re.compile(r"--.*")
_STOPS = re.compile(r"\bstop\b")
_ASKS = re.compile(r"\bcall\b|\bredis\b")

#: Says in a second program that its guard refuses, and holds nothing back.
_REFUSING = OperationKind.parse("-- name: cut.refused\n-- repeatable: yes\n-- @check\nstop = true\n")

#: Second passes that a plan remembers: what of it commits is different where a guard refuses.
_MOST_SECONDS = 256


class Member(NamedTuple):
    """One operation of a round: its place, its kind, where it lies, its number in its batch, and its part of that."""

    place: int
    kind: OperationKind
    slot: int
    number: int
    keys: slice
    args: slice


class Part:
    """What one slot gets to do in one pass: a program. `looked_at` does not commit.

    `layout` tells for each operation its number in the round, and where in the reply its status and values stand.
    """

    __slots__ = ("_picks", "layout", "program", "slot", "width")

    def __init__(
        self, plan: Plan, slot: int, numbers: Iterable[int], looked_at: Collection[int], refused: Collection[int]
    ) -> None:
        self.slot = slot
        layout: list[tuple[int, int, slice]] = []
        shape: list[Place] = []
        self._picks: list[tuple[int, tuple[tuple[int, ...], tuple[Member, ...]] | None]] = []
        at = 0
        for place, here in groupby(numbers, lambda number: plan.members[number].place):
            kinds: list[OperationKind] = []
            members: list[Member] = []
            for number in here:
                member = plan.members[number]
                members.append(member)
                kinds.append(looking(member.kind) if number in looked_at else member.kind)
                layout.append((number, at, slice(at + 1, at + member.kind.width)))
                at += member.kind.width
            if place in refused and any(REFUSED.search(kind.commit) for kind in kinds):
                kinds.append(_REFUSING)
                at += _REFUSING.width
            whole = plan.shape[place]
            shape.append(place_of(whole.closed, tuple(kinds), whole.shadow))
            all_of_it = len(members) == len(whole.kinds)
            self._picks.append((place, None if all_of_it else (tuple(one.number for one in members), tuple(members))))
        self.layout = tuple(layout)
        #: Values of its reply, the server's time included.
        self.width = at + 1
        self.program: Program = program_of(tuple(shape))

    def batches(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return the part of a round's batches that belongs here."""
        return [batches[at] if some is None else _some(batches[at], *some) for at, some in self._picks]

    def __repr__(self) -> str:
        return f"<Part of {len(self.layout)} operations>"


class Plan:
    """How a round of one shape is cut where its operations lie in these slots, which are numbered as they appear."""

    def __init__(self, shape: tuple[Place, ...], slots: Sequence[int]) -> None:
        self.shape = shape
        self.members = _members(shape, slots)
        #: What waits for the second pass before it may commit.
        self.deferred = _deferred(self.members, shape)
        #: The operation of each place by whose server's clock the place goes.
        self.leads = _leads(self.members, len(shape))
        #: What commits in the first pass.
        self.immediate = tuple(n for n, one in enumerate(self.members) if _commits(one) and n not in self.deferred)
        #: What the first pass leaves out: there is nothing to look at.
        self.unchecked = tuple(n for n in self.deferred if not self.members[n].kind.check.strip())
        #: Whether the first pass looks at everything.
        self.is_checked = not self.unchecked
        #: What only fails where it commits, which stops nothing.
        self.sure = tuple(n for n, one in enumerate(self.members) if _commits(one) and not _can_fail(one.kind))
        checked = [n for n in range(len(self.members)) if n not in self.unchecked]
        self.first = self._parts(checked, self.deferred, ())
        self._seconds: dict[tuple[tuple[int, ...], frozenset[int]], tuple[Part, ...]] = {}

    def second(self, numbers: tuple[int, ...], refused: frozenset[int]) -> tuple[Part, ...]:
        """Return the parts of the second pass, in which these operations commit; `refused`: whose guards refuse."""
        found = self._seconds.get((numbers, refused))
        if found is None:
            if len(self._seconds) >= _MOST_SECONDS:
                self._seconds.clear()
            found = self._seconds[numbers, refused] = self._parts(self._with_company(numbers), (), refused)
        return found

    def _with_company(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Add what goes in front of these and only checks, and stops nothing: it is to see what they see."""
        members, company = self.members, {*numbers}
        for number in numbers:
            own = members[number].place, _neighbours(members[number])
            company |= {
                n
                for n, other in enumerate(members[:number])
                if (other.place, _neighbours(other)) == own and not _commits(other) and not _can_stop(other.kind)
            }
        return tuple(sorted(company))

    def _parts(self, numbers: Iterable[int], looked_at: Collection[int], refused: Collection[int]) -> tuple[Part, ...]:
        members = self.members
        slots = sorted({members[n].slot for n in numbers} - {NOWHERE})
        here = {slot: [n for n in numbers if members[n].slot in (slot, NOWHERE)] for slot in slots}
        return tuple(Part(self, slot, here[slot], looked_at, refused) for slot in slots)

    def __repr__(self) -> str:
        return f"<Plan of {len(self.members)} operations in {len(self.first)} slots, {len(self.deferred)} deferred>"


@lru_cache(maxsize=2048)
def plan_of(shape: tuple[Place, ...], slots: tuple[int, ...]) -> Plan:
    """Return the plan for a round of `shape`; the slot of each operation, numbered as they appear, or `NOWHERE`."""
    return Plan(shape, slots)


@lru_cache(maxsize=1024)
def looking(kind: OperationKind) -> OperationKind:
    """Return the same without its commit."""
    return replace(kind, commit="", holds=False, repeatable=True) if kind.commit else kind


@lru_cache(maxsize=1024)
def _can_stop(kind: OperationKind) -> bool:
    return bool(_STOPS.search(_COMMENT.sub("", kind.check)))


@lru_cache(maxsize=1024)
def _can_fail(kind: OperationKind) -> bool:
    return bool(_ASKS.search(_COMMENT.sub("", kind.check)))


def _members(shape: Sequence[Place], slots: Sequence[int]) -> tuple[Member, ...]:
    members: list[Member] = []
    for number, place in enumerate(shape):
        key = arg = 0
        for own, kind in enumerate(place.kinds):
            slot = slots[len(members)]
            if slot == NOWHERE and (kind.commit.strip() or _can_fail(kind)):
                slot = 0  # it is to be done once, wherever that is
            ends = key + len(kind.keys), arg + len(kind.args)
            members.append(Member(number, kind, slot, own, slice(key, ends[0]), slice(arg, ends[1])))
            key, arg = ends
    return tuple(members)


def _deferred(members: Sequence[Member], shape: Sequence[Place]) -> tuple[int, ...]:
    """Return the numbers of what must not commit before all slots have spoken."""
    concerns = {n: _concerns(members, shape, n) for n, member in enumerate(members) if _commits(member)}
    waiting = {
        n
        for n, others in concerns.items()
        if not {members[other].slot for other in others} <= {members[n].slot, NOWHERE}
    }
    while True:  # what is checked again may stop only then
        touched = {_neighbours(members[n]) for n in waiting}
        more = {n for n, others in concerns.items() if others & waiting or _neighbours(members[n]) in touched}
        if more <= waiting:
            return tuple(sorted(waiting))
        waiting |= more


def _leads(members: Sequence[Member], places: int) -> tuple[int, ...]:
    """Return for each place the first operation that looks at anything, else the first, else that of another place."""
    leads: dict[int, int] = {}
    for looks in (True, False):
        for number, member in enumerate(members):
            if not looks or member.kind.check.strip():
                leads.setdefault(member.place, number)
    return tuple(leads.get(place, 0) for place in range(places))


def _commits(member: Member) -> bool:
    return bool(member.kind.commit.strip())


def _neighbours(member: Member) -> tuple[int, str]:
    """What operations have in common that may share keys."""
    return member.slot, member.kind.name.partition(".")[0]


def _concerns(members: Sequence[Member], shape: Sequence[Place], number: int) -> set[int]:
    """Return the numbers of what an operation's commit depends on."""
    place, kind = members[number].place, members[number].kind

    def of_all(can: Callable[[OperationKind], bool], closed: bool = False, shadow: bool = True) -> set[int]:
        return {
            n
            for n, member in enumerate(members)
            if can(member.kind) and shape[member.place].closed >= closed and shape[member.place].shadow <= shadow
        }

    ending = of_all(_can_stop, shadow=False) | of_all(_can_fail, closed=True)
    found = {n for n in ending if n < number}
    if kind.group:
        last = max((n for n in of_all(_can_stop, shadow=False) if members[n].kind.stops == kind.group), default=-1)
        found |= {n for n in ending if n <= last}
    if REFUSED.search(kind.commit) or (shape[place].shadow and kind.group):
        found |= {n for n in of_all(_can_stop) | ending if members[n].place == place}
    return found - {number}


def _some(batch: Batch, numbers: tuple[int, ...], members: Sequence[Member]) -> Batch:
    """Return these operations of a batch; it remembers them, for what is asked often is cut as often."""
    pieces = batch.pieces
    if pieces is None:
        pieces = batch.pieces = {}
    piece = pieces.get(numbers)
    if piece is None:
        operations = [Operation(one.kind, batch.keys[one.keys], batch.args[one.args]) for one in members]
        piece = pieces[numbers] = Batch(operations)
    return piece
