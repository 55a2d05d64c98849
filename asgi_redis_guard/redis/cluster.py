"""A lane to a cluster: every call goes to the node that serves its slot, and after it where it moves.

Law: calls themselves are `carrier.py`'s; here it is told where they begin. What concerns several slots is cut: rounds
by `cutting.py`, plain commands by `routing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import hiredis

from ..core.script import Batch
from ..errors import RedisUnavailable
from .carrier import Carrier
from .cluster_node import ClusterNode, NodeChannel
from .cutting import Cutter
from .kept import Kept, KeptFuture
from .link import Link
from .pipeline import Loadable, Waiter
from .program import Program
from .routing import Join, cut, join_of, key_of, pack_cursor, unpack_cursor, verb_of
from .slots import slot_of
from .topology import Topology
from .undoing import Undoing

if TYPE_CHECKING:
    from ..settings import Settings


class ClusterLane(Carrier):
    """The interface of `Channel`; `spawn` runs in the background what undoes parts of a round that was cut."""

    def __init__(
        self,
        topology: Topology,
        which: str,
        settings: Settings,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
    ) -> None:
        super().__init__(topology, which, settings)
        undo = Undoing(self._carry, spawn, self._timeout)
        self._cutter = Cutter(self._loop, slot_of, self._carry, undo, self._timeout, self._tell)

    @property
    def link(self) -> Link | None:
        """One of the links in use, or None while there is none."""
        return next((channel.link for channel in self._channels() if channel.link is not None), None)

    @property
    def in_flight(self) -> int:
        """Commands queued or owed a reply by any node, tombstones included."""
        return len(self._between) + sum(channel.in_flight for channel in self._channels())

    def _channels(self) -> list[NodeChannel]:
        return [getattr(node, self._which) for node in self._topology.nodes.values()]

    def submit(
        self,
        args: tuple[Any, ...],
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        script: Loadable | None = None,
    ) -> asyncio.Future[Any]:
        """Send one command to the node of its first key, or cut by slot, or to all nodes, as its meaning asks.

        Otherwise as `Channel.submit` does.
        """
        if script is None:
            if (parts := cut(args)) is not None:
                return self._join([(part, self._slot(part), None) for part in parts[0]], parts[1], timeout)
            join = join_of(args)
            if join is not None or verb_of(args) == "SCAN":
                if not self._topology.known:
                    return self._loop.create_task(self._later(args, timeout))
                if join is None:
                    return self._scan(args, timeout)
                return self._join([(args, None, node) for node in self._topology.primaries], join, timeout)
        future = self._loop.create_future()
        self._begin(hiredis.pack_command(args), future, self._slot(args), timeout, repeatable, script)
        return future

    @staticmethod
    def _slot(args: tuple[Any, ...]) -> int | None:
        key = key_of(args)
        return None if key is None else slot_of(key)

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Send one round to the node that serves its slot, or cut it; otherwise as `Channel.evaluate` does."""
        return self._cutter.evaluate(program, batches, timeout)

    def _carry(
        self, slot: int | None, program: Program, batches: Sequence[Batch], timeout: float
    ) -> asyncio.Future[Any]:
        """Send a round, or a part of one, whose keys are all in one slot."""
        payload = program.payload(batches)
        if not program.holds:
            future = self._loop.create_future()
            self._begin(payload, future, slot, timeout, program.repeatable, program)
            return future
        kept = KeptFuture(loop=self._loop)
        self._begin(payload, Kept(kept), slot, timeout, program.repeatable, program)
        return kept

    def _tell(
        self, slot: int | None, program: Program, batches: Sequence[Batch], timeout: float, waiter: Waiter
    ) -> None:
        """Send a part of a round as `_carry` does; the reply goes to a waiter."""
        self._begin(program.payload(batches), waiter, slot, timeout, program.repeatable, program)

    # What concerns several nodes.

    def _join(
        self, parts: Sequence[tuple[tuple[Any, ...], int | None, ClusterNode | None]], join: Join, timeout: float | None
    ) -> asyncio.Future[Any]:
        """Send some commands together and return the future of what `join` makes of their replies."""
        futures: list[asyncio.Future[Any]] = []
        try:
            for args, slot, node in parts:
                future = self._loop.create_future()
                self._begin(hiredis.pack_command(args), future, slot, timeout, False, None, node)
                futures.append(future)
        except RedisUnavailable:
            for future in futures:
                future.cancel()
            raise
        return _then(self._loop, asyncio.gather(*futures), join)

    def _scan(self, args: tuple[Any, ...], timeout: float | None) -> asyncio.Future[Any]:
        """Go on with a walk through all keys: through one primary after the other."""
        nodes, version = self._topology.primaries, self._topology.map.version
        cursor, number = unpack_cursor(args[1], version)
        node = nodes[number] if number < len(nodes) else None

        def read(reply: Any) -> list[Any]:
            after, found = int(reply[0]), reply[1]
            if self._topology.map.version != version:
                return [pack_cursor(0, 0, self._topology.map.version), found]
            if after:
                return [pack_cursor(after, number, version), found]
            return [pack_cursor(0, number + 1, version) if number + 1 < len(nodes) else b"0", found]

        future = self._loop.create_future()
        self._begin(hiredis.pack_command((args[0], cursor, *args[2:])), future, None, timeout, False, None, node)
        return _then(self._loop, future, read)

    async def _later(self, args: tuple[Any, ...], timeout: float | None) -> Any:
        """Send what is for all nodes once they are known."""
        await self.submit(("PING",), timeout=timeout)
        return await self.submit(args, timeout=timeout)

    # Lifetime.

    async def connect(self) -> Link | None:
        """Look at the map, and connect to all primaries; raises `RedisUnavailable` if there is none."""
        await self._topology.connect()
        linked = await asyncio.gather(*(channel.connect() for channel in self._channels()), return_exceptions=True)
        links = [link for link in linked if isinstance(link, Link)]
        if not links:
            raise next((error for error in linked if isinstance(error, RedisUnavailable)), RedisUnavailable("closed"))
        return links[0]

    def drop(self, reason: str) -> None:
        """Cut the links to all nodes; they are opened again when somebody waits."""
        for channel in self._channels():
            channel.drop(reason)

    def close(self) -> asyncio.Task[None] | None:
        """Fail every caller, for good; the links are closed with the topology."""
        self._closed = True
        for call in list(self._between):
            if call.timer is not None:
                call.timer.cancel()
            call.fail(RedisUnavailable("closed"))
        self._between.clear()
        return None

    def abandon(self) -> Link | None:
        """Let go of everything without I/O; the links are the topology's."""
        self._closed = True
        self._between.clear()
        return None

    def __repr__(self) -> str:
        return f"<ClusterLane {self._which}: {self.in_flight} in flight>"


def _then(loop: asyncio.AbstractEventLoop, source: asyncio.Future[Any], read: Any) -> asyncio.Future[Any]:
    """Return the future of what `read` makes of a reply; who cancels it cancels the source."""
    result = loop.create_future()

    def answered(_: object) -> None:
        if source.cancelled():
            result.cancel()
        elif (error := source.exception()) is not None:
            if not result.done():
                result.set_exception(error)
        elif not result.done():
            result.set_result(read(source.result()))

    source.add_done_callback(answered)
    result.add_done_callback(lambda _: source.cancel() if result.cancelled() else None)
    return result
