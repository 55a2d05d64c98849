"""The nodes of a cluster and the map of its slots, as one event loop knows them.

It owns both: asks some node for the map at first, after redirections and broken links, and now and then; has a node for
each primary, and lets go of those that are none any more. What is sent to them it never sees.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .backoff import Backoff
from .cluster_node import ClusterNode
from .link import Link
from .looking import best_map, converse
from .probe import Probe
from .slots import Place, Redirection, SlotMap

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("asgi_redis_guard.redis")

#: Seconds between two looks at the map: at the least, and where all is well.
_APART, _USUAL = 0.1, 45.0

#: Seconds between looks while some node is away, or slots have nobody.
_UNWELL = {"first": 0.2, "most": 1.0, "steady": 0.0}

#: Redirections in a row after which the nodes do not know themselves who serves a slot.
_REDIRECTIONS = 5


class Topology:
    """`breaker` is that of the cluster as a whole: open while no node knows the others, or they serve nobody."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, settings: Settings) -> None:
        self.loop = loop
        self.address = address
        self.map = SlotMap()
        #: Whoever is to know of each new map.
        self.listeners: list[Callable[[], None]] = []
        self.nodes: dict[Place, ClusterNode] = {}
        #: What must not be collected while a link is open, though nobody has it any more.
        self.keeps: object = None
        self._inspect: Callable[[Link, Address], Awaitable[None]] | None = None
        self._former: set[ClusterNode] = set()
        self._settings = settings
        self.probe = Probe(loop, str(address), cut=lambda _: None, attempt=self._look)
        self.breaker = self.probe.breaker
        self._looking: asyncio.Task[None] | None = None
        self._looked = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff(**_UNWELL)
        self._hint: Place | None = None
        self._home: ClusterNode | None = None  # of what any node can answer
        self._closed = False

    @property
    def known(self) -> bool:
        """True once there is a map."""
        return bool(self.map.version)

    @property
    def primaries(self) -> list[ClusterNode]:
        """The nodes that serve slots, in the order of the map."""
        return [self.node(place) for place in self.map.primaries]

    def inspected_by(self, inspect: Callable[[Link, Address], Awaitable[None]]) -> None:
        """Have every node looked at before a link to it serves anybody."""
        self._inspect = inspect
        for node in self.nodes.values():
            node.where.inspect = inspect

    def members(self) -> set[Place]:
        """All places of the map."""
        return {*self.map.primaries, *self.map.replicas}

    def node(self, place: Place) -> ClusterNode:
        """Return the node at a place, made if there is none."""
        node = self.nodes.get(place)
        if node is None:
            node = self.nodes[place] = ClusterNode(
                self.loop, self.address.at(place), self._settings, place, trouble=self.trouble
            )
            node.where.inspect = self._inspect
        return node

    def node_for(self, slot: int | None) -> ClusterNode:
        """Return who serves a slot; where that is None or nobody's, somebody who serves others.

        That is the same node for as long as it is there: what is published, on whatever channels, stays in order.
        """
        shard = None if slot is None else self.map[slot]
        if shard is not None:
            return self.nodes.get(shard.primary) or self.node(shard.primary)
        home = self._home
        if home is None or home.breaker.is_open or self.nodes.get(home.place) is not home:
            able = [node for node in self.primaries if not node.breaker.is_open]
            linked = [node for node in able if node.linked]
            home = self._home = random.choice(linked or able or self.primaries)  # noqa: S311  (any will do)
        return home

    def moved(self, there: Redirection) -> None:
        """Note that a slot has moved, and look at the whole map soon."""
        if self.map.moved(*there):
            logger.debug("slot %d is served by %s now", *there)
            self._hint = there.place
            self.refresh()

    def trouble(self) -> None:
        """A link broke or could not be opened: its slots may be served by another now."""
        if not self._closed and not self.loop.is_closed():
            self.refresh()

    # Looking.

    def refresh(self) -> asyncio.Task[None]:
        """Look at the map, soon; return the task, which everyone shares who asks meanwhile. It never raises."""
        if self._looking is None or self._looking.done():
            self._looking = self.loop.create_task(self._refresh(), name="asgi-redis-guard slots")
        return self._looking

    async def _refresh(self) -> None:
        early = self._looked + _APART - self.loop.time()
        if early > 0:
            await asyncio.sleep(early)
        self._looked = self.loop.time()
        try:
            self._adopt(await best_map(self._candidates(), self._ask, self._settings.timeout))
        except RedisUnavailable as error:
            away = all(node.breaker.is_open for node in self.nodes.values())
            self.breaker.failed(str(error), fatal=away)
        self._plan()

    def _plan(self) -> None:
        """Look again later: soon, if something is amiss."""
        if self._timer is not None:
            self._timer.cancel()
        amiss = self.map.missing or any(node.breaker.is_open for node in self.nodes.values())
        amiss = amiss and not self.breaker.is_open  # else the probe looks
        if not amiss:
            self._backoff.lived(1.0)
        pause = self._backoff.next() if amiss else _USUAL * random.uniform(0.7, 1.3)  # noqa: S311  (jitter)
        if not self._closed:
            self._timer = self.loop.call_later(pause, self.trouble)

    def _adopt(self, found: SlotMap) -> None:
        found.follow(self.map)
        if found.version != self.map.version:
            logger.info("the slots of %s are served by %s", self.address, ", ".join(map(str, found.primaries)))
        self.map = found
        for place in self.nodes.keys() - set(found.primaries):
            node = self.nodes.pop(place)
            self._former.add(node)
            node.retire(self._settings.timeout * 2, lambda node=node: self._former.discard(node))  # type: ignore[misc]
        for listener in [*self.listeners]:
            listener()

    def _candidates(self) -> Iterable[Place]:
        """Whom to ask: who has sent us elsewhere, who is linked, who is known, whom the URL names."""
        known = [node for node in self.nodes.values() if not node.breaker.is_open]
        random.shuffle(known)
        known.sort(key=lambda node: not node.linked)
        hint, self._hint = self._hint, None
        places = [*([hint] if hint is not None else []), *(node.place for node in known)]
        return dict.fromkeys([*places, *self.map.replicas, *self.address.nodes, *self.nodes])

    async def _ask(self, place: Place) -> SlotMap:
        """Ask one node for the map, over its link if it has one."""
        node = self.nodes.get(place)
        if node is not None and node.linked:
            reply = await node.lane1.submit(("CLUSTER", "SLOTS"))
        else:
            (reply,) = await self.converse(place, [("CLUSTER", "SLOTS")])
        if isinstance(reply, OperationFailed):
            raise RedisUnavailable(f"{place}: {reply}")
        try:
            found = SlotMap.of_slots(reply, place)
        except ValueError as error:
            raise RedisUnavailable(f"{place}: {error}") from None
        if not found.primaries:
            raise RedisUnavailable(f"{place} knows of no slots")
        return found

    async def converse(self, place: Place, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send commands on a link of their own to one node; errors, redirections too, are values."""
        settings = self._settings
        return await converse(self.address.at(place), commands, settings.connection_timeout, settings.timeout)

    async def ask(self, slot: int, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send commands on a link of their own to the node of a slot, wherever that moves to; errors are values."""
        if not self.known:
            await self.connect()
        place, asking = self.node_for(slot).place, False
        for _ in range(_REDIRECTIONS):
            replies = await self.converse(place, [("ASKING",), *commands] if asking else commands)
            error = replies[asking]
            if not isinstance(error, OperationFailed) or error.code not in ("MOVED", "ASK"):
                return replies[asking:]
            there = Redirection.parse(str(error), place)
            place, asking = there.place, error.code == "ASK"
            if not asking:
                self.moved(there)
        raise RedisUnavailable(f"redirected {_REDIRECTIONS} times, at last to {place}")

    # Lifetime.

    async def connect(self) -> None:
        """Look at the map, and have a node for every primary; raises `RedisUnavailable`."""
        failures = self.breaker.failures
        await asyncio.shield(self.refresh())
        if self.breaker.failures > failures:
            raise RedisUnavailable(self.breaker.reason)
        _ = self.primaries

    async def _look(self) -> None:
        """Tell whether the cluster serves again; raises `RedisUnavailable`."""
        await self.connect()
        try:
            info = await self.node_for(None).lane1.submit(("CLUSTER", "INFO"))
        except OperationFailed:
            return  # an account without the right to ask
        if b"cluster_state:fail" in info:
            raise RedisUnavailable("CLUSTERDOWN The cluster is down")

    def close(self) -> list[asyncio.Task[Any] | None]:
        """Close all nodes, for good; return tasks that have to be cancelled."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for node in (*self.nodes.values(), *self._former) for task in node.close()]
        return [self.probe.task, self._looking, *tasks]

    def abandon(self) -> list[Any]:
        """Let go without I/O; return what must not be finalised yet."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        return [link for node in (*self.nodes.values(), *self._former) for link in node.abandon()]

    def __repr__(self) -> str:
        return f"<Topology {self.map!r}, {len(self.nodes)} nodes, {self.breaker!r}>"
