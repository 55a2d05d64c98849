"""A station against a node that gains and loses slots at any moment: what both say crosses on the way."""

from collections import deque
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.errors import OperationFailed
from asgi_redis_guard.pubsub.messages import Message
from asgi_redis_guard.pubsub.shards import ShardedChannel
from asgi_redis_guard.pubsub.station import Station
from asgi_redis_guard.pubsub.subscriptions import OutOfStep, Subscriptions
from asgi_redis_guard.redis.slots import Place, Redirection, slot_of

#: Two of one slot, one of another.
NAMES = [b"{a}1", b"{a}2", b"b"]
SLOTS = sorted({slot_of(name) for name in NAMES})


class Node:
    """Serves slots as a node of a cluster does; what it hears and says waits until it is read."""

    def __init__(self) -> None:
        self.owned = set(SLOTS)
        self.subscribed: set[bytes] = set()
        self.heard: deque[tuple[bytes, ...]] = deque()
        self.said: deque[Any] = deque()

    def run(self) -> None:
        """Carry out one command."""
        verb, name = self.heard.popleft()
        slot = slot_of(name)
        if slot not in self.owned:
            self.said.append(OperationFailed(f"MOVED {slot} 127.0.0.1:2"))
            return
        if verb == b"SSUBSCRIBE":
            self.subscribed.add(name)
        else:
            self.subscribed.discard(name)
        self.said.append([verb.lower(), name, len(self.subscribed)])

    def lose(self, slot: int) -> None:
        """Give a slot away, and say so to who hears channels of it."""
        self.owned.discard(slot)
        for name in sorted(self.subscribed):
            if slot_of(name) == slot:
                self.subscribed.discard(name)
                self.said.append([b"sunsubscribe", name, 0])

    def publish(self, name: bytes) -> None:
        if name in self.subscribed:
            self.said.append([b"smessage", name, b"x"])


class World:
    """A station without a connection, whose dispatcher notes who was sent away."""

    def __init__(self) -> None:
        self.node = Node()
        self.away: set[bytes] = set()
        self.channels: dict[bytes, ShardedChannel] = {}
        self.station = station = object.__new__(Station)
        station.books = Subscriptions()
        station.books.link()
        station.place = Place("127.0.0.1", 1)
        station._dispatcher = self
        station._send = self._send  # type: ignore[method-assign]
        station.wire = SimpleNamespace(rest=lambda: None)  # type: ignore[assignment]
        self.waiting = self.drops = 0

    def _send(self, commands: Any) -> None:
        self.node.heard.extend(commands)

    def redirected(self, member: Any, there: Redirection | None) -> None:
        assert there is not None
        assert there.slot == member.slot
        self.away.add(member.keys[0][1])
        del self.channels[member.keys[0][1]]

    # What may happen.

    def join(self, name: bytes) -> None:
        if name not in self.channels:
            channel = self.channels[name] = ShardedChannel(_Quiet(), name)  # type: ignore[arg-type]
            self._send(self.station.books.join(channel, channel.keys))

    def leave(self, name: bytes) -> None:
        channel = self.channels.pop(name, None)
        if channel is not None:
            self._send(self.station.books.leave(channel))

    def read(self) -> None:
        """Read one reply; one that nobody asked for ends the connection, as the wire does it."""
        try:
            self.station.received(self.node.said.popleft())
        except OutOfStep:
            self.drops += 1
            self.station.books.unlink()
            self.node.heard.clear()
            self.node.said.clear()
            self.node.subscribed.clear()
            self._send(self.station.books.link())

    def step(self, what: str, name: bytes) -> None:
        node = self.node
        if what == "run":
            if node.heard:
                node.run()
        elif what == "read":
            if node.said:
                self.read()
        elif what == "lose":
            node.lose(slot_of(name))
        elif what == "gain":
            node.owned.add(slot_of(name))
        elif what == "publish":
            node.publish(name)
        else:
            getattr(self, what)(name)

    def settle(self) -> None:
        while self.node.heard or self.node.said:
            while self.node.said:
                self.read()
            if self.node.heard:
                self.node.run()


class _Quiet:
    """Where channels tell that they are live."""

    def is_live(self, member: Any) -> bool:
        return False


STEPS = st.tuples(st.sampled_from(["join", "leave", "run", "read", "lose", "gain", "publish"]), st.sampled_from(NAMES))


@settings(max_examples=400)
@given(st.lists(STEPS, max_size=60))
def test_whatever_crosses_on_the_way_both_agree_in_the_end(steps: list[tuple[str, bytes]]) -> None:
    world = World()
    for what, name in steps:
        world.step(what, name)
    world.settle()
    gains = [what for what, _ in steps].count("gain")
    assert world.drops <= gains, "nothing is distrusted but where a slot comes back while it goes"
    books = world.station.books
    assert books.due() is None
    assert {key[1] for key in books.topics} == set(world.channels) == world.node.subscribed
    assert all(books.is_live(channel) for channel in world.channels.values())
    assert {slot_of(name) for name in world.channels} <= world.node.owned


def test_what_was_published_reaches_the_channel() -> None:
    class Ear(list[Message]):
        deliver = list.append
        __hash__ = object.__hash__  # type: ignore[assignment]

    world, heard = World(), Ear()
    world.join(b"b")
    world.channels[b"b"].members[heard] = None  # type: ignore[index]
    world.settle()
    world.step("publish", b"b")
    world.settle()
    assert heard == [Message("b", b"x")]
