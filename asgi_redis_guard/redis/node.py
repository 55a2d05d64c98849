"""One Redis server as one event loop sees it: a channel for each lane, and one breaker with its probe for both.

Law: nothing is opened before it is needed; nothing of it knows of other servers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import RedisUnavailable
from .channel import Channel
from .probe import Probe
from .whereabouts import Whereabouts

if TYPE_CHECKING:
    from ..settings import Settings


class Node:
    """Lane 1 is the guards' alone, in RESP3; lane 2 carries what the app sends, in RESP2, and is patient."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: Whereabouts,
        settings: Settings,
        *,
        kind: type[Channel] = Channel,
        **more: Any,
    ) -> None:
        self.where = where
        self.address = where.address
        self.probe = Probe(loop, str(where.address), cut=self.drop, attempt=self._look)
        self.breaker = self.probe.breaker
        #: What must not be collected while a link is open, though nobody has it any more.
        self.keeps: object = None
        self._refuses_writes = False
        options = {
            "timeout": settings.timeout,
            "connect_timeout": settings.connection_timeout,
            "limit": settings.max_in_flight,
            **more,
        }
        name = "asgi-redis-guard:{}:" + str(os.getpid())
        self.lane1 = kind(loop, where, self.breaker, name=name.format("guards"), protocol=3, **options)
        self.lane2 = kind(loop, where, self.breaker, name=name.format("app"), protocol=2, patient=True, **options)

    @property
    def in_flight(self) -> int:
        """Commands queued or owed a reply on both lanes."""
        return self.lane1.in_flight + self.lane2.in_flight

    def drop(self, reason: str) -> None:
        """Cut both links."""
        self._refuses_writes = reason.startswith("READONLY")
        self.lane1.drop(reason)
        self.lane2.drop(reason)

    async def _look(self) -> None:
        """Tell whether the server serves again; raises `RedisUnavailable`."""
        link = await self.lane1.connect()
        if self._refuses_writes and link.server.get("role") == "replica":
            self.lane1.drop("the server is a replica")
            raise RedisUnavailable("READONLY: the server is a replica")

    def close(self) -> list[asyncio.Task[Any] | None]:
        """Fail every caller and close both links, for good; return tasks that have to be cancelled, or end soon."""
        return [self.probe.task, self.lane1.close(), self.lane2.close()]

    def abandon(self) -> list[Any]:
        """Let go without I/O; return what must not be finalised yet."""
        return [self.lane1.abandon(), self.lane2.abandon()]

    def __repr__(self) -> str:
        return f"<Node {self.address}: {self.lane1!r}, {self.lane2!r}, {self.breaker!r}>"


async def cancel(tasks: Iterable[asyncio.Task[Any] | None], patience: float) -> None:
    """Cancel tasks and wait until they have ended, for at most `patience` seconds."""
    ending = [task for task in tasks if task is not None and not task.done()]
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=patience)
