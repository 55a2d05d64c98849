"""A server on which every hash tag is a slot of its own: rounds are cut as on a cluster of as many nodes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch
from asgi_redis_guard.redis.cutting import Cutter
from asgi_redis_guard.redis.lane import Lane
from asgi_redis_guard.redis.links import Links
from asgi_redis_guard.redis.program import Program
from asgi_redis_guard.redis.undoing import Undoing


class CuttingLane:
    """A lane that cuts what goes over it, and counts: rounds that were cut, and what was sent for them."""

    def __init__(self, lane: Lane, links: Links, timeout: float) -> None:
        self.lane = lane
        self.cut = self.sent = 0
        self.undone = Undoing(self._send, links.spawn, timeout)
        self.cutter = Cutter(links.loop, bytes, self._send, self.undone, timeout)

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        self.cut += 1
        return self.cutter.evaluate(program, batches, timeout)

    def _send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        self.sent += 1
        return self.lane.evaluate(program, batches, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lane, name)


def cut(manager: RedisManager) -> CuttingLane:
    """Have all rounds of a manager cut in the running loop."""
    links = manager.links
    lane = CuttingLane(links.lane1, links, manager.settings.timeout)
    links.lane1 = lane
    return lane
