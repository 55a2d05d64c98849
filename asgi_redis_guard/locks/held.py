"""A lock that a request holds: what its handler sees of it, and the responder that keeps it and gives it back.

Law: it is given back once, after the last byte or whatever else ends the request, and tried again where Redis is away.
Who loses it is told at once: the handler is cancelled, and a response that has begun is never ended cleanly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..core.exchange import Services
from ..core.keys import Keys
from ..core.responder import Control, Outcome, Responder
from ..core.steps import Answer, Asking
from ..errors import LockLost, LockNotOwnedError, RedisUnavailable
from .claims import Claims, Name
from .hold import Hold

logger = logging.getLogger("asgi_redis_guard.locks")


class HeldLock:
    """The lock under which a request is worked on: `scope["lock"]`.

    `fence` is higher than that of every holder before; what is written to should refuse a lower one than it has seen.
    `lost` is set when it is held no more although the handler may still run: a handler in a thread, which nobody can
    cancel, looks at `lost.is_set()` before what must not happen twice. It is renewed without anybody's doing.
    """

    __slots__ = ("_hold", "_services", "keys", "lost")

    def __init__(self, services: Services, hold: Hold, keys: frozenset[bytes]) -> None:
        self._services = services
        self._hold = hold
        #: The keys of all locks that the request holds with this one.
        self.keys = keys
        self.lost = asyncio.Event()

    @property
    def token(self) -> str:
        """What its holder is known by to Redis. A secret: with it anybody may release it."""
        return self._hold.claims.token

    @property
    def fence(self) -> int:
        """A number higher than that of every holder before; of several locks, the highest."""
        return self._hold.fence

    @property
    def ttl(self) -> float:
        """Seconds after which it is free again if this process is killed."""
        return self._hold.claims.ttl

    def remaining(self) -> float:
        """Return the seconds for which it is surely held if it is not renewed any more; 0 if it is held no more."""
        return self._hold.left

    async def extend(self, seconds: float) -> None:
        """Hold it for `seconds` more than it is held now, before something that keeps the event loop from renewing it.

        Raises `LockLost` where it is held no more, `LockNotOwnedError` after the end of the request,
        `RedisUnavailable`, and ValueError for what is no time. In a thread: `anyio.from_thread.run(lock.extend, 60)`.
        """
        if not 0 < seconds < 10**9:
            raise ValueError(f"seconds: {seconds!r} given; allowed are those above 0")
        if self._hold.is_over and not self.lost.is_set():
            raise LockNotOwnedError("the request has ended and given its lock back")
        if self._hold.is_over:
            raise LockLost("the lock of this request was lost")
        claims, since = self._hold.claims, self._services.leases.time()
        (replies,) = await self._services.perform([claims.extend(max(1, round(seconds * 1000)), "add")])
        if isinstance(replies, RedisUnavailable):
            raise replies
        if not self._hold.extended(replies, since):
            raise LockLost("the lock of this request is held no more")

    def lacks(self, keys: Keys, names: Sequence[Name], permits: int | None) -> list[Name]:
        """Return those of `names` that it does not hold; for guards further in, which would wait for it."""
        if self._hold.is_over:
            return list(names)
        wanted = {name: Claims.of(keys, [name], "", 1, permits) for name in names}
        return [name for name, claims in wanted.items() if self.keys.isdisjoint(keys_of(claims))]

    def __repr__(self) -> str:  # never the token
        state = "over" if self._hold.is_over else f"{self.remaining():.1f} s left"
        return f"<HeldLock {self.fence}, {state}>"


class Holder(Responder):
    """One request's responder: keeps its lock from now on, until the end.

    `since` is when it was asked for, `answer` words what is told instead of a request that has lost it.
    """

    __slots__ = ("_answer", "_control", "_hold", "_services", "lock")

    def __init__(
        self,
        services: Services,
        claims: Claims,
        fence: int,
        since: float,
        answer: Callable[[], Answer],
        upper: frozenset[bytes] = frozenset(),
    ) -> None:
        self._services = services
        self._answer = answer
        self._control: Control | None = None
        self._hold = Hold(services.leases, claims, fence, since, renew=True, lost=self._lose)
        self.lock = HeldLock(services, self._hold, upper | keys_of(claims))

    def bind(self, control: Control) -> None:
        """Take the means to cancel the handler; at once, where the lock was lost while guards behind made it wait."""
        self._control = control
        if self.lock.lost.is_set() or self._hold.ends <= self._services.leases.time():
            self._lose()

    def _lose(self) -> None:
        if not self.lock.lost.is_set():
            logger.info("a lock was lost while its request was being worked on")
            self.lock.lost.set()
        if self._control is not None:
            self._control.cancel(self._answer())

    def end(self, outcome: Outcome) -> Asking:
        """Give it back. Who may still run after its request was cut off is told."""
        self._hold.drop()
        self._control = None  # else the request would be a cycle, which only the collector of garbage ends
        if outcome.kind != "complete":
            self.lock.lost.set()
        return self._give_back()

    def _give_back(self) -> Asking:
        release = self._hold.claims.release()
        try:
            yield release
        except RedisUnavailable:
            self._services.give_back(release, self._hold.claims.ttl)


def keys_of(claims: Claims) -> frozenset[bytes]:
    """Return the keys of the locks themselves."""
    return frozenset(claim.keys[0] for claim in claims)
