"""The replicas that one event loop reads from: which there are, who is asked, and what is asked of them.

Law: it only reads, and only where the asker has said that a replica's word is good enough; whoever gets no answer here
asks the primary. Which there are, the map of a cluster says, or sentinels, or the settings.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from ..core.script import Batch
from ..errors import ConfigurationError, RedisUnavailable
from .address import Address
from .cutting import Cutter
from .program import Program
from .replica_node import ReplicaNode
from .sentinel_replicas import SentinelReplicas
from .slots import Place, slot_of
from .topology import Topology

if TYPE_CHECKING:
    from ..settings import Settings


#: Seconds between looks at the map of a cluster for the sake of slots without a replica.
_APART = 5.0

_HOST = re.compile(r"(?:\[([\da-f:.]+)\]|([\w.-]+)):(\d{1,5})", re.IGNORECASE)


def places_of(replicas: Iterable[str]) -> tuple[Place, ...]:
    """Return where replicas are that were named as `host:port`; raises `ConfigurationError`."""
    found = []
    for text in replicas:
        match = _HOST.fullmatch(text)
        if match is None or not 0 < int(match[3]) < 65536:
            said = f"***@{text.rpartition('@')[2]}" if "@" in text else text  # a URL, perhaps with a password
            raise ConfigurationError(f"replicas (REDIS_REPLICAS): {said!r} given; allowed is host:port, or several")
        found.append(Place(match[1] or match[2], int(match[3])))
    return tuple(found)


def check_replicas(address: Address, settings: Settings) -> None:
    """Raise `ConfigurationError` where replicas are to be read from, and nobody could say which."""
    places = places_of(settings.replicas)
    told = address.cluster or address.sentinels is not None
    if places and told:
        raise ConfigurationError("replicas (REDIS_REPLICAS): given, but the cluster or its sentinels tell of them")
    if address.scheme in ("memory", "embedded") or told or not settings.read_from_replicas:
        return
    option = "read_from_replicas (REDIS_READ_FROM_REPLICAS)"
    if address.path is not None:
        raise ConfigurationError(f"{option}: given with a unix socket; allowed with redis:// and rediss://")
    if not places:
        raise ConfigurationError(
            f"{option}: given, but nobody tells the replicas of one server; name them in replicas (REDIS_REPLICAS), "
            "as host:port, or several"
        )


class ReplicaSet:
    """Replicas of one server or cluster, each made when somebody first wants to ask it.

    `timeout`: seconds that a replica may take; the rest of a request's time is the primary's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        settings: Settings,
        *,
        topology: Topology | None = None,
        sentinels: SentinelReplicas | None = None,
    ) -> None:
        self.loop = loop
        self.timeout = settings.timeout / 2
        self._address = address
        self._settings = settings
        self._topology = topology
        self._sentinels = sentinels
        self._named = places_of(settings.replicas)
        self._nodes: dict[Place, ReplicaNode] = {}
        self._turns = count()
        self._due = 0.0  # when the map may be looked at again for replicas that were not there
        self._closed = False
        slot = slot_of if topology is not None else lambda _: 0
        self._cutter = Cutter(loop, slot, self._send, lambda *_: None, self.timeout)
        if topology is not None:
            topology.listeners.append(self._forget)

    @property
    def nodes(self) -> list[ReplicaNode]:
        """Those that somebody has wanted to ask."""
        return [*self._nodes.values()]

    def warnings(self) -> dict[str, str]:
        """What `health()` is to say of them."""
        away = [f"{node.address} ({node.state})" for node in self.nodes if not node.follows]
        return {"replicas": f"not read from: {', '.join(away)}"} if away else {}

    def reads(self, batch: Batch) -> bool:
        """Tell whether there is somebody to ask now for all keys of a batch."""
        slots = {slot_of(key) for key in batch.keys} if self._topology is not None else {0}
        return all(self._pick(slot) is not None for slot in slots)

    def evaluate(self, program: Program, batch: Batch) -> asyncio.Future[Any] | None:
        """Send what only checks to replicas, as `Lane.evaluate` does; None where there is nobody to ask."""
        if self._topology is None:
            node = self._pick(0)
            return None if node is None else node.lane1.evaluate(program, [batch], self.timeout)
        return self._cutter.evaluate(program, [batch], self.timeout) if self.reads(batch) else None

    async def get(self, key: bytes) -> Any:
        """Return the value of a string key as a replica knows it; raises `RedisUnavailable`."""
        return await self._node(slot_of(key)).lane2.submit(("GET", key), timeout=self.timeout)

    def _send(self, slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
        return self._node(slot).lane1.evaluate(program, batches, timeout)

    def _node(self, slot: int | None) -> ReplicaNode:
        node = self._pick(slot)
        if node is None:
            raise RedisUnavailable("no replica can be read from")
        return node

    def _pick(self, slot: int | None) -> ReplicaNode | None:
        """Return the next one in turn of those that know a slot and can be asked."""
        places = self._places(slot)
        turn = next(self._turns)
        for number in range(len(places)):
            place = places[(turn + number) % len(places)]
            node = self._nodes.get(place)
            if node is None and not self._closed:
                cluster = self._topology is not None
                node = self._nodes[place] = ReplicaNode(
                    self.loop, self._address.at(place), self._settings, cluster=cluster
                )
                node.keeps = self
            if node is not None and node.usable:
                return node
        return None

    def _places(self, slot: int | None) -> Sequence[Place]:
        if self._topology is not None:
            shard = None if slot is None else self._topology.map[slot]
            if shard is not None and not shard.replicas and self.loop.time() >= self._due:
                self._due = self.loop.time() + _APART  # one may have come meanwhile
                self._topology.refresh()
            return () if shard is None else shard.replicas
        return self._named if self._sentinels is None else self._sentinels.places()

    def _forget(self) -> None:
        """Let go of those that are replicas no more."""
        if self._topology is not None:
            for place in self._nodes.keys() - {*self._topology.map.replicas}:
                self._end(self._nodes.pop(place))

    def _end(self, node: ReplicaNode) -> list[asyncio.Task[Any]]:
        tasks = [task for task in node.close() if task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def close(self) -> list[asyncio.Task[Any]]:
        """Close all links, for good; return tasks that end soon."""
        self._closed = True
        ending = [task for node in self._nodes.values() for task in self._end(node)]
        return ending if self._sentinels is None else [*ending, *self._sentinels.close()]

    def abandon(self) -> list[Any]:
        """Let go without I/O; return what must not be finalised yet."""
        self._closed = True
        return [link for node in self._nodes.values() for link in node.abandon()]

    def __repr__(self) -> str:
        return f"<ReplicaSet of {self._address}: {[*self._nodes.values()]}>"
