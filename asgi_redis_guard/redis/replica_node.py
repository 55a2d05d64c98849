"""One replica as one event loop sees it: asked only while it is known to follow its primary closely.

It owns its channels, and the look at INFO now and then that says how far behind it can be. It is never asked to write.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .channel import Channel
from .link import Link
from .node import Node
from .pipeline import Slot
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds after which it is looked at again, while somebody asks; after twice that nobody relies on the last look.
_LOOK = 1.0

#: Seconds since it has heard of its primary, which says something every ten (`repl-ping-replica-period`).
_QUIET = 12


class ReplicaChannel(Channel):
    """A channel on which a refusal to write is nothing but an answer."""

    def _refused(self, slot: Slot, error: OperationFailed) -> bool:
        if error.code in ("READONLY", "MOVED", "ASK"):
            slot.fail(error)
            return True
        return super()._refused(slot, error)


class _ReplicaWhereabouts(Whereabouts):
    """Links to a node of a cluster say that they only read, or it would send them to its primary."""

    def __init__(self, address: Address, *, cluster: bool) -> None:
        super().__init__(address)
        self._cluster = cluster

    async def verify(self, link: Link, address: Address) -> None:
        if self._cluster:
            (reply,) = await link.converse([("READONLY",)])
            if isinstance(reply, OperationFailed):
                raise RedisUnavailable(f"{address} cannot be read from: {reply}")


class ReplicaNode(Node):
    """A replica at an address; `usable` while it answers, and follows a primary that it has heard of lately."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, address: Address, settings: Settings, *, cluster: bool = False
    ) -> None:
        super().__init__(loop, _ReplicaWhereabouts(address, cluster=cluster), settings, kind=ReplicaChannel)
        self._loop = loop
        self._looked = float("-inf")
        self._follows = False
        #: What was seen when it was looked at last.
        self.state = "not looked at yet"
        self._looking: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """True while it may be asked; who wants to know has it looked at again, in the background."""
        if self.breaker.is_open:
            return False
        since = self._loop.time() - self._looked
        if since > _LOOK and (self._looking is None or self._looking.done()):
            self._looking = self._loop.create_task(self._look_at_it(), name="asgi-redis-guard replica")
        return self._follows and since <= 2 * _LOOK

    async def _look_at_it(self) -> None:
        """See how it is; one that cannot be reached is not used, and looked at again when somebody asks."""
        began = self._loop.time()
        try:
            await self.lane1.connect()
            text = await self.lane1.submit(("INFO", "replication"))
        except RedisUnavailable as error:
            self._tell(False, str(error))
            self._looked = self._loop.time()
        else:
            self._tell(*_state(text))
            self._looked = began

    def _tell(self, follows: bool, state: str) -> None:
        if follows is not self._follows:
            logger.info("replica %s is %s: %s", self.address, "read from" if follows else "left alone", state)
        self._follows, self.state = follows, state

    @property
    def follows(self) -> bool:
        """True if it was well when it was looked at last."""
        return self._follows and not self.breaker.is_open

    def close(self) -> list[asyncio.Task[Any] | None]:
        self._follows = False
        if self._looking is not None:
            self._looking.cancel()
        return [*super().close(), self._looking]


def _state(info: Any) -> tuple[bool, str]:
    """Read INFO replication: whether it follows closely, and what it says."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    fields = dict(line.split(":", 1) for line in text.split() if ":" in line)
    link, quiet = fields.get("master_link_status", "none"), fields.get("master_last_io_seconds_ago", "-1")
    state = f"role {fields.get('role')}, link {link}, last heard {quiet} s ago"
    if fields.get("master_sync_in_progress", "0") != "0":
        return False, f"{state}, being synchronised"
    return fields.get("role") == "slave" and link == "up" and 0 <= int(quiet) <= _QUIET, state
