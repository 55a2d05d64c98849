"""What refresh families ask of Redis, as operations, and how their replies are read. Pure.

A family is all that comes of one login: each refresh token of it is used once, and makes the next one. What was decided
stands in the record alone (`family_read.lua`), so that a verdict is one script, by the server's clock.

    family id   <tag: 6 characters of its user's digest><name: 16 random characters>, base64url

So all keys of a user share a slot of a cluster, and who has a token needs no index to find its record. Operations that
change something carry an `attempt`, random text of their caller: asked again because a reply was lost, they answer as
they did.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ...core.keys import Keys, digest
from ...core.script import Operation, OperationKind, Reply
from .refresh_token import TAG, RefreshToken

BEGIN, ROTATE, REVOKE, SWEEP = (
    OperationKind.load(__package__, f"family_{name}.lua") for name in ("begin", "rotate", "revoke", "sweep")
)
CUTOFF = OperationKind.load(__package__, "family_cutoff.lua")

#: Bytes of the text that travels with a family, and of why one was ended.
MOST_NOTE, MOST_WHY = 2048, 512

_URLSAFE = bytes.maketrans(b"+/", b"-_")


class Verdict(IntEnum):
    """What became of a refresh token that was presented."""

    #: There is no such family: it has ended long ago, by its time most likely.
    UNKNOWN = 0
    #: It was the newest one, and its successor is good from now on.
    ROTATED = 1
    #: It was used shortly before: the successor is the one that was made then.
    SAME = 2
    #: It was used before, and not shortly: the family is ended now. Said once.
    REUSED = 3
    #: Its family, or all of its user's, had been ended.
    REVOKED = 4
    #: Its family's time is up by limits that were made shorter since.
    EXPIRED = 5

    @property
    def is_good(self) -> bool:
        """True where there is a successor."""
        return self in (Verdict.ROTATED, Verdict.SAME)

    def under(self, cutoff: int, born: int) -> Verdict:
        """Return it as the cutoff for all users has it: a family that was begun up to then is revoked (both µs)."""
        return Verdict.REVOKED if self.is_good and born <= cutoff else self


class Cause(bytes):
    """How a family ended, as one letter of its record."""


REUSE, USER, DEVICE, SESSION, OTHERS = (Cause(letter) for letter in (b"x", b"u", b"d", b"s", b"o"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyLimits:
    """Times of families, in milliseconds, and how often a token may come again.

    `idle` from one refresh to the next, `lifetime` from the first, whatever is done. `grace` from a token's first use,
    never made longer by another; in it `most_replays` more are allowed, each with the same answer. `keep` is how long
    families that are over are remembered: as long as an access token lives, or these would outlive the memory.
    """

    idle: int
    lifetime: int
    grace: int
    most_replays: int
    keep: int


class Owner(NamedTuple):
    """A user, as keys have it: `tag` tells where they lie."""

    tag: bytes
    rest: bytes

    @classmethod
    def of(cls, namespace: str, user: str) -> Owner:
        """Return what stands for `user`; `namespace` tells whose name that is, empty where there is one issuer."""
        word = digest("family", namespace, user).translate(_URLSAFE)
        return cls(word[:TAG], word[TAG:])


def attempt_of(random: Callable[[int], bytes]) -> bytes:
    """Return text that tells one call from all others."""
    return b2a_base64(random(6), newline=False)


def mark_of(name: str | None) -> bytes:
    """Return what stands for a device or a session in a record, empty for none."""
    return b"" if name is None else digest(name)[:8]


@dataclass(frozen=True, slots=True)
class FamilyOperations:
    """The operations below one prefix, under one set of limits."""

    keys: Keys
    limits: FamilyLimits

    def begin(
        self, family: bytes, owner: Owner, attempt: bytes, note: bytes, device: str | None, session: str | None
    ) -> Operation:
        """Begin a family; the reply is read by `Begun.of`. Raises ValueError for a note that is too long."""
        if len(note) > MOST_NOTE:
            raise ValueError(f"note: {len(note)} bytes given; allowed are {MOST_NOTE}")
        keys = (self.keys.family(*_split(family)), self.keys.families(*owner), self.keys.generation(*owner))
        marks = mark_of(device), mark_of(session)
        args = (attempt, family[TAG:], owner.rest, self.limits.idle, self.limits.lifetime, *marks, note)
        return Operation(BEGIN, keys, args)

    def rotate(self, token: RefreshToken, attempt: bytes) -> Operation:
        """Decide what becomes of a token that was presented; the reply is read by `Rotation.of`."""
        tag, name = _split(token.family)
        keys = (self.keys.family(tag, name), self.keys.families(tag, b""), self.keys.generation(tag, b""))
        limits = self.limits
        times = (limits.grace, limits.most_replays, limits.idle, limits.lifetime, limits.keep)
        return Operation(ROTATE, keys, (token.number, attempt, *times, name))

    def revoke(self, family: bytes, attempt: bytes, why: bytes = b"") -> Operation:
        """End a family; the reply is read by `Ended.of_one`."""
        tag, name = _split(family)
        keys = (self.keys.family(tag, name), self.keys.families(tag, b""))
        return Operation(REVOKE, keys, (attempt, _why(why), self.limits.keep, name))

    def revoke_user(self, owner: Owner, attempt: bytes, why: bytes = b"") -> Operation:
        """End all families of a user, and begin a new generation: tokens of older ones are revoked, whenever made."""
        return self._sweep(owner, attempt, USER, b"", why)

    def revoke_device(self, owner: Owner, device: str, attempt: bytes, why: bytes = b"") -> Operation:
        """End all families that a user began on a device."""
        return self._sweep(owner, attempt, DEVICE, mark_of(device), why)

    def revoke_session(self, owner: Owner, session: str, attempt: bytes, why: bytes = b"") -> Operation:
        """End all families that a user began in a session."""
        return self._sweep(owner, attempt, SESSION, mark_of(session), why)

    def revoke_others(self, owner: Owner, family: bytes, attempt: bytes, why: bytes = b"") -> Operation:
        """End all families of a user but this one."""
        return self._sweep(owner, attempt, OTHERS, family[TAG:], why)

    def _sweep(self, owner: Owner, attempt: bytes, cause: Cause, what: bytes, why: bytes) -> Operation:
        keys = (self.keys.families(*owner), self.keys.family(owner.tag, b""), self.keys.generation(*owner))
        limits = self.limits
        times = (limits.keep, limits.lifetime + limits.keep)
        return Operation(SWEEP, keys, (attempt, cause, what, _why(why), *times))

    def __repr__(self) -> str:
        return f"<FamilyOperations {self.limits}>"


def cutoff_for_all(keys: Keys, namespace: str) -> Operation:
    """Ask for the cutoff that holds for all users, in µs; see `Verdict.under`."""
    return Operation(CUTOFF, (keys.everybody(namespace),))


class Begun(NamedTuple):
    """A family that was begun: the generation of its user, and when its first token and itself end (ms)."""

    gen: int
    till: int
    ends: int

    @classmethod
    def of(cls, reply: Reply) -> Begun | None:
        """Read the reply to a `begin`; None where it was ended before the reply came, so that another is needed."""
        state, gen, till, ends = reply.values
        return cls(gen, till, ends) if state else None


class Rotation(NamedTuple):
    """What became of a refresh token. Times in ms since the epoch, of the server's clock; `born` in µs.

    `number` is that of the token which is good now, to be made of it where the verdict is good; `gen` is the user's
    generation. That token ends at `till`, its family at `ends` at the latest; `was` is when the presented one was to
    end. `note` is what travels with the family. `ended_by` and `why` tell of a `REVOKED` one how that was.
    """

    verdict: Verdict
    number: int
    gen: int
    was: int
    till: int
    ends: int
    born: int
    replays: int
    note: bytes
    ended_by: bytes
    why: bytes

    @classmethod
    def of(cls, reply: Reply) -> Rotation:
        """Read the reply to a `rotate`."""
        verdict, *numbers, note, ended_by, why = reply.values
        return cls(Verdict(verdict), *numbers, *(word or b"" for word in (note, ended_by, why)))


class Ended(NamedTuple):
    """Families that were ended now: each with when its token was to end (ms since the epoch).

    `gen` is the user's generation, 0 where only one family was meant; `note` is of that one, else empty. `before` are
    those that had been ended in the same way, and are remembered still.
    """

    families: tuple[tuple[bytes, int], ...]
    gen: int = 0
    note: bytes = b""
    before: tuple[bytes, ...] = ()

    @classmethod
    def of_one(cls, reply: Reply, family: bytes) -> Ended:
        """Read the reply to a `revoke`."""
        revoked, was, note = reply.values
        return cls(((family, was),), 0, note or b"") if revoked else cls(())

    @classmethod
    def of_many(cls, reply: Reply, owner: Owner) -> Ended:
        """Read the reply to a `revoke_user`, or one of those beside it."""
        gen, flat, before = reply.values
        names, ends = flat[::2], flat[1::2]
        now = tuple((owner.tag + name, till) for name, till in zip(names, ends, strict=True))
        return cls(now, gen, before=tuple(owner.tag + name for name in before))


def _split(family: bytes) -> tuple[bytes, bytes]:
    return family[:TAG], family[TAG:]


def _why(why: bytes) -> bytes:
    if len(why) > MOST_WHY:
        raise ValueError(f"why: {len(why)} bytes given; allowed are {MOST_WHY}")
    return why
