"""The blacklist, written: marks of tokens and families, cutoffs of users. Each call is one script and one round trip.

Law: the mirrors of the running loop know of it when the call returns; those of others, and whoever watches something
that was opened with a token, hear of it (`revoke.lua`, `cutoff.lua`): the digests in the keys, on the topic `tokens`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ...core.lua import read_lua
from ...errors import RedisUnavailable
from ...redis.losses import Losses
from ...redis.manager import RedisManager
from ...redis.program import Script
from ...redis.slots import slot_of
from ...redis.wait_replicas import Written, confirm
from ..policy import MAX_LEEWAY

_REVOKE, _UNREVOKE, _CUTOFF = (
    Script(read_lua(__package__, f"{name}.lua")) for name in ("revoke", "unrevoke", "cutoff")
)
#: The same cut in two, for clusters: marks and cutoffs lie in slots of their own, what tells of them in one.
_SET, _TOLD, _UNMARK, _UNMARK_TOLD, _CUT, _CUT_TOLD = (
    Script(read_lua(__package__, f"{name}.lua"))
    for name in ("marks_set", "marks_told", "unmark", "unmark_told", "cutoff_set", "cutoff_told")
)

#: Marks in one call; more are cut into several calls, so that no call holds the server up.
_BATCH = 5_000

#: Times that something is written which may have been lost at the same moment.
_TRIES = 5

_MARGIN = round(MAX_LEEWAY * 1000)

#: What is said where too few replicas have it.
_MARKED, _CUT_OFF = "it is revoked", "the cutoff is set"


class Mark(NamedTuple):
    """A mark to be set: `end` in ms since the epoch, or minus how long it is to be kept, both without the margin."""

    key: bytes
    end: int
    note: bytes = b""


class Outcome(NamedTuple):
    """What came of a write: how many marks are new, or the cutoff; when that was (µs; 0 where nothing is new), and into
    which incarnation of the server's data, None where that has to be asked.
    """

    result: int
    now: int
    incarnation: bytes | None


class Witness:
    """Somebody in the loop who is to know at once what was written: a mirror."""

    def note(self, key: bytes, *, revoked: bool, end: int = 0) -> None:
        """Take note of a mark that was set, with its `end`, or taken back."""
        raise NotImplementedError

    @property
    def holds(self) -> bool:
        """True where it takes note: it is not so while nothing is known yet, or too much."""
        raise NotImplementedError

    def note_cutoff(self, key: bytes, cutoff: int) -> None:
        """The same for a cutoff."""
        raise NotImplementedError


class Marks:
    """Writes the blacklist of one manager. All methods raise `RedisUnavailable`.

    What is written counts when so many `replicas` have it, else `TooFewReplicas` is raised.
    """

    __slots__ = ("_redis", "_replicas")

    def __init__(self, redis: RedisManager, replicas: int = 0) -> None:
        self._redis = redis
        self._replicas = replicas

    async def set(self, marks: Sequence[Mark], *, margin: int = _MARGIN, known: bool = False) -> int:
        """Set marks, 5,000 in one round trip; return how many were not there before. `margin` in ms, kept beyond ends.

        What has ended longer ago than the margin gets none. `known`: what Redis has lost is given back.
        """
        added, lasting = 0, list[Written]()
        for start in range(0, len(marks), _BATCH):
            batch = marks[start : start + _BATCH]
            lives = [-mark.end for mark in batch if mark.end < 0]
            till = max(mark.end for mark in batch)
            await self._ensure(max(lives) + margin if lives else 0, till + margin if till > 0 else 0)
            added += await self._surely(partial(self._write, batch, margin), known)
            for witness in self._witnesses():
                for mark in batch:
                    witness.note(mark.key, revoked=True, end=mark.end)
            if self._replicas:
                lasting += self._lasting(batch, margin)
        await confirm(self._redis, lasting, self._replicas, _MARKED)
        return added

    def _lasting(self, marks: Sequence[Mark], margin: int) -> Iterable[Written]:
        """Of each slot the mark that ends last: one script has set those with it, and what is for nobody got none."""
        last = [max(some, key=_lasts) for some in (_by_slot(marks) if self._redis.is_cluster else [marks])]
        return [Written(mark.key, mark.end + margin) if mark.end >= 0 else Written(mark.key) for mark in last]

    async def _surely(self, write: Callable[[], Awaitable[Outcome]], known: bool = False) -> int:
        """Write, and once more where the server has lost its data meanwhile: this may have been among it.

        When that was is noted: nobody may take Redis for whole who knows less.
        """
        most = 0
        for _ in range(_TRIES):
            before = self._losses.incarnations()
            result, now, name = await write()
            most = max(most, result)
            if await self._losses.is_there(before, name, 0 if known else now, held=self._is_held()):
                return most
        raise RedisUnavailable("Redis loses its data again and again", maybe_executed=True)

    async def _write(self, marks: Sequence[Mark], margin: int) -> Outcome:
        if self._redis.is_cluster:
            return await self._write_apart(marks, margin)
        values = [margin, self._redis.keys.tokens_channel, *_values(marks)]
        keys = (*self._places, self._losses.record, *(mark.key for mark in marks))
        added, now, name = await self._redis.run_script(_REVOKE, keys, tuple(values), repeatable=True)
        return Outcome(int(added), int(now) if added else 0, bytes(name))

    async def _write_apart(self, marks: Sequence[Mark], margin: int) -> Outcome:
        """Set marks slot by slot, then tell of all; what fails between the two is told by the next try."""
        told: list[bytes | int] = [self._redis.keys.tokens_channel]
        groups = _by_slot(marks)
        replies = await asyncio.gather(*[self._set_together(some, margin) for some in groups])
        for some, reply in zip(groups, replies, strict=True):
            for mark, before, left in zip(some, reply[::2], reply[1::2], strict=True):
                if left > 0:
                    told += [mark.key[-20:], before, left]
        if len(told) == 1:
            return Outcome(0, 0, None)
        added, now = await self._redis.run_script(_TOLD, self._places, tuple(told), repeatable=True)
        return Outcome(int(added), int(now) if added else 0, None)

    async def _set_together(self, marks: Sequence[Mark], margin: int) -> list[int]:
        """Set marks of one slot; return for each what it had left before, and has now, in ms."""
        keys, values = tuple(mark.key for mark in marks), (margin, *_values(marks))
        reply: list[int] = await self._redis.run_script(_SET, keys, values, repeatable=True)
        return reply

    async def restore(self, marks: Sequence[Mark], cutoffs: Sequence[tuple[bytes, int]], keep: int) -> None:
        """Set again what a node of a cluster has lost, while their index still has it: nothing is counted or told."""
        for some in _by_slot(marks):
            await self._set_together(some, 0)
        for key, cutoff in cutoffs:
            await self._redis.run_script(_CUT, (key,), (keep, cutoff, b"", b""), repeatable=True)

    async def unset(self, key: bytes) -> bool:
        """Take a mark back; true if there was one."""
        run = self._redis.run_script
        if not self._redis.is_cluster:
            found = bool(await run(_UNREVOKE, (*self._places, key)))
        elif found := (left := await run(_UNMARK, (key,))) > 0:
            await run(_UNMARK_TOLD, self._places, (key[-20:], left))
        for witness in self._witnesses():
            witness.note(key, revoked=False)
        return found

    async def cut(self, key: bytes, keep: int, cutoff: int | None, *, ahead: bool = True, known: bool = False) -> int:
        """Set a cutoff, None for the server's now in µs, and keep it for `keep` ms; return it: none is moved back.

        One that is still to come is kept for so long from then on, or counts as now where it may not be `ahead`.
        `known` as in `set`.
        """
        values = (keep, b"" if cutoff is None else cutoff, self._redis.keys.tokens_channel, b"" if ahead else b"1")
        await self._ensure(keep, 0 if cutoff is None else cutoff // 1000 + keep)
        set_to = await self._surely(partial(self._write_cutoff, key, values), known)
        for witness in self._witnesses():
            witness.note_cutoff(key, set_to)
        await confirm(self._redis, (Written(key),), self._replicas, _CUT_OFF)
        return set_to

    async def _write_cutoff(self, key: bytes, values: tuple[Any, ...]) -> Outcome:
        run, places = self._redis.run_script, (self._redis.keys.revoked_users, *self._places[1:])
        if self._redis.is_cluster:
            set_to, kept, is_new = map(int, await run(_CUT, (key,), values, repeatable=True))
            told = (key[-20:], set_to, kept, is_new, values[2])
            return Outcome(set_to, is_new * int(await run(_CUT_TOLD, places, told, repeatable=True)), None)
        set_to, now, name = await run(_CUTOFF, (*places, key, self._losses.record), values, repeatable=True)
        return Outcome(int(set_to), int(now), bytes(name))

    async def _ensure(self, life: int, till: int) -> None:
        """See to it that it is noticed where what is written now gets lost; no mirror holds what has a tag."""
        await self._losses.ensure(life, till, unheld=self._redis.keys.key_tag is not None)

    @property
    def _losses(self) -> Losses:
        return self._redis.links.losses

    @property
    def _places(self) -> tuple[bytes, bytes, bytes]:
        keys = self._redis.keys
        return keys.revoked, keys.revoked_mirrors, keys.revoked_stream

    def _is_held(self) -> bool:
        """Tell whether somebody here can give back what was written, if Redis loses it."""
        return self._redis.keys.key_tag is None and any(witness.holds for witness in self._witnesses())

    def _witnesses(self) -> list[Witness]:
        return [one for one in self._redis.links.residents.values() if isinstance(one, Witness)]

    def __repr__(self) -> str:
        return f"<Marks on {self._redis!r}>"


def _by_slot(marks: Iterable[Mark]) -> list[list[Mark]]:
    """Return marks as they lie together in slots of a cluster."""
    slots: dict[int, list[Mark]] = {}
    for mark in marks:
        slots.setdefault(slot_of(mark.key), []).append(mark)
    return [*slots.values()]


def _values(marks: Sequence[Mark]) -> list[int | bytes]:
    return [value for mark in marks for value in (mark.end, mark.note)]


def _lasts(mark: Mark) -> float:
    """What is kept from now on lasts for sure; of the others the later end."""
    return math.inf if mark.end < 0 else mark.end
