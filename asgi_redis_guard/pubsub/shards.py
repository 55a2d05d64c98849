"""Sharded channels in a cluster: each is heard at the node of its slot, and followed where that goes.

A board as `switchboard.py` is one, over a station for each node that has channels. It owns which channel is heard
where: never at two nodes at a time, so that nothing is heard twice; between two of them there is a `Gap`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack, cast

from ..errors import RedisUnavailable
from ..redis.slots import Place, Redirection, slot_of
from .messages import Message
from .station import Station
from .subscriptions import SHARDED, Key
from .switchboard import Member, Times

if TYPE_CHECKING:
    from ..redis.manager import RedisManager
    from ..redis.topology import Topology

#: Seconds until a node is asked that nodes send us to in turns: after the second time, and at the most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class ShardedChannel:
    """A sharded channel with its members: a member of the station where it is heard."""

    __slots__ = ("_shards", "keys", "members", "slot", "station", "timer", "tries")

    def __init__(self, shards: Shards, name: bytes) -> None:
        self._shards = shards
        self.keys: Sequence[Key] = ((SHARDED, name),)
        self.slot = slot_of(name)
        self.members: dict[Member, None] = {}
        self.station: Station | None = None
        self.tries = 0  # since it was heard last
        self.timer: asyncio.TimerHandle | None = None  # while nobody is asked

    @property
    def live(self) -> bool:
        """True while the node of its slot has confirmed it."""
        return self.station is not None and self.station.is_live(self)

    # Member of the station.

    def became_live(self) -> None:
        self.tries = 0
        for member in [*self.members]:
            if self._shards.is_live(member):
                member.became_live()

    def deliver(self, message: Message) -> None:
        for member in [*self.members]:
            member.deliver(message)

    def end(self, error: Exception | None = None) -> None:
        for member in [*self.members]:
            self._shards.leave(member)
            member.end(error)

    def __repr__(self) -> str:
        return f"<ShardedChannel {self.keys[0][1]!r} at {None if self.station is None else self.station.place}>"


class Shards:
    """The board of all sharded channels of one event loop; a subscriber joins and leaves it as it does a switchboard.

    `times` are those of a switchboard: when a connection is pinged, given up and closed.
    """

    def __init__(
        self, manager: RedisManager, loop: asyncio.AbstractEventLoop, topology: Topology, **times: Unpack[Times]
    ) -> None:
        self.timeout = manager.settings.timeout
        self.closed = False
        self.waiting = 0
        self.channels: dict[bytes, ShardedChannel] = {}
        self.stations: dict[Place, Station] = {}
        self._manager = manager
        self._loop = loop
        self._topology = topology
        self._times = times
        self._held: dict[Member, tuple[ShardedChannel, ...]] = {}
        topology.listeners.append(self._follow)

    @property
    def up(self) -> bool:
        """True while some node is connected."""
        return any(station.wire.up for station in self.stations.values())

    @property
    def reason(self) -> str | None:
        """Why something is not heard; None where all nodes are connected that should be."""
        if any(channel.station is None for channel in self.channels.values()):
            return "nobody is known to serve the slot" if self._topology.known else self._topology.breaker.reason
        return next((station.reason for station in self.stations.values() if station.wanted and station.reason), None)

    def is_live(self, member: Member) -> bool:
        """True while all channels of `member` are confirmed by the nodes of their slots."""
        held = self._held.get(member)
        return held is not None and all(channel.live for channel in held)

    def check(self, member: Member) -> None:
        """Raise `RedisUnavailable` if waiting for the nodes of its channels would be in vain."""
        if self.closed:
            raise RedisUnavailable("Pub/sub is closed")
        breakers = [self._topology.breaker]
        if self._topology.known:
            breakers += [self._topology.node_for(slot_of(name)).breaker for _, name in member.keys]
        for breaker in breakers:
            if breaker.is_open:
                raise RedisUnavailable(breaker.reason)

    def join(self, member: Member) -> None:
        """Begin to hear its channels; `became_live` tells when, and that may be at once."""
        if self.closed:
            raise RedisUnavailable("Pub/sub is closed")
        channels = tuple(self._channel(name) for name in dict.fromkeys(name for _, name in member.keys))
        self._held[member] = channels
        for channel in channels:
            channel.members[member] = None
            self._settle(channel)
        if self.is_live(member):
            member.became_live()

    def leave(self, member: Member) -> None:
        """Stop hearing; nothing happens if the member has left already."""
        for channel in self._held.pop(member, ()):
            del channel.members[member]
            if not channel.members:
                self._give_up(channel)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """While somebody waits, attempts to connect are closer together."""
        self.waiting += 1
        try:
            for station in self.stations.values():
                station.wire.want()
            yield
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End all members and connections."""
        self.closed = True
        if self._follow in self._topology.listeners:
            self._topology.listeners.remove(self._follow)
        members = [*self._held]
        for member in members:
            self.leave(member)
        for station in self.stations.values():
            station.close()
        for member in members:
            member.end()

    async def aclose(self) -> None:
        """Close, and wait until nothing of it runs any more."""
        self.close()
        for station in self.stations.values():
            await station.wire.aclose()

    def abandon(self) -> list[Any]:
        """Let go without I/O; return what must not be finalised yet."""
        self.closed = True
        return [station.wire.abandon() for station in self.stations.values()]

    # Where channels are heard.

    def redirected(self, member: Member, there: Redirection | None) -> None:
        """Go where a node sends us; where nodes do so in turns, or know no better, ask again later."""
        channel = cast(ShardedChannel, member)  # nobody else joins a station of ours
        channel.station = None
        channel.tries += 1
        if there is not None:
            self._topology.moved(there)
        else:
            self._topology.trouble()
        if there is None or channel.tries > 1:
            pause = min(_FIRST_PAUSE * 2**channel.tries, _LONGEST_PAUSE)
            channel.timer = self._loop.call_later(pause, self._again, channel)
        else:
            self._settle(channel)

    def _again(self, channel: ShardedChannel) -> None:
        channel.timer = None
        self._settle(channel)

    def _follow(self) -> None:
        """A map was read: go where slots have gone, and let go of nodes that have left."""
        for channel in [*self.channels.values()]:
            self._settle(channel)
        for place in [place for place in self.stations if place not in self._topology.nodes]:
            if not self.stations[place].wanted:
                station = self.stations.pop(place)
                station.close()
                self._manager.links.spawn(station.wire.aclose())

    def _settle(self, channel: ShardedChannel) -> None:
        """Hear a channel where its slot is; where that is nobody's yet, it stays where it is until a map tells."""
        topology = self._topology
        if channel.timer is not None:
            return
        if not topology.known or topology.map[channel.slot] is None:
            topology.trouble()
            return
        place = topology.node_for(channel.slot).place
        former = channel.station
        if former is not None:
            if former.place == place:
                return
            former.leave(channel)
        channel.station = self._station(place)
        channel.station.join(channel)

    def _give_up(self, channel: ShardedChannel) -> None:
        del self.channels[channel.keys[0][1]]
        if channel.timer is not None:
            channel.timer.cancel()
        if channel.station is not None:
            channel.station.leave(channel)

    def _channel(self, name: bytes) -> ShardedChannel:
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = ShardedChannel(self, name)
        return channel

    def _station(self, place: Place) -> Station:
        station = self.stations.get(place)
        if station is None:
            station = Station(self._manager, self._loop, self._topology, self, place, **self._times)
            self.stations[place] = station
        return station

    def __repr__(self) -> str:
        return f"<Shards: {len(self.channels)} channels at {len(self.stations)} nodes, {len(self._held)} members>"
