"""The blacklist, written: marks of tokens and families, cutoffs of users. Each call is one script and one round trip.

Law: the mirrors of the running loop know of it when the call returns; those of others, and whoever watches something
that was opened with a token, hear of it (`revoke.lua`, `cutoff.lua`): the digests in the keys, on the topic `tokens`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...core.lua import read_lua
from ...redis.manager import RedisManager
from ...redis.program import Script
from ..policy import MAX_LEEWAY

_REVOKE, _UNREVOKE, _CUTOFF = (
    Script(read_lua(__package__, f"{name}.lua")) for name in ("revoke", "unrevoke", "cutoff")
)

#: Marks in one call; more are cut into several calls, so that no call holds the server up.
_BATCH = 5_000

_MARGIN = round(MAX_LEEWAY * 1000)


class Mark(NamedTuple):
    """A mark to be set: `end` in ms since the epoch, or minus how long it is to be kept, both without the margin."""

    key: bytes
    end: int
    note: bytes = b""


class Witness:
    """Somebody in the loop who is to know at once what was written: a mirror."""

    def note(self, key: bytes, *, revoked: bool) -> None:
        """Take note of a mark that was set or taken back."""
        raise NotImplementedError

    def note_cutoff(self, key: bytes, cutoff: int) -> None:
        """The same for a cutoff."""
        raise NotImplementedError


class Marks:
    """Writes the blacklist of one manager. All methods raise `RedisUnavailable`."""

    __slots__ = ("_redis",)

    def __init__(self, redis: RedisManager) -> None:
        self._redis = redis

    async def set(self, marks: Sequence[Mark], *, margin: int = _MARGIN) -> int:
        """Set marks, 5,000 in one round trip; return how many were not there before. `margin` in ms, kept beyond ends.

        What has ended longer ago than the margin gets none.
        """
        added = 0
        for start in range(0, len(marks), _BATCH):
            batch = marks[start : start + _BATCH]
            values: list[int | bytes] = [margin, self._redis.keys.tokens_channel]
            for mark in batch:
                values += (mark.end, mark.note)
            keys = tuple(mark.key for mark in batch)
            added += await self._redis.run_script(_REVOKE, (*self._places, *keys), tuple(values), repeatable=True)
            self._noted(keys, revoked=True)
        return added

    async def unset(self, key: bytes) -> bool:
        """Take a mark back; true if there was one."""
        found = bool(await self._redis.run_script(_UNREVOKE, (*self._places, key)))
        self._noted((key,), revoked=False)
        return found

    async def cut(self, key: bytes, keep: int, cutoff: int | None, *, ahead: bool = True) -> int:
        """Set a cutoff, None for the server's now in µs, and keep it for `keep` ms; return it: none is moved back.

        One that is still to come is kept for so long from then on, or counts as now where it may not be `ahead`.
        """
        keys = self._redis.keys
        places = (keys.revoked_users, *self._places[1:], key)
        values = (keep, b"" if cutoff is None else cutoff, keys.tokens_channel, b"" if ahead else b"1")
        set_to = int(await self._redis.run_script(_CUTOFF, places, values, repeatable=True))
        for witness in self._witnesses():
            witness.note_cutoff(key, set_to)
        return set_to

    @property
    def _places(self) -> tuple[bytes, bytes, bytes]:
        keys = self._redis.keys
        return keys.revoked, keys.revoked_mirrors, keys.revoked_stream

    def _noted(self, keys: Iterable[bytes], *, revoked: bool) -> None:
        for witness in self._witnesses():
            for key in keys:
                witness.note(key, revoked=revoked)

    def _witnesses(self) -> list[Witness]:
        return [one for one in self._redis.links.residents.values() if isinstance(one, Witness)]

    def __repr__(self) -> str:
        return f"<Marks on {self._redis!r}>"
