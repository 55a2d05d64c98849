"""Carries calls to the nodes of a cluster, and on to others: the part of a lane that knows what redirections mean.

It owns the calls that are between two nodes; `topology.py` knows the nodes and the map, channels own what is sent.
MOVED corrects the map, and the call goes on at once; ASK sends it once to the slot's next node; TRYAGAIN and
CLUSTERDOWN make it wait a little, as does a key that has moved, where a script that may run twice looks at it. A call
whose link broke is sent again, by the newest map, if it cannot have run or may run twice. All of it together lasts no
longer than the call's timeout.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..errors import OperationFailed, RedisOverloaded, RedisTimeout, RedisUnavailable
from .call import Call
from .cluster_node import ClusterNode, NodeChannel
from .pipeline import Loadable, Waiter
from .slots import Redirection
from .topology import Topology

if TYPE_CHECKING:
    from ..settings import Settings

#: Redirections in a row after which the nodes do not know themselves who serves a slot.
_REDIRECTIONS = 5

#: Attempts after links that broke or could not be opened.
_TRIES = 3

#: Seconds of the first and of the longest pause after TRYAGAIN and CLUSTERDOWN.
_PAUSE, _LONGEST_PAUSE = 0.01, 0.1

#: What servers say to a script that comes to a key beside its KEYS, while that key's slot moves.
_MOVING = "access a non local key"


class Carrier:
    """What a lane to a cluster stands on; `which` names the lane of each node that it stands for."""

    def __init__(self, topology: Topology, which: str, settings: Settings) -> None:
        self._topology = topology
        self._which = which
        self._timeout = settings.timeout
        self._limit = settings.max_in_flight
        self._loop = topology.loop
        self._between: set[Call] = set()
        self._closed = False

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
            raise call.named(error) from None

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
        if call.repeatable and _MOVING in str(error):
            call.doubtful = True  # what it has written before it came to that key stands
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
            self._give_up(call)
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
        call.refusal = error
        pause = min(_PAUSE * 2**call.pauses, _LONGEST_PAUSE) * random.uniform(0.5, 1.5)  # noqa: S311  (jitter)
        call.pauses += 1
        if error.code == "CLUSTERDOWN":
            self._topology.refresh()
        if self._loop.time() + pause < call.deadline:
            self._between.add(call)
            call.timer = self._loop.call_later(pause, self._again, call)
        else:
            self._give_up(call)

    def _give_up(self, call: Call) -> None:
        """Tell the caller that the time is up, and for what it was waited."""
        error = call.refusal
        if error is None:
            call.fail(RedisTimeout("the cluster has not answered in time", maybe_executed=call.doubtful))
            return
        if error.code == "CLUSTERDOWN" and "is down" in str(error):  # not one slot alone
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
