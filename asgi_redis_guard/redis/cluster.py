"""A lane to a cluster: every call goes to the node that serves its slot, and after it where it moves.

It owns the calls that are between two nodes; `topology.py` knows the nodes and the map, channels own what is sent.
MOVED corrects the map, and the call goes on at once; ASK sends it once to the slot's next node; TRYAGAIN and
CLUSTERDOWN make it wait a little. A call whose link broke is sent again, by the newest map, if it cannot have run or
may run twice. All of it together lasts no longer than the call's timeout.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hiredis

from ..core.script import Batch
from ..errors import GuardProtocolError, OperationFailed, RedisOverloaded, RedisTimeout, RedisUnavailable
from .call import Call
from .cluster_node import ClusterNode, NodeChannel
from .kept import Kept, KeptFuture
from .link import Link
from .pipeline import Loadable, Waiter
from .program import Program
from .routing import Join, cut, join_of, key_of, pack_cursor, unpack_cursor, verb_of
from .slots import Redirection, slot_of
from .topology import Topology

if TYPE_CHECKING:
    from ..settings import Settings

#: Redirections in a row after which the nodes do not know themselves who serves a slot.
_REDIRECTIONS = 5

#: Attempts after links that broke or could not be opened.
_TRIES = 3

#: Seconds of the first and of the longest pause after TRYAGAIN and CLUSTERDOWN.
_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


class ClusterLane:
    """The interface of `Channel`; `which` names the lane of each node that it stands for."""

    def __init__(self, topology: Topology, which: str, settings: Settings) -> None:
        self._topology = topology
        self._which = which
        self._timeout = settings.timeout
        self._limit = settings.max_in_flight
        self._loop = topology.loop
        self._between: set[Call] = set()
        self._closed = False

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
        """Send one round to the node that serves the slot of all its keys, otherwise as `Channel.evaluate` does."""
        slots = {slot_of(key) for batch in batches for key in batch.keys}
        if len(slots) > 1:
            raise GuardProtocolError("the keys of a round are in several slots of the cluster")
        slot = slots.pop() if slots else None
        if not program.holds:
            future = self._loop.create_future()
            self._begin(program.payload(batches), future, slot, timeout, program.repeatable, program)
            return future
        kept = KeptFuture(loop=self._loop)
        self._begin(program.payload(batches), Kept(kept), slot, timeout, program.repeatable, program)
        return kept

    def _begin(
        self,
        payload: bytes,
        waiter: Waiter,
        slot: int | None,
        timeout: float | None,
        repeatable: bool,
        script: Loadable | None,
        node: ClusterNode | None = None,
    ) -> None:
        topology = self._topology
        if self._closed or topology.breaker.is_open:
            raise RedisUnavailable("closed" if self._closed else topology.breaker.reason)
        deadline = self._loop.time() + (timeout or self._timeout)
        call = Call(self, payload, waiter, slot, deadline, repeatable, script)
        if topology.known:
            self._send(call, node)
        elif len(self._between) >= self._limit:
            raise RedisOverloaded(f"{self._limit} commands are waiting already")
        else:
            self._await_map(call)

    def _send(self, call: Call, node: ClusterNode | None = None, asking: bool = False) -> None:
        left = call.deadline - self._loop.time()
        call.node = node = node or self._topology.node_for(call.slot)
        channel: NodeChannel = getattr(node, self._which)
        try:
            channel._send(call.payload, False, left, call.script, call, asking)
        except RedisOverloaded:
            raise
        except RedisUnavailable as error:
            raise RedisUnavailable(f"{node.address}: {error}", maybe_executed=call.doubtful) from None

    # Calls that come back.

    def served(self) -> None:
        """A call was answered: the cluster is there."""
        if self._topology.breaker.failures:
            self._topology.breaker.succeeded()

    def failed(self, call: Call, error: BaseException) -> None:
        """Send a call elsewhere or once more, or give its caller the error."""
        if self._closed or not isinstance(error, RedisUnavailable) or isinstance(error, RedisTimeout):
            call.fail(error)
        elif isinstance(error, OperationFailed):
            self._refused(call, error)
        else:
            call.tries += 1
            again = call.tries < _TRIES and not (error.maybe_executed and (call.doubtful or not call.repeatable))
            call.doubtful = call.doubtful or error.maybe_executed
            if again:
                self._await_map(call)
            else:
                call.fail(error)

    def _refused(self, call: Call, error: OperationFailed) -> None:
        if error.code in ("TRYAGAIN", "CLUSTERDOWN"):
            self._pause(call, error)
            return
        if error.code not in ("MOVED", "ASK") or call.node is None:
            call.fail(error)
            return
        call.redirections += 1
        try:
            there = Redirection.parse(str(error), call.node.place)
        except ValueError:
            call.fail(RedisUnavailable(f"a redirection that cannot be read: {error}"))
            return
        if error.code == "MOVED":
            self._topology.moved(there)
        if call.redirections > _REDIRECTIONS:
            call.fail(RedisUnavailable(f"redirected {_REDIRECTIONS} times: {error}"))
        else:
            self._again(call, self._topology.node(there.place), error.code == "ASK")

    def _again(self, call: Call, node: ClusterNode | None = None, asking: bool = False) -> None:
        """Send a call that came back, if somebody still waits for it."""
        self._between.discard(call)
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        if call.done():
            return
        if self._loop.time() >= call.deadline:
            call.fail(RedisTimeout("the cluster has not answered in time", maybe_executed=call.doubtful))
            return
        try:
            if self._topology.breaker.is_open:
                raise RedisUnavailable(self._topology.breaker.reason)
            self._send(call, node, asking)
        except RedisUnavailable as error:
            call.fail(error)

    def _pause(self, call: Call, error: OperationFailed) -> None:
        """Let a call wait until the nodes agree; the map may have changed by then."""
        call.redirections = 0
        pause = min(_PAUSE * 2**call.pauses, _LONGEST_PAUSE) * random.uniform(0.5, 1.5)  # noqa: S311  (jitter)
        call.pauses += 1
        down = error.code == "CLUSTERDOWN"
        if down:
            self._topology.refresh()
        if self._loop.time() + pause < call.deadline:
            self._between.add(call)
            call.timer = self._loop.call_later(pause, self._again, call)
            return
        if down and "is down" in str(error):  # not of one slot alone
            self._topology.breaker.failed(str(error))
        call.fail(RedisUnavailable(str(error)))

    def _await_map(self, call: Call) -> None:
        """Let a call wait for a look at the map, and go by that."""
        self._between.add(call)
        call.timer = self._loop.call_at(call.deadline, self._again, call)
        self._topology.refresh().add_done_callback(lambda _: self._looked(call))

    def _looked(self, call: Call) -> None:
        if call not in self._between:
            return
        if self._topology.known:
            self._again(call)
        else:
            self._between.discard(call)
            if call.timer is not None:
                call.timer.cancel()
            call.fail(RedisUnavailable(self._topology.breaker.reason, maybe_executed=call.doubtful))

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
