"""What idempotent requests and calls ask of Redis, as operations. Pure.

One record a key: under way it lives as long as its lease, done as long as its ttl. Whoever wants to run makes a `Claim`
first, token and all, so that asking again is recognised.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..core.keys import Keys
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask, Sought

BEGIN = OperationKind.load(__package__, "begin.lua")
ATTEND = OperationKind.load(__package__, "attend.lua")
RENEW = OperationKind.load(__package__, "renew.lua")
COMPLETE = OperationKind.load(__package__, "complete.lua")
RELEASE = OperationKind.load(__package__, "release.lua")

ALL = (BEGIN, ATTEND, RENEW, COMPLETE, RELEASE)

#: The topic on which it is told that a request is through which others wait for; the word is what its record goes by.
TOPIC = "idempotency"

#: Bytes of a record that travel with a round; larger ones are fetched on the second lane.
INLINE = 8192

#: What `begin` says of a record.
RUN, REPLAY, BUSY, MISMATCH, NOT_KEPT, UNREADABLE = range(6)

#: Bytes in front of what is replayed, and where the fingerprint stands in them.
_HEAD, _PRINT = 38, slice(2, 22)


@dataclass(frozen=True, slots=True, repr=False)
class Claim:
    """The wish to run what goes by `word` once; `lease` and `ttl` in milliseconds."""

    key: bytes
    word: bytes
    token: bytes
    fingerprint: bytes
    lease: int
    ttl: int
    channel: bytes

    @classmethod
    def of(
        cls, keys: Keys, word: bytes, fingerprint: bytes, random: Callable[[int], bytes], lease: float, ttl: float
    ) -> Claim:
        """Claim what goes by the digest `word`; both times in seconds."""
        token = b2a_base64(random(12), newline=False)
        milliseconds = max(1, round(lease * 1000)), max(1, round(ttl * 1000))
        return cls(keys.idempotent(word), word, token, fingerprint, *milliseconds, keys.idempotency_channel)

    def begin(self) -> Operation:
        """Run if nobody does or has done so, or tell how it stands."""
        return Operation(BEGIN, (self.key,), (self.token, self.fingerprint, self.lease, INLINE))

    def attend(self) -> Operation:
        """Have who runs it say when it is through. Stands in front of a `begin` in the same round."""
        return Operation(ATTEND, (self.key,), (self.token,))

    def renew(self) -> Operation:
        """Keep the lease; stops where it is another's, or gone."""
        return Operation(RENEW, (self.key,), (self.token, self.lease))

    def complete(self, kind: Literal[b"D", b"U"], content: bytes) -> Operation:
        """Record that it is done, with what is replayed (`D`), or with what is told instead of that (`U`)."""
        value = b"%b-%b%b%b" % (kind, self.fingerprint, self.token, content)
        return Operation(COMPLETE, (self.key,), (self.token, value, self.ttl, self.channel, self.word))

    def release(self) -> Operation:
        """Let another run it, if it is under way by this claim."""
        return Operation(RELEASE, (self.key,), (self.token, self.channel, self.word))

    def content_of(self, record: object) -> bytes | None:
        """Return what is replayed out of a whole record that was fetched; None if it is not the one that is meant."""
        if not isinstance(record, bytes) or record[:1] != b"D" or record[_PRINT] != self.fingerprint:
            return None
        return record[_HEAD:]

    def __repr__(self) -> str:  # the token is a secret
        return f"<Claim for {self.lease} ms>"


class Found(NamedTuple):
    """How it stands: `left` is seconds that it is under way at most, `content` what is replayed, or told.

    `content` is None where the record is too large to travel with a round; `since` is when it was asked, by the loop's
    clock.
    """

    state: int
    left: float = 0.0
    content: bytes | None = None
    since: float = 0.0

    @classmethod
    def of(cls, replies: Replies, since: float = 0.0) -> Found:
        """Read the reply to a `begin`, the last of those that were asked for together."""
        _, _, (state, left, _, value) = list(replies)[-1]
        return cls(state, max(left, 0) / 1000, value[_HEAD:] if value else None, since)


class Awaited:
    """How it stands, as was told last: `found`, which is kept up while somebody waits for what goes by `claim`."""

    def __init__(self, claim: Claim, found: Found) -> None:
        self.found = found
        self._claim = claim

    def sought(self) -> Sought:
        """Return what is waited for: that whoever runs it is through, or that it may run."""
        claim = self._claim
        ask, undo = Ask((claim.attend(), claim.begin())), Ask((claim.release(),))
        return Sought(TOPIC, claim.word, ask, self._left, undo, claim.lease / 1000)

    def _left(self, replies: Replies) -> float | None:
        self.found = Found.of(replies)
        return self.found.left if self.found.state == BUSY else None

    def __repr__(self) -> str:
        return f"<Awaited by {self._claim!r}>"


def is_recorded(replies: Replies) -> bool:
    """Read the reply to a `complete`: false if the record is another's."""
    ((_, _, (recorded,)),) = replies
    return bool(recorded)
