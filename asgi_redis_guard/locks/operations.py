"""What locks and semaphores ask of Redis, as operations. Pure.

Whoever wants a lock makes a `Claim` first, token and all, so that asking again is recognised: a reply that was lost
leaves nobody's lock behind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from ..core.keys import Keys, digest
from ..core.script import Operation, OperationKind

#: The topic on which it is told that a lock was released which others wait for; the word is the digest of its name.
TOPIC = "locks"

#: Seconds that a fence is remembered at the least. Fences are the server's time or the last one plus 1, so that they
#: only fall where this is forgotten (a server that lost its data) and its clock has been set back.
_MEMORY = 3_600


class Kinds(NamedTuple):
    """The operations of locks, or of semaphores: the same arguments and replies."""

    acquire: OperationKind
    acquire_all: OperationKind
    attend: OperationKind
    renew: OperationKind
    extend: OperationKind
    release: OperationKind
    release_once: OperationKind
    peek: OperationKind


def _once(kind: OperationKind) -> OperationKind:
    """The same, not to be repeated unasked: whoever asks wants to know whether it was the first time."""
    return replace(kind, repeatable=False)


def _kinds(prefix: str) -> Kinds:
    acquire, attend, renew, release, peek = (
        OperationKind.load(__package__, f"{prefix}{name}.lua")
        for name in ("acquire", "attend", "renew", "release", "peek")
    )
    together = replace(acquire, group="locks", stops="locks")
    return Kinds(acquire, together, attend, renew, _once(renew), release, _once(release), peek)


LOCK = _kinds("")
SEMAPHORE = _kinds("semaphore_")


class Claim(NamedTuple):
    """What one caller wants of one lock: `ttl` in milliseconds; `word` stands for the lock among those who wait."""

    kinds: Kinds
    keys: tuple[bytes, bytes]
    word: bytes
    token: str
    ttl: int
    channel: bytes
    permits: tuple[int, ...] = ()

    @classmethod
    def of(cls, keys: Keys, name: tuple[str | bytes, ...], token: str, ttl: float, permits: int | None = None) -> Claim:
        """Claim the lock of that name for `ttl` seconds; with `permits` a place in a semaphore."""
        word = digest("lock" if permits is None else "semaphore", *name, *keys.salt)
        milliseconds = max(1, round(ttl * 1000))
        if permits is None:
            return cls(LOCK, keys.lock(word), word, token, milliseconds, keys.locks_channel)
        return cls(SEMAPHORE, keys.semaphore(word), word, token, milliseconds, keys.locks_channel, (permits,))

    def under(self, token: str) -> Claim:
        """Claim the same under another token."""
        return Claim(self.kinds, self.keys, self.word, token, self.ttl, self.channel, self.permits)

    @property
    def memory(self) -> int:
        """Milliseconds that its fence is remembered."""
        return max(_MEMORY * 1000, self.ttl)

    def acquire(self, *, all_or_none: bool = False) -> Operation:
        """Take it if it is free, or say how long it is another's at most; what is held with this token is held anew.

        `all_or_none`: only if all locks that are asked for together are free.
        """
        kind = self.kinds.acquire_all if all_or_none else self.kinds.acquire
        return Operation(kind, self.keys, (self.token, self.ttl, self.memory, *self.permits))

    def attend(self) -> Operation:
        """Have who releases it say so. Stands in front of an `acquire` in the same round."""
        return Operation(self.kinds.attend, self.keys[:1], (self.token,))

    def renew(self) -> Operation:
        """Hold it for `ttl` from now on at the least; stops where it is held no more."""
        return Operation(self.kinds.renew, self.keys[:1], (self.token, self.ttl, "least"))

    def extend(self, milliseconds: int, how: Literal["add", "set"]) -> Operation:
        """Hold it for so much longer, or for so long; stops where it is held no more. Not repeated unasked."""
        return Operation(self.kinds.extend, self.keys[:1], (self.token, milliseconds, how))

    def release(self, *, once: bool = False) -> Operation:
        """Give it back if it is held with this token, and tell who waits; `once`: not repeated unasked."""
        kind = self.kinds.release_once if once else self.kinds.release
        return Operation(kind, self.keys[:1], (self.token, self.channel, self.word))

    def peek(self) -> Operation:
        """Look who holds it."""
        return Operation(self.kinds.peek, self.keys[:1], (self.token,))

    def __repr__(self) -> str:  # the token is a secret
        return f"<Claim of a {'semaphore' if self.permits else 'lock'} for {self.ttl} ms>"
