"""The sharded channels of one node of a cluster: its connection, and what it says of slots that are not its own.

It knows one node and asks only that. Where a channel goes that the node does not serve, `shards.py` decides.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol, Unpack

from ..errors import OperationFailed, RedisUnavailable
from ..redis.slots import Place, Redirection, slot_of
from .switchboard import Member, Switchboard, Times
from .wire import Line

if TYPE_CHECKING:
    from ..redis.manager import RedisManager
    from ..redis.topology import Topology

#: Errors of a node that may serve the slot soon, or knows no better.
_LATER = frozenset(("ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN"))


class Dispatcher(Protocol):
    """Who decides where channels go."""

    #: How many subscribers wait to be confirmed.
    waiting: int

    def redirected(self, member: Member, there: Redirection | None) -> None:
        """The node does not serve a channel, which has left it; it says who does, unless it does not know either."""


class Station(Switchboard):
    """The switchboard of the node at `place`; each of its members hears one sharded channel."""

    def __init__(
        self,
        manager: RedisManager,
        loop: asyncio.AbstractEventLoop,
        topology: Topology,
        dispatcher: Dispatcher,
        place: Place,
        **times: Unpack[Times],
    ) -> None:
        super().__init__(manager, loop, target=str(place), **times)
        self.place = place
        self._cluster = topology
        self._dispatcher = dispatcher

    # Owner of the wire.

    @property
    def allowed(self) -> bool:
        node = self._cluster.nodes.get(self.place)
        return node is not None and not node.breaker.is_open

    @property
    def longest_pause(self) -> float:
        return self.timeout / 4 if self._dispatcher.waiting else float("inf")

    async def open(self) -> Line:
        node = self._cluster.nodes.get(self.place)
        if node is None:
            raise RedisUnavailable(f"{self.place} serves no slots any more")
        seconds = self._manager.settings.connection_timeout
        try:
            link = await node.where.open(timeout=seconds, name=f"asgi-redis-guard:pubsub:{os.getpid()}", protocol=3)
        except RedisUnavailable:
            self._cluster.trouble()
            raise
        self._home = self.place
        return link

    def dropped(self) -> None:
        super().dropped()
        if not self.wire.closed and self.wanted:
            self._cluster.trouble()

    def _refused(self, error: OperationFailed) -> None:
        there = Redirection.parse(str(error), self.place) if error.code == "MOVED" else None
        if there is not None and self._is_late(there.slot):
            return
        if there is None and error.code not in _LATER:
            super()._refused(error)
            return
        members, commands = self.books.refused()
        self._send(commands)
        for member in members:
            self._dispatcher.redirected(member, there)
        if not self.wanted:
            self.wire.rest()

    def _is_late(self, slot: int) -> bool:
        """Tell whether a redirection is that of a SUNSUBSCRIBE which the server has overtaken.

        It had ended the channel by itself, and what it said then was taken for the answer.
        """
        due = self.books.due()
        return due is None or len(due) == 1 or slot_of(due[1]) != slot
