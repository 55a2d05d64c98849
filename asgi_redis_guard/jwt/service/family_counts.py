"""Statistics of refresh families: what is counted of each reply, and what the counts come to. Pure.

Families alive are counted by the hour in which they end if nothing happens, so that no scan is needed. Counts lie in
another slot of a cluster than any family and follow in a step of their own: what a crash has cut short is off, as a
family's place in `alive` until it would have ended.
"""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

import orjson

from ...core.keys import Keys
from ...core.script import Operation, OperationKind, Reply
from .families import Begun, Ended, Rotation, Verdict

TALLY, STATS = (OperationKind.load(__package__, f"family_{name}.lua") for name in ("tally", "stats"))

_HOUR = 3_600_000  # ms

_ALIVE, _HOURS = 1, 2

_LETTERS = {Verdict.ROTATED: "r", Verdict.SAME: "p", Verdict.REUSED: "u"}


class FamilyStats(TypedDict):
    """`alive` families; in each hour of seven days how many were `begun`, `ended`, and what became of refresh tokens.

    `rotated`: used for the first time; `replayed`: again within the grace; `reused`: later, which ended the family.
    Hours are counted since the epoch; those in which nothing happened are left out.
    """

    alive: int
    begun: dict[int, int]
    rotated: dict[int, int]
    replayed: dict[int, int]
    reused: dict[int, int]
    ended: dict[int, int]


class FamilyCounts:
    """What is still to be counted."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: Counter[tuple[int, str]] = Counter()

    def __bool__(self) -> bool:
        return any(self._changes.values())

    def begun(self, begun: Begun, clock: int) -> None:
        """Count a family that was begun; `clock` is the server's, in µs, here and below."""
        self._changes[_ALIVE, str(begun.till // _HOUR)] += 1
        self._add("b", clock)

    def presented(self, rotation: Rotation, clock: int) -> None:
        """Count what became of a token."""
        if letter := _LETTERS.get(rotation.verdict):
            self._add(letter, clock)
        if rotation.verdict == Verdict.ROTATED:
            self._changes[_ALIVE, str(rotation.was // _HOUR)] -= 1
            self._changes[_ALIVE, str(rotation.till // _HOUR)] += 1
        elif rotation.verdict in (Verdict.REUSED, Verdict.EXPIRED):
            self._end(rotation.was, clock)

    def ended(self, ended: Ended, clock: int) -> None:
        """Count families that were ended."""
        for _, till in ended.families:
            self._end(till, clock)

    def take(self, keys: Keys, idle: int) -> Operation:
        """Return what counts all of this, and begin anew; `idle` in ms, the longest that a token waits."""
        flat: list[int | str] = []
        for (key, field), more in self._changes.items():
            if more:
                flat += (key, field, more)
        self._changes.clear()
        return Operation(TALLY, keys.family_counts, (orjson.dumps(flat), idle + _HOUR))

    def _end(self, till: int, clock: int) -> None:
        self._changes[_ALIVE, str(till // _HOUR)] -= 1
        self._add("e", clock)

    def _add(self, letter: str, clock: int) -> None:
        self._changes[_HOURS, f"{letter}{clock // 1000 // _HOUR}"] += 1

    def __repr__(self) -> str:
        return f"<FamilyCounts {sum(map(abs, self._changes.values()))}>"


def stats(keys: Keys) -> Operation:
    """Ask for the counts; the reply is read by `stats_of`."""
    return Operation(STATS, keys.family_counts)


def stats_of(reply: Reply) -> FamilyStats:
    """Read the reply to `stats`."""
    this_hour, ends, counts = reply.values
    alive = sum(int(more) for hour, more in _pairs(ends) if int(hour) >= this_hour)
    hours: dict[bytes, dict[int, int]] = {letter: {} for letter in (b"b", b"r", b"p", b"u", b"e")}
    for field, more in _pairs(counts):
        if int(field[1:]) > this_hour - 168:
            hours[field[:1]][int(field[1:])] = int(more)
    begun, rotated, replayed, reused, ended = hours.values()
    return FamilyStats(alive=alive, begun=begun, rotated=rotated, replayed=replayed, reused=reused, ended=ended)


def _pairs(flat: list[bytes]) -> zip[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
