"""The first level: what was answered is sent again without asking Redis, for a few seconds, unless word comes. Pure.

Off by default. Who invalidates something says so on the feed; a process that does not hear the feed asks Redis each
time. What Redis has said before an invalidation, and what comes back only after word of it, is told apart by the
server's time that both carry. In the same way it is told what a replica has not heard of yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .known import Recent

if TYPE_CHECKING:
    from ..core.script import Operation, Reply
    from .hot import Hot

#: Words that are remembered; those that are forgotten count for everything.
_MOST_WORDS = 65_536

#: A word: what it names, its digest, the server's µs.
_WORD = 1 + 20 + 16


class FirstLevel:
    """What may be sent without asking. `ttl` is in seconds; 0 switches it off. `replicas`: some are asked."""

    __slots__ = ("_epoch", "_oldest", "_replicas", "_words", "ttl")

    def __init__(self, ttl: float, *, replicas: bool = False) -> None:
        self.ttl = ttl
        self._replicas = replicas
        self._epoch = 0
        self._oldest = 0  # the time of the newest word that was forgotten
        self._words: Recent[bytes, int] = Recent(_MOST_WORDS)

    def confirm(self, hot: Hot, clock: int, now: float) -> None:
        """Note that Redis has said at `clock`, its own time in µs, that an answer is right."""
        hot.confirmed = (self._epoch, clock, now)

    def clock_for(self, hot: Hot, now: float) -> int | None:
        """Return the server's time in µs if an answer may be sent without asking, else None."""
        if hot.confirmed is None:
            return None
        epoch, clock, seen = hot.confirmed
        if epoch != self._epoch or not 0 <= now - seen < self.ttl or clock <= self._oldest:
            return None
        words = self._words
        for named in (hot.place.resource, *hot.digests):
            if (said := words.get(named)) is not None and said >= clock:
                return None
        present = clock + int((now - seen) * 1e6)
        return present if present < hot.entry.fresh_until else None

    def told(self, word: bytes) -> None:
        """Take word of an invalidation; other words are none of it."""
        if len(word) != _WORD or word[:1] not in (b"t", b"r") or not word[21:].isdigit():
            return
        if len(self._words) >= _MOST_WORDS:
            self._oldest = max(self._oldest, int(word[21:]))
        self._words.put(word[1:21], int(word[21:]))

    def told_of(self, operations: Iterable[Operation], replies: Iterable[Reply]) -> None:
        """Take word of what this process has invalidated itself, by the replies to it."""
        if not self._replicas:
            return
        for operation, reply in zip(operations, replies, strict=True):
            if word := operation.args[3]:
                self.told(b"%b%016d" % (word, reply.values[0]))

    def is_behind(self, stamps: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell by generations, each with the digest that it is of, whether who knows those has not heard of a word."""
        if not len(self._words):
            return False
        for digest, stamp in stamps:
            said = self._words.get(digest)
            if said is not None and (not stamp or said > max(int(stamp[:16]), int(stamp[17:33]))):
                return True
        return False

    def start_over(self) -> None:
        """Rely on nothing that was confirmed before: word may have been missed."""
        self._epoch += 1
