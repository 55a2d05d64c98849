"""What a mirror of the blacklist knows: which tokens are revoked, and whose tokens from before when. Pure: no clock.

Tokens and users go by the digests in their keys. A token's mark is known until the hour is over in which it ends, so
that what ends is dropped by the hour; about 120 bytes each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf

from .questions import Questions


class Malformed(Exception):
    """An entry of the stream does not say what it should; everything has to be looked at again."""


class Revoked:
    """Marks and cutoffs, as of the entry `after` of the stream in `epoch`."""

    __slots__ = ("_hours", "_marks", "after", "at", "cutoffs", "epoch")

    def __init__(self, epoch: bytes = b"", after: bytes = b"0-0") -> None:
        self.epoch = epoch
        self.after = after
        #: When the last entry was added, by the server's clock, in µs.
        self.at = inf
        #: Those of each hour; a mark that has moved to another may stand in both.
        self._hours: dict[int, list[bytes]] = {}
        #: Each with the list of its hour.
        self._marks: dict[bytes, list[bytes]] = {}
        #: µs since the epoch.
        self.cutoffs: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._marks) + len(self.cutoffs)

    def is_marked(self, token: bytes) -> bool:
        """Tell whether a token is revoked by itself."""
        return token in self._marks

    def answers(self, questions: Questions) -> bool:
        """Tell whether a token is revoked."""
        marks, cutoffs = self._marks, self.cutoffs
        for key in questions.marks:
            if key[-20:] in marks:
                return True
        for key, issued in questions.cutoffs:  # noqa: SIM110  (`any` costs three times as much, for each request)
            if issued <= cutoffs.get(key[-20:], -1):
                return True
        return False

    def marks(self) -> Iterator[tuple[bytes, int]]:
        """All marks, each with its hour."""
        for hour, tokens in self._hours.items():
            for token in tokens:
                if self._marks.get(token) is tokens:
                    yield token, hour

    def mark(self, token: bytes, hour: int) -> None:
        """Note a revoked token, and the hour since the epoch in which its mark ends."""
        tokens = self._hours.setdefault(hour, [])
        former = self._marks.get(token)
        if former is not tokens:
            self._marks[token] = tokens
            tokens.append(token)

    def unmark(self, token: bytes) -> None:
        """Forget one; what its hour says of it goes with the hour."""
        self._marks.pop(token, None)

    def cut(self, user: bytes, cutoff: int) -> None:
        """Note that a user's tokens from up to then are revoked; a cutoff never moves back."""
        if cutoff > self.cutoffs.get(user, 0):
            self.cutoffs[user] = cutoff

    def take(self, after: bytes, fields: Sequence[bytes]) -> bool:
        """Take an entry of the stream; false if it does not follow the last one. Raises `Malformed`.

        Kinds that are not known tell of what this version does not ask about.
        """
        if len(fields) < 4 or fields[0] != b"after":
            raise Malformed
        if fields[1] != self.after:
            return False
        what, words = fields[2], fields[3].split()
        try:
            if what == b"marks":
                for hour, token in zip(words[::2], words[1::2], strict=True):
                    self.mark(token, int(hour))
            elif what == b"unmark":
                self.unmark(words[0])
            elif what == b"cutoff":
                self.cut(words[0], int(words[1]))
            if fields[4:5] == [b"at"]:
                self.at = float(int(fields[5]))
        except (ValueError, IndexError) as error:
            raise Malformed from error
        self.after = after
        return True

    def drop(self, hour: int, oldest_cutoff: int, most: int = 5_000) -> None:
        """Drop marks that ended before `hour`, and cutoffs from before that time (µs), `most` of each at a time."""
        for over in [known for known in self._hours if known < hour]:
            tokens = self._hours[over]
            for token in tokens[-most:]:
                if self._marks.get(token) is tokens:
                    del self._marks[token]
            del tokens[-most:]
            if tokens:
                return
            del self._hours[over]
        old = [user for user, cutoff in self.cutoffs.items() if cutoff < oldest_cutoff]
        for user in islice(old, most):
            del self.cutoffs[user]

    def missing(self, other: Revoked) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
        """Return marks with their hours and cutoffs that this one knows and `other` does not; `other` learns them."""
        marks = [(token, hour) for token, hour in self.marks() if not other.is_marked(token)]
        cutoffs = [(user, cut) for user, cut in self.cutoffs.items() if cut > other.cutoffs.get(user, 0)]
        for token, hour in marks:
            other.mark(token, hour)
        for user, cut in cutoffs:
            other.cut(user, cut)
        return marks, cutoffs

    def __repr__(self) -> str:
        return f"<Revoked: {len(self._marks)} tokens, {len(self.cutoffs)} cutoffs>"


def skips(fields: Sequence[bytes], entry: bytes) -> bool:
    """Tell whether an entry follows one that is before `entry`, which it stands behind: that was never there."""
    if len(fields) < 2 or fields[0] != b"after" or re.fullmatch(rb"[0-9]+-[0-9]+", fields[1]) is None:
        return False
    return is_behind(fields[1], entry)


def is_behind(entry: bytes, other: bytes) -> bool:
    """Tell whether an id of an entry is smaller than another."""
    return _parts(entry) < _parts(other)


def _parts(entry: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split(b"-"))
