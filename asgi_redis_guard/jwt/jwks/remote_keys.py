"""The keys of one issuer, as far as they are known here: how long they hold, and whether to ask for them again. Pure.

Law: no fetch is made here. Whether a `kid` that nobody knows is worth one is decided, and the cool-down taken, before
it is made and whatever comes of it: tokens are anybody's to make up. Times are seconds since the epoch; a clock that
was put back ends every term at once.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ..keys import VerifyKey

#: `usable`; `due`: usable, and to be fetched anew meanwhile; `wanted`: to be fetched first; `away`: not to be had now.
State = Literal["usable", "due", "wanted", "away"]

#: The part of their life after which keys are fetched anew, while the old ones serve.
_DUE = 0.8

#: Seconds for which a `kid` that was looked for in vain is not looked for again, and how many of them are remembered.
_ABSENT = 300.0
_MOST_ABSENT = 1024

#: Characters of what is said of a failure: some of it may come from the other side.
_LONGEST_REASON = 200

#: Characters; longer ones are nobody's, and are not looked for.
_LONGEST_KID = 512


@dataclass(frozen=True, slots=True)
class Terms:
    """How keys are fetched and kept; times in seconds, sizes in bytes. What each means stands at `JWKSKeys`."""

    algorithms: tuple[str, ...] = ()
    lifetime: float = 600.0
    longest: float = 86_400.0
    stale_if_error: float = 21_600.0
    cooldown: float = 30.0
    timeout: float = 5.0
    max_size: int = 524_288
    max_keys: int = 100
    loopback_http: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The keys that an issuer had when it was asked last; compared by identity."""

    keys: tuple[VerifyKey, ...]
    kids: frozenset[str | None]
    digest: bytes


class RemoteKeys:
    """What is known of the keys of one issuer. `url` is where they are; None until it was discovered."""

    __slots__ = (
        "_absent",
        "_asked",
        "_failed",
        "_fetched",
        "_life",
        "_terms",
        "discovers",
        "etag",
        "failures",
        "held",
        "issuer",
        "reason",
        "url",
    )

    def __init__(self, issuer: str, url: str | None, terms: Terms) -> None:
        self.issuer = issuer
        self.url = url
        #: True where the issuer is asked for the URL.
        self.discovers = url is None
        self.held: Held | None = None
        self.etag: str | None = None
        #: Fetches that have failed since the last one that did not, and why.
        self.failures = 0
        self.reason = ""
        self._terms = terms
        self._fetched = self._asked = self._failed = -math.inf
        self._life = 0.0
        self._absent: dict[str, float] = {}

    @property
    def fetched(self) -> float:
        """When the keys were what they are, as far as is known."""
        return self._fetched

    def state(self, now: float) -> State:
        """Tell what can be done with the keys. A server that is known to fail is waited for only if there are none."""
        pausing = self.pause_left(now) > 0
        age = now - self._fetched
        if self.held is not None and 0 <= age < self._life:
            return "usable" if age < self._life * _DUE or pausing else "due"
        if self.failures and self.serves(now):
            return "usable" if pausing else "due"
        return "away" if pausing else "wanted"

    def serves(self, now: float) -> bool:
        """Tell whether the keys may be used although no newer ones can be had."""
        return self.held is not None and 0 <= now - self._fetched < self._life + self._terms.stale_if_error

    def pause_left(self, now: float) -> float:
        """Return the seconds until the next fetch after one that failed: 1, 2, 4 … up to the cool-down."""
        if not self.failures:
            return 0.0
        pause = min(2.0 ** min(self.failures - 1, 30), self._terms.cooldown)
        passed = now - self._failed
        return pause - passed if 0 <= passed < pause else 0.0

    # Key ids that are not known.

    def knows(self, kid: object) -> bool:
        """Tell whether there is a key of that `kid`: then no other is wanted for a token that names it."""
        return isinstance(kid, str) and self.held is not None and kid in self.held.kids

    def claim(self, kid: object, now: float) -> bool:
        """Tell whether to fetch for a `kid` that is not known; who is told so has the cool-down from now on."""
        if isinstance(kid, str):
            if len(kid) > _LONGEST_KID or 0 <= now - self._absent.get(kid, -math.inf) < _ABSENT:
                return False
        elif kid is not None:
            return False
        if self.pause_left(now) > 0 or 0 <= now - self._asked < self._terms.cooldown:
            return False
        self._asked = now
        return True

    def missed(self, kid: object, now: float) -> None:
        """Note that `kid` was looked for in vain."""
        if not isinstance(kid, str) or len(kid) > _LONGEST_KID:
            return
        self._absent.pop(kid, None)
        while len(self._absent) >= _MOST_ABSENT:
            with suppress(RuntimeError, StopIteration):  # another thread's loop was at it as well
                self._absent.pop(next(iter(self._absent)), None)
        self._absent[kid] = now

    # What came of a fetch. `sent` is when it was sent, `life` for how long that holds.

    def arrived(self, keys: tuple[VerifyKey, ...], digest: bytes, etag: str | None, sent: float, life: float) -> None:
        """Take a set of keys; the one that is held stays the same object where nothing has changed."""
        if self.held is None or self.held.digest != digest:
            self.held = Held(keys, frozenset([key.kid for key in keys]), digest)
        self.etag = etag
        self.unchanged(sent, life)

    def unchanged(self, sent: float, life: float) -> None:
        """Take it that the keys are what they were."""
        self.failures, self.reason = 0, ""
        self._fetched = sent
        self._life = life

    def moved(self, url: str) -> None:
        """Take the place where the issuer says that its keys are."""
        if url != self.url:
            self.url, self.etag = url, None

    def failed(self, reason: str, now: float) -> None:
        """Note that the keys were not to be had."""
        self.failures += 1
        self.reason = reason[:_LONGEST_REASON]
        self._failed = now

    def __repr__(self) -> str:
        held = "no keys" if self.held is None else f"{len(self.held.keys)} keys"
        failing = f", failing: {self.reason}" if self.failures else ""
        return f"<RemoteKeys of {self.issuer or self.url}: {held}{failing}>"
