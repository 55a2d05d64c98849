"""`Lock` and `Semaphore`: leases on names, for any task of any process. Names follow `redis.asyncio.lock.Lock`.

What a lease promises: as long as Redis keeps its data and clocks run evenly, nobody else gets the lock while the
holder's lease is valid, and a holder whose lease is over is told. What none can: stop a holder that is paused (a
suspended machine, a loop that is held up) beyond its lease and then goes on, or bring back a lock that a failover has
lost. Where that matters, hand `fence` to what is written to, and have that refuse a lower one than it has seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from ..errors import LockBusy, LockError, LockLost, LockNotOwnedError, RedisUnavailable
from ..redis.asking import carry_out
from ..redis.giving_back import give_back
from ..redis.manager import RedisManager
from ..redis.watched import WatchedBody
from .claims import Claims, Name
from .hold import Hold
from .lock_options import UNSET, Unset, lost_of, names_of, replicas_of, seconds, token_of, ttl_of, wait_of
from .taking import Busy, Taking, released

logger = logging.getLogger("asgi_redis_guard.locks")


class Lock:
    """A lock that one holder has at a time; `async with` takes it and gives it back.

    `name` may be a list of names, which are taken all or none. It is held for `ttl` seconds (30), and renewed at a
    third of that as long as it is held; with `renew=False` it ends then. Who wants it waits for `wait` seconds: 0 tries
    once, None waits without end. Waiters of one process get it in their order. `timeout`, `blocking` and
    `blocking_timeout` are redis-py's words for the same; nothing polls, so `sleep` means nothing, nor does
    `thread_local`: an object is one holder, whatever task uses it.

    When it is lost, `lost` is set, and with `on_lost="cancel"` the body of `async with` is cancelled, out of which
    comes `LockLost`. `wait_replicas`: how many must have it before it counts as taken. Raises `ConfigurationError`.
    """

    #: How many may hold it at a time, for a semaphore.
    permits: int | None = None

    def __init__(
        self,
        redis: RedisManager | str | None,
        name: Name | Sequence[Name],
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
        raise_on_release_error: bool = True,
        *,
        ttl: float | None = None,
        wait: float | Unset | None = UNSET,
        renew: bool = True,
        on_lost: Literal["cancel", "tell"] = "cancel",
        wait_replicas: int = 0,
    ) -> None:
        self._manager = RedisManager.of(redis)
        self.names = names_of(name)
        self.ttl = ttl_of(ttl, timeout)
        self.wait = wait_of(wait, blocking, blocking_timeout)
        self._renew = renew
        self._cancels = lost_of(on_lost)
        self._replicas = replicas_of(wait_replicas)
        self._raises = raise_on_release_error
        #: What it claims, under no token yet.
        self._claims = Claims.of(self._manager.keys, self.names, "", self.ttl, self.permits)
        self._taken = False
        self._hold: Hold | None = None
        self._body: WatchedBody | None = None
        #: Set when it was lost before it was given back; another event each time that it is taken.
        self.lost = asyncio.Event()

    # What a holder knows.

    @property
    def name(self) -> Name | tuple[Name, ...]:
        """What is locked."""
        return self.names[0] if len(self.names) == 1 else self.names

    @property
    def fence(self) -> int | None:
        """A number higher than that of every earlier holder; None while it is not held."""
        return None if self._hold is None else self._hold.fence

    @property
    def token(self) -> str | None:
        """What this holder is known by; None while it is not held. A secret: with it anybody may release it."""
        return None if self._hold is None else self._hold.claims.token

    def remaining(self) -> float:
        """Return the seconds for which it is held if it is not renewed any more; 0 if it is not held."""
        return 0.0 if self._hold is None else self._hold.left

    # Taking it.

    async def acquire(
        self,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | bytes | None = None,
    ) -> bool:
        """Take it; return whether it is held now. Raises `RedisUnavailable`, `LockError` where this object has it.

        Arguments stand for those of the constructor, `token` for one of your own that nobody else uses. A caller that
        is cancelled has not taken it.
        """
        wait = self.wait
        if blocking_timeout is not None or blocking is False or (blocking and wait == 0):
            wait = wait_of(UNSET, blocking is not False, blocking_timeout)
        return not isinstance(await self._acquire(wait, token), Busy)

    async def _acquire(self, wait: float | None, token: str | bytes | None = None) -> Hold | Busy:
        if self._hold is not None and self._hold.is_over:
            self._hold, self._taken = None, False  # it was lost, and nobody has released it
        if self._taken:
            raise LockError(f"{self!r} is held by this object already, or is being taken; use another for each holder")
        self._taken = True
        self.lost = asyncio.Event()
        try:
            claims = self._claims.under(token_of(token))
            taking = Taking(self._manager, claims, self._replicas)
            result = await taking.take(wait)
            if isinstance(result, Busy):
                self._taken = False
                return result
            self._hold = Hold(self._manager.leases, claims, result, taking.since, renew=self._renew, lost=self._lose)
        except BaseException:
            self._taken = False
            raise
        return self._hold

    def _lose(self) -> None:
        logger.info("%r was lost", self)
        self.lost.set()
        if self._body is not None and self._cancels:
            self._body.cancel()

    # Giving it back.

    async def release(self) -> None:
        """Give it back. Raises `LockNotOwnedError` where it is not held, as `LockLost` where it was held before.

        Where Redis is away that is a `RedisUnavailable`, and it is tried again in the background until its time is up.
        """
        hold, self._hold, self._taken = self._hold, None, False
        if hold is None:
            return self._tell(LockNotOwnedError(f"{self!r} is not held"))
        hold.drop()
        lost = self.lost  # who takes it again meanwhile has another one
        if not lost.is_set() and await released(self._manager, hold.claims):
            return None
        lost.set()
        give_back(self._manager, hold.claims.release(), 0)  # Redis may believe that it is held
        return self._tell(LockLost(f"{self!r} was lost before it was released"))

    def _tell(self, error: LockError) -> None:
        if self._raises:
            raise error
        logger.warning("%s", error)

    # Holding it for longer, and looking at it.

    async def extend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Hold it for `additional_time` seconds more, or with `replace_ttl` for so long from now on; return True.

        What is renewed is never held for less than its `ttl`. Raises `LockNotOwnedError` where it is not held,
        `RedisUnavailable`, `ConfigurationError` for less than 1 ms.
        """
        seconds("additional_time", additional_time, least=0.001)  # less would delete it, and nobody would be told
        if replace_ttl and self._renew:
            additional_time = max(additional_time, self.ttl)
        return await self._extend(additional_time, "set" if replace_ttl else "add")

    async def reacquire(self) -> bool:
        """Hold it for its whole `ttl` from now on; as `extend`."""
        return await self._extend(self.ttl, "set")

    async def _extend(self, time: float, how: Literal["add", "set"]) -> bool:
        hold = self._hold
        if hold is None:
            raise LockNotOwnedError(f"{self!r} is not held")
        since = self._manager.leases.time()
        replies = await carry_out(self._manager, hold.claims.extend(round(time * 1000), how))
        if not hold.extended(replies, since):
            raise LockLost(f"{self!r} is held no more")
        return True

    async def locked(self) -> bool:
        """Tell whether anybody holds it; of several names, all of them. Raises `RedisUnavailable`."""
        most = self.permits or 1
        return all(state >= most for state, *_ in await self._peek())

    async def owned(self) -> bool:
        """Tell whether Redis says that this object holds it. Raises `RedisUnavailable`."""
        if self._hold is None:
            return False
        return all(self._is_mine(*values) for values in await self._peek())

    def _is_mine(self, state: int, left: int, *_: int) -> bool:
        return state == 1

    async def _peek(self) -> list[Sequence[int]]:
        claims = self._claims if self._hold is None else self._hold.claims
        return [values for _, _, values in await carry_out(self._manager, claims.peek())]

    # As a context manager.

    async def __aenter__(self) -> Self:
        result = await self._acquire(self.wait)
        if isinstance(result, Busy):
            raise LockBusy(f"{self!r} is held by others", result.left)
        self._body = WatchedBody()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        body, self._body = self._body, None
        lost = body is not None and body.leave(kind)
        try:
            if self._hold is not None:  # the body may have released it
                await self.release()
        except LockNotOwnedError as error:
            if kind is None or lost:
                raise error from raised
        except RedisUnavailable as error:
            logger.debug("%r ends by itself, for Redis is away: %s", self, error)
        if lost:
            raise LockLost(f"{self!r} was lost") from raised

    def __repr__(self) -> str:
        state = "held" if self._hold is not None and not self._hold.is_over else "not held"
        return f"<{type(self).__name__} {self.name!r}, {state}>"
