"""What a holder has while it holds: leases that are renewed, the time until they end, and word of their loss.

Law: nothing here awaits. A hold ends once, by `drop` or by its loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..core.script import Replies
from ..redis.leases import Lease, Leases
from .claims import Claims


class Hold:
    """Locks that are held; `since` is when they were asked for, by the loop's clock, `lost` is called once at most.

    With `renew` they are held until `drop`, else until their time is up.
    """

    __slots__ = ("_ends", "_home", "_leases", "_lost", "_timer", "claims", "fence")

    def __init__(
        self,
        leases: Leases,
        claims: Claims,
        fence: int,
        since: float,
        *,
        renew: bool,
        lost: Callable[[], None],
    ) -> None:
        self.claims = claims
        self.fence = fence
        self._home = leases
        self._lost: Callable[[], None] | None = lost
        self._ends = since + claims.ttl
        self._timer: asyncio.TimerHandle | None = None
        self._leases: list[Lease] = []
        if renew:
            self._leases = [leases.keep(claim.renew(), claims.ttl, self.lose, since) for claim in claims]
        else:
            self._end_at(self._ends)

    @property
    def ends(self) -> float:
        """When it is over unless it is renewed, by the loop's clock."""
        return min((lease.ends for lease in self._leases), default=self._ends)

    @property
    def left(self) -> float:
        """Seconds until it is over unless it is renewed; 0 once it is. May be read from any thread."""
        return 0.0 if self.is_over else max(0.0, self.ends - self._home.time())

    @property
    def is_over(self) -> bool:
        """True once it was lost or dropped."""
        return self._lost is None

    def extended(self, replies: Replies, since: float) -> bool:
        """Take the replies to an extension, asked for at `since`; false where it is held no more, which is a loss."""
        left = self.claims.prolonged(replies)
        if left is None:
            self.lose()
        else:
            self._prolong(since + left)
        return left is not None

    def _prolong(self, ends: float) -> None:
        """Note until when it was extended; with `replace_ttl` that may be sooner than before."""
        self._ends = ends
        for lease in self._leases:
            lease.end_at(ends)
        if self._timer is not None:
            self._timer.cancel()
            self._end_at(ends)

    def _end_at(self, ends: float) -> None:
        # The loop is asked for here alone: on Python 3.11 that is a system call.
        self._timer = asyncio.get_running_loop().call_at(ends, self.lose)

    def drop(self) -> None:
        """Hold it no more: nothing is renewed, and no loss is told."""
        self._lost = None
        self._stop()

    def _stop(self) -> None:
        for lease in self._leases:
            lease.drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lose(self) -> None:
        """Tell that it was lost, once: Redis said so in answer to something else than a renewal."""
        lost, self._lost = self._lost, None
        self._stop()
        if lost is not None:
            lost()

    def __repr__(self) -> str:
        return f"<Hold {'over' if self.is_over else f'of fence {self.fence}'}>"
