"""`Semaphore`: a lock that several hold at a time."""

from __future__ import annotations

from typing import Unpack

from ..redis.manager import RedisManager
from .claims import Name
from .lock import Lock
from .lock_options import LockOptions, permits_of


class Semaphore(Lock):
    """A lock that `permits` holders have at a time, each for a lease of its own. Options are those of `Lock`.

    All who use a name must give the same `permits`. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        redis: RedisManager | str | None,
        name: Name,
        permits: int,
        *,
        ttl: float | None = None,
        wait: float | None = None,
        **options: Unpack[LockOptions],
    ) -> None:
        self.permits = permits_of(permits)
        super().__init__(redis, name, ttl=ttl, wait=wait, **options)

    def _is_mine(self, state: int, left: int, *_: int) -> bool:
        return left > 0
