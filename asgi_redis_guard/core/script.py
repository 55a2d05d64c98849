"""Redis work as data: operations, the Lua they are made of, and what a guard yields to have them done.

Pure. An `OperationKind` is a `.lua` file with a contract on top; an `Operation` is one use of it. Which link, which
script and when is the business of `redis/`.

The contract is in the file's first comments:

    -- name: ratelimit.gcra
    -- keys: cell
    -- args: emission, tolerance, cost
    -- keeps: tat                       locals that the commit needs of the check
    -- returns: remaining, reset_after  locals that go back, 0 unless they are set
    -- group: limits                    all or nothing within the group (optional)
    -- stops: limits                    the group that it stops, without being held back with it (optional)
    -- repeatable: yes                  may run twice if a reply is lost
    -- holds: yes                       its commit takes something that must be given back (optional)
    -- undo: settle.lua (amount, now, 0)  what undoes its commit: a file of the same package, its arguments (optional)
    -- @check                           reads and decides: may set `stop = true`
    -- @sure                            sets `unneeded = true` where a replica's word is good enough (optional)
    -- @idle                            sets `unneeded = true` where the commit would change nothing (optional)
    -- @commit                          writes; runs only if nothing before it stopped

Where a round is cut, `@idle` spares a pass; it is run behind a check that passed and sees its locals. It counts for a
guard that does not refuse: where one does, the commit runs all the same.

On a replica the check runs alone (`on_replica`), and counts only where it does not stop and `@sure` says so, or
`@idle` where there is none, or where there is nothing to commit; else the primary is asked.

A line `-- @include name.lua` stands for another file of the same package (`lua.py`). What undoes an operation has keys
of the same names, and as arguments those of the operation, whole numbers, or `now`, when it was committed.
Names may be followed by an explanation in parentheses. Keys and arguments are locals of these names; arguments are text
that is a number in arithmetic. `call(…)` is `redis.pcall` that returns false after an error, `now` the server's time in
microseconds, `floor` and `ceil` are those of `math`. In a commit `refused` tells whether another operation of the same
guard stopped; an operation of no group sees that, where it stands in front of the one that did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from .lua import includes_of, read_lua

_LINE = re.compile(r"^-- (name|keys|args|keeps|group|stops|repeatable|holds|undo|returns):\s*(.*)$")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_UNDO = re.compile(r"^([a-z_]+\.lua) \(([a-z0-9_, ]*)\)$")
_EXPLANATION = re.compile(r"\([^()]*\)")

#: Statuses of an operation in the program's reply; a failed one has its error's text instead.
STOPPED, PASSED, HELD_BACK, NOT_RUN = 0, 1, 2, 3

#: Where a round is cut, of a check alone: it passed, and its commit would change nothing.
IDLE = 4

#: Locals of the program itself.
RESERVED = frozenset(["clock", "now", "failure", "unfit", "apart", "call", "floor", "ceil"]) | {
    *("stop", "stop_at", "stop_group", "refused", "unneeded")
}


class Undo(NamedTuple):
    """What undoes an operation, and its arguments: names of those of the operation, `now`, or whole numbers."""

    kind: OperationKind
    args: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OperationKind:
    """One step that a program can do: its contract and its Lua. Compared by identity: load each once."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    keeps: tuple[str, ...]
    returns: tuple[str, ...]
    group: str | None
    stops: str | None
    repeatable: bool
    holds: bool
    check: str
    commit: str
    idle: str = ""
    undo: Undo | None = None
    sure: str = ""

    @cached_property
    def width(self) -> int:
        """How many places it takes in a program's reply: its status and what it returns."""
        return 1 + len(self.returns)

    @classmethod
    def load(cls, package: str, file: str) -> OperationKind:
        """Read a kind from `file` in `package`; raises ValueError where the contract is not kept."""
        return _load(package, file)

    def undoing(self, operation: Operation, at: int) -> Operation | None:
        """Return what undoes an operation of this kind that was committed at `at`, µs by the server's clock, if any."""
        if self.undo is None:
            return None
        kind, words = self.undo
        keys = dict(zip(self.keys, operation.keys, strict=True))
        args = {**dict(zip(self.args, operation.args, strict=True)), "now": at}
        return Operation(
            kind,
            tuple(keys[name] for name in kind.keys),
            tuple(int(word) if word.isdigit() else args[word] for word in words),
        )

    @classmethod
    def parse(cls, source: str) -> OperationKind:
        """Read a kind from Lua source with a contract on top; raises ValueError where it is not kept."""
        if missing := includes_of(source):
            raise ValueError(f"{missing[0]} is included, which only 'load' can find")
        head, has_check, body = source.partition("-- @check\n")
        check, _, commit = body.partition("-- @commit\n")
        check, _, idle = check.partition("-- @idle\n")
        check, _, sure = check.partition("-- @sure\n")
        fields = {match[1]: match[2] for line in head.splitlines() if (match := _LINE.match(line))}
        if not has_check or not fields.get("name"):
            raise ValueError("an operation needs '-- name:' and '-- @check'")
        return cls(
            name=fields["name"],
            keys=_names(fields.get("keys", "")),
            args=_names(fields.get("args", "")),
            keeps=_names(fields.get("keeps", "")),
            returns=_names(fields.get("returns", "")),
            group=fields.get("group") or None,
            stops=fields.get("stops") or fields.get("group") or None,
            repeatable=fields.get("repeatable") == "yes",
            holds=fields.get("holds") == "yes",
            check=check,
            commit=commit,
            idle=idle,
            sure=sure,
        )

    def __repr__(self) -> str:
        return f"<OperationKind {self.name}>"


@lru_cache(maxsize=256)
def _load(package: str, file: str) -> OperationKind:
    source = read_lua(package, file)
    kind = OperationKind.parse(source)
    line = next((match[2] for text in source.splitlines() if (match := _LINE.match(text)) and match[1] == "undo"), None)
    return kind if line is None else replace(kind, undo=_undo_of(kind, package, line))


def _undo_of(kind: OperationKind, package: str, line: str) -> Undo:
    if (match := _UNDO.match(line)) is None:
        raise ValueError(f"{kind.name}: not '<file>.lua (<arguments>)': {line!r}")
    undo = Undo(_load(package, match[1]), tuple(word.strip() for word in match[2].split(",")))
    unknown = [word for word in undo.args if not word.isdigit() and word not in (*kind.args, "now")]
    if unknown or len(undo.args) != len(undo.kind.args) or not {*undo.kind.keys} <= {*kind.keys}:
        raise ValueError(f"{kind.name}: {undo.kind.name} does not take what {line!r} gives it")
    return undo


class Operation(NamedTuple):
    """One use of a kind: keys and arguments in the order of its contract."""

    kind: OperationKind
    keys: tuple[bytes, ...]
    args: tuple[Any, ...] = ()

    def __repr__(self) -> str:  # arguments may be anybody's secrets
        return f"<Operation {self.kind.name}>"


class Place:
    """A guard's place in a round, as far as the program depends on it: its operations, and what their failure does.

    `closed` says that a failure of one of them stops the round, `shadow` that one that stops does so for itself and its
    group in this place alone. Its part of the reply has `width` values; `statuses` takes the statuses out of it (a
    tuple; of one operation, its status), `all_passed` is what they are if all is well.
    `holds` says that one of them takes something that must be given back; `replica`, that a replica may be asked first.
    `place_of` gives one object for each such place, compared by identity.
    """

    __slots__ = ("all_passed", "closed", "holds", "kinds", "replica", "shadow", "statuses", "width")

    def __init__(
        self, closed: bool, kinds: tuple[OperationKind, ...], shadow: bool = False, replica: bool = False
    ) -> None:
        self.closed = closed
        self.shadow = shadow
        self.replica = replica
        self.kinds = kinds
        widths = [kind.width for kind in kinds]
        self.width = sum(widths)
        self.holds = any(kind.holds for kind in kinds)
        self.statuses: Callable[[Sequence[Any]], Any] = (
            itemgetter(*[sum(widths[:number]) for number in range(len(kinds))]) if kinds else tuple
        )
        self.all_passed: Any = (PASSED,) * len(kinds) if len(kinds) != 1 else PASSED

    def __repr__(self) -> str:
        return f"<Place of {', '.join(kind.name for kind in self.kinds)}{' (closed)' if self.closed else ''}>"


_place_of = lru_cache(maxsize=1024)(Place)


def place_of(closed: bool, kinds: tuple[OperationKind, ...], shadow: bool = False, replica: bool = False) -> Place:
    """Return the one object for such a place, however its arguments are given: the cache tells these ways apart."""
    return _place_of(closed, kinds, shadow, replica)


@lru_cache(maxsize=256)
def on_replica(kind: OperationKind) -> OperationKind:
    """Return what a replica is asked: the check of a kind, which tells whether its word is good enough (`IDLE`)."""
    return replace(kind, commit="", idle=kind.sure or kind.idle, sure="", holds=False, repeatable=True, undo=None)


def is_certain(kind: OperationKind, status: Any) -> bool:
    """Tell by the status that `on_replica(kind)` had whether the primary need not be asked."""
    return bool(status == IDLE or (status == PASSED and not (kind.sure or kind.commit)))


class Batch:
    """What a guard asks at a time: kinds, keys and arguments of its operations, each laid end to end.

    Immutable; make it once for what is asked often. `wire` is for whoever sends it, to keep its wire form in; `tags`
    and `pieces` for whoever cuts it by slot.
    """

    __slots__ = ("args", "keys", "kinds", "pieces", "tags", "wire")

    def __init__(self, operations: Iterable[Operation]) -> None:
        operations = tuple(operations)
        if len(operations) == 1:  # what is made anew for a request
            ((kind, self.keys, self.args),) = operations
            self.kinds: tuple[OperationKind, ...] = (kind,)
        else:
            self.kinds = tuple(kind for kind, _, _ in operations)
            self.keys = tuple(key for _, keys, _ in operations for key in keys)
            self.args = tuple(arg for _, _, args in operations for arg in args)
        self.wire: tuple[bytes, bytes] | None = None
        self.tags: tuple[bytes | None, ...] | None = None
        self.pieces: dict[tuple[int, ...], Batch] | None = None

    def __repr__(self) -> str:
        return f"<Batch {', '.join(kind.name for kind in self.kinds)}>"


@lru_cache(maxsize=64)
def stopping(group: str) -> OperationKind:
    """Return the kind that does nothing but stop its group: what stands for a guard that refuses without asking."""
    return OperationKind.parse(
        f"-- name: stop.{group}\n-- group: {group}\n-- repeatable: yes\n-- @check\nstop = true\n"
    )


class Reply(NamedTuple):
    """What the program says of one operation.

    `passed` is the verdict of its check. `committed` is false where it passed but its group was stopped by another
    operation, so that nothing was written. `values` are what its contract returns.
    """

    passed: bool
    committed: bool = True
    values: Sequence[Any] = ()


class Replies(Sequence[Reply]):
    """The replies to a batch, in its order; read out of the program's flat reply when they are asked for.

    `passed` is true if every operation passed and was committed. `clock` is the server's time, in microseconds.
    """

    __slots__ = ("ask", "clock", "flat", "passed")

    def __init__(self, ask: Any, flat: Sequence[Any], passed: bool, clock: int = 0) -> None:
        #: The `Ask` that they answer.
        self.ask = ask
        #: Status and values of every operation, end to end.
        self.flat = flat
        self.passed = passed
        self.clock = clock

    def __len__(self) -> int:
        return len(self.ask.place.kinds)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __iter__(self) -> Iterator[Reply]:
        flat, at = self.flat, 0
        for kind in self.ask.place.kinds:
            status, end = flat[at], at + kind.width
            yield Reply(status != STOPPED, status != HELD_BACK, flat[at + 1 : end])
            at = end


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in _EXPLANATION.sub("", text).split(",") if part.strip())
    for name in names:
        if not _NAME.match(name) or name in RESERVED:
            raise ValueError(f"not a free name for a Lua local: {name!r}")
    return names
