"""One node of a cluster, and its channels, which leave to the lane what concerns the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .channel import Channel
from .link import Link
from .node import Node
from .pipeline import Slot
from .slots import Place
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings

#: Errors that say where to go, or to come back later; the node serves.
_ROUTING = frozenset(("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"))


class NodeChannel(Channel):
    """A channel that tells of every link that breaks or cannot be opened."""

    def __init__(self, *args: Any, trouble: Callable[[], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._trouble = trouble

    async def connect(self) -> Link:
        try:
            return await super().connect()
        except RedisUnavailable:
            self._trouble()
            raise

    def retire(self, reason: str) -> None:
        """Hand back what was not sent; what was may still be answered."""
        self._fail_waiting(reason)

    def _refused(self, slot: Slot, error: OperationFailed) -> bool:
        if error.code in _ROUTING:
            slot.fail(error)
            return True
        served = super()._refused(slot, error)
        if not served:
            self._trouble()
        return served

    def _broke(self, reason: str) -> None:
        self._trouble()
        super()._broke(reason)


class ClusterNode(Node):
    """A node at a `place`, as the cluster gives it; `trouble` is called when the map may have changed."""

    lane1: NodeChannel
    lane2: NodeChannel

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        settings: Settings,
        place: Place,
        *,
        trouble: Callable[[], None],
    ) -> None:
        super().__init__(loop, Whereabouts(address), settings, kind=NodeChannel, trouble=trouble)
        self.place = place
        self._loop = loop
        self._end: asyncio.TimerHandle | None = None

    @property
    def linked(self) -> bool:
        """True while it can be asked at once."""
        return self.lane1.link is not None and not self.breaker.is_open

    def retire(self, seconds: float, gone: Callable[[], None]) -> None:
        """Serve no slots any more: hand back what was not sent, and close after so many seconds."""
        reason = f"{self.address} serves no slots any more"

        def end() -> None:
            self.close()
            gone()

        self._end = self._loop.call_later(seconds, end)
        self.lane1.retire(reason)
        self.lane2.retire(reason)

    def close(self) -> list[asyncio.Task[Any] | None]:
        if self._end is not None:
            self._end.cancel()
        tasks = super().close()
        if self.probe.task is not None:
            self.probe.task.cancel()
        return tasks

    def abandon(self) -> list[Any]:
        if self._end is not None:
            self._end.cancel()
        return super().abandon()
