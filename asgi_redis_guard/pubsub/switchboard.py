"""Between the wire and the subscribers: tells the server what is wanted, and each subscriber what is said.

It owns the books of one connection. Nothing in here awaits but the opening of a link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

import hiredis

from ..errors import OperationFailed, RedisUnavailable
from ..redis.credentials import login_words
from ..redis.slots import Place
from .memory import open_memory_line
from .messages import Message, to_text
from .subscriptions import CHANNEL, PATTERN, SHARDED, Command, Key, Subscriptions
from .wire import Line, Wire

if TYPE_CHECKING:
    from ..redis.manager import RedisManager


_pack: Callable[[Any], bytes] = hiredis.pack_command


def needs_sharding(error: OperationFailed) -> OperationFailed:
    """Say what a server lacks that does not know sharded channels."""
    known = "unknown command" not in str(error).lower()
    return error if known else OperationFailed(f"{error.code} sharded channels need Redis 7.0 or Valkey ({error})")


class Times(TypedDict):
    """When a connection is closed, pinged, and given up, in seconds."""

    idle: float
    ping_interval: float
    ping_timeout: float


class Member(Protocol):
    """A subscriber. None of these methods may raise."""

    @property
    def keys(self) -> Sequence[Key]:
        """The channels and patterns that it hears."""

    def became_live(self) -> None:
        """All of them are confirmed on the current link."""

    def deliver(self, message: Message) -> None:
        """One of them has a message."""

    def end(self, error: Exception | None = None) -> None:
        """It has left and will get nothing more."""


class Switchboard:
    """Members join and leave; the rest follows."""

    def __init__(
        self,
        manager: RedisManager,
        loop: asyncio.AbstractEventLoop,
        *,
        target: str = "",
        **times: Unpack[Times],
    ) -> None:
        self._manager = manager
        self.timeout = manager.settings.timeout
        self.books: Subscriptions[Member] = Subscriptions()
        self.wire = Wire(loop, self, target or str(manager.address), **times)
        self._waiting = 0
        self._home: Place | None = None  # the node of a cluster that is listened to
        self._topology = manager.links.topology
        if self._topology is not None:
            self._topology.listeners.append(self._stay)

    @property
    def closed(self) -> bool:
        """True once nobody can join any more."""
        return self.wire.closed

    @property
    def reason(self) -> str | None:
        """Why nothing is heard; None while there is a connection."""
        return None if self.wire.up else self.wire.reason

    def is_live(self, member: Member) -> bool:
        """True while the server has confirmed all that `member` hears."""
        return self.books.is_live(member)

    def check(self, member: Member) -> None:
        """Raise `RedisUnavailable` if waiting for the server would be in vain."""
        if self.wire.closed:
            raise RedisUnavailable(self.wire.reason)
        if not self.wire.up and not self.allowed:
            raise RedisUnavailable(self._manager.links.breaker.reason)

    def join(self, member: Member) -> None:
        """Begin to hear `member.keys`; `became_live` tells when, and that may be at once."""
        if self.wire.closed:
            raise RedisUnavailable(self.wire.reason)
        self._send(self.books.join(member, member.keys))
        self.wire.want()
        if self.books.is_live(member):
            member.became_live()

    def leave(self, member: Member) -> None:
        """Stop hearing; nothing happens if the member has left already."""
        self._send(self.books.leave(member))
        if not self.wanted:
            self.wire.rest()

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """While somebody waits, attempts to connect are closer together."""
        self._waiting += 1
        try:
            self.wire.want()
            yield
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End all members and the connection."""
        if self._topology is not None and self._stay in self._topology.listeners:
            self._topology.listeners.remove(self._stay)
        members = self.books.members()
        for member in members:
            self.leave(member)
        self.wire.close()
        for member in members:
            member.end()

    # Owner of the wire.

    @property
    def wanted(self) -> bool:
        return len(self.books) > 0

    @property
    def allowed(self) -> bool:
        return not self._manager.links.breaker.is_open

    @property
    def longest_pause(self) -> float:
        return self.timeout / 4 if self._waiting else float("inf")

    async def open(self) -> Line:
        links = self._manager.links
        if links.address.scheme == "memory":
            return await open_memory_line(self._manager._memory, self.wire.spawn)
        link = await links.open("pubsub")
        self._home = link.place
        return link

    def _stay(self) -> None:
        """Leave a node that has left the cluster: what is published elsewhere does not reach it any more."""
        if self._topology is not None and self._home not in self._topology.members():
            self.wire.leave(f"{self._home} has left the cluster")

    def opened(self) -> None:
        self._send(self.books.link())

    def dropped(self) -> None:
        self.books.unlink()

    def ping(self) -> None:
        self._send([self.books.ping()])

    def log_in(self, login: tuple[str, str]) -> None:
        self.books.log_in()
        self._send([tuple(word.encode() for word in login_words(login))])

    def received(self, reply: Any) -> None:
        """Act on one reply: a push in RESP3, an array in RESP2."""
        if isinstance(reply, list):
            kind = reply[0]
            if kind == b"message":
                self._deliver((CHANNEL, reply[1]), Message(to_text(reply[1]), reply[2]))
            elif kind == b"smessage":
                self._deliver((SHARDED, reply[1]), Message(to_text(reply[1]), reply[2]))
            elif kind == b"pmessage":
                self._deliver((PATTERN, reply[1]), Message(to_text(reply[2]), reply[3], to_text(reply[1])))
            elif kind == b"pong":
                self.books.answered(b"ping")
            elif kind == b"sunsubscribe" and self.books.due() != (b"SUNSUBSCRIBE", reply[1]):
                self._send(self.books.withdrawn((SHARDED, reply[1])))  # its slot has moved
            elif kind.endswith(b"subscribe"):
                self._became_live(self.books.answered(kind, reply[1]))
        elif isinstance(reply, OperationFailed):
            self._refused(reply)
        else:
            self.books.answered(b"auth" if reply == b"OK" else b"ping")

    def _deliver(self, key: Key, message: Message) -> None:
        for member in self.books.hearing(key):
            member.deliver(message)

    def _became_live(self, members: Iterable[Member]) -> None:
        for member in members:
            member.became_live()

    def _refused(self, error: OperationFailed) -> None:
        due = self.books.due()
        if due is not None and due[0] == b"SSUBSCRIBE":
            error = needs_sharding(error)
        members, commands = self.books.refused()
        self._send(commands)
        for member in members:
            member.end(error)
        if not self.wanted:
            self.wire.rest()

    def _send(self, commands: Sequence[Command]) -> None:
        self.wire.send(b"".join(map(_pack, commands)))

    def __repr__(self) -> str:
        return f"<Switchboard {self.wire!r}, {len(self.books.topics)} topics, {len(self.books)} members>"
