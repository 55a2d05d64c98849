"""The connections of one manager in every event loop of the process, and what stands on them in the loop that runs.

Law: a loop has its own connections (`links.py`), made when they are first asked for there; those of closed loops are
let go, and a forked child starts afresh without touching its parent's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .commands import Commands
from .flight import Flights
from .leases import Leases
from .link import Link
from .links import Links
from .loop_end import AtLoopEnd

if TYPE_CHECKING:
    from ..pubsub.hub import Hub


class PerLoop(Commands):
    """The half of `RedisManager` that has connections."""

    def __init__(self) -> None:
        self._links_by_loop: dict[asyncio.AbstractEventLoop, Links] = {}
        self._lock = threading.Lock()  # guards the dictionary, where several threads run a loop each
        self._here = threading.local()  # `links`: those last used in this thread
        self._hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

    @property
    def links(self) -> Links:
        """The connections of the running loop."""
        # A thread runs one loop at a time, so that the one last seen here is the running one if it runs at all. Asking
        # asyncio costs a system call on Python 3.11.
        links: Links | None = getattr(self._here, "links", None)
        if links is not None and links.loop.is_running():
            return links
        return self._enter_loop(asyncio.get_running_loop())

    def _open(self, loop: asyncio.AbstractEventLoop) -> Links:
        """Make the connections of a loop, which connect when they are first needed."""
        raise NotImplementedError

    def _opened(self, links: Links) -> None:
        """Do what is to be done once in a loop; from here on, `links` are its."""

    def _enter_loop(self, loop: asyncio.AbstractEventLoop) -> Links:
        with self._lock:
            self._forget_closed_loops()
            links = self._links_by_loop.get(loop)
            is_new = links is None
            if links is None:
                links = self._links_by_loop[loop] = self._open(loop)
                links.at_loop_end = AtLoopEnd(self._leave_loop)
        self._here.links = links
        if is_new:
            self._opened(links)  # not under the lock: tasks may begin at once (`asyncio.eager_task_factory`)
        return links

    def _forget_closed_loops(self) -> None:
        """Close what loops have left open that were closed without being ended in order."""
        for loop in [loop for loop in self._links_by_loop if loop.is_closed()]:
            for left in self._abandon(loop):
                if isinstance(left, Link):
                    left.bury()

    def _abandon(self, loop: asyncio.AbstractEventLoop) -> list[Any]:
        hub = self._hubs.pop(loop, None)
        return [*self._links_by_loop.pop(loop).abandon(), hub, *(hub.abandon() if hub is not None else ())]

    def start_afresh(self) -> list[Any]:
        """Forget the parent's connections in a forked child, without I/O; return what must not be finalised there."""
        left = [part for loop in list(self._links_by_loop) for part in self._abandon(loop)]
        self._lock, self._here = threading.Lock(), threading.local()
        return left

    async def _leave_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop in self._links_by_loop:
            await self._links_by_loop[loop].drain()  # they may need the links still
        hub, links = self._hubs.pop(loop, None), self._links_by_loop.pop(loop, None)
        self._here.links = None
        if links is not None:
            links.flights.close()  # or who waits next would open connections anew
        if hub is not None:
            await hub.aclose()
        if links is not None:
            await links.aclose()

    @property
    def leases(self) -> Leases:
        """The leases of the running loop, which renews them."""
        return self.links.leases

    @property
    def flights(self) -> Flights:
        """The single flights of the running loop."""
        return self.links.flights

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` apart from the caller's cancellation; `aclose` waits for it."""
        return self.links.spawn(work)
