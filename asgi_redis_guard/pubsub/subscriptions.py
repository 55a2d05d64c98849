"""Who hears which channels and patterns, what the server was asked, and which answers it still owes.

Pure: methods change the books and return the commands to send, which must leave in that order. A server answers the
commands of one link one by one and in order; so a channel may be left and joined again while the answers to both are
on their way, and is live when nothing is owed for it any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

M = TypeVar("M")

#: What a topic is: a channel, a pattern, or a channel that belongs to the node of its slot.
CHANNEL, PATTERN, SHARDED = 0, 1, 2
#: (what it is, its name)
Key = tuple[int, bytes]
Command = tuple[bytes, ...]

PING: Command = (b"PING",)
_VERBS = {
    CHANNEL: (b"UNSUBSCRIBE", b"SUBSCRIBE"),
    PATTERN: (b"PUNSUBSCRIBE", b"PSUBSCRIBE"),
    SHARDED: (b"SUNSUBSCRIBE", b"SSUBSCRIBE"),
}


class OutOfStep(Exception):
    """The server answered what nobody asked; nothing on this link can be trusted."""


class Topic(Generic[M]):
    """A channel or pattern with its members. `asked` is the last thing asked for it, `owed` the answers to come."""

    __slots__ = ("asked", "key", "members", "owed")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.members: dict[M, None] = {}
        self.asked = False
        self.owed = 0

    @property
    def live(self) -> bool:
        """True while the server has confirmed, on this link, that it sends us the topic's messages."""
        return self.asked and not self.owed


class Subscriptions(Generic[M]):
    """The books. Every topic with members is asked for while there is a link; one without them is given up."""

    def __init__(self) -> None:
        self.linked = False
        self.topics: dict[Key, Topic[M]] = {}
        self._held: dict[M, tuple[Topic[M], ...]] = {}
        self._missing: dict[M, int] = {}
        self._owed: deque[tuple[Command, Topic[M] | None]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, member: object) -> bool:
        return member in self._held

    def members(self) -> list[M]:
        """Everyone who has joined and not left."""
        return list(self._held)

    def is_live(self, member: M) -> bool:
        """True while all topics of `member` are live."""
        return self._missing.get(member) == 0

    def hearing(self, key: Key) -> list[M]:
        """The members that get a message of this topic."""
        topic = self.topics.get(key)
        return list(topic.members) if topic is not None and topic.live else []

    def join(self, member: M, keys: Iterable[Key]) -> list[Command]:
        """Add a member that hears `keys`."""
        if member in self._held:
            raise ValueError(f"{member!r} has joined already")
        topics = tuple(self._topic(key) for key in dict.fromkeys(keys))
        self._held[member] = topics
        commands = []
        for topic in topics:
            topic.members[member] = None
            if self.linked and not topic.asked:
                commands.append(self._ask(topic, True))
        self._missing[member] = sum(not topic.live for topic in topics)
        return commands

    def leave(self, member: M) -> list[Command]:
        """Remove a member; nothing happens if it has left already."""
        self._missing.pop(member, None)
        commands = []
        for topic in self._held.pop(member, ()):
            del topic.members[member]
            if topic.members:
                continue
            if topic.asked:
                commands.append(self._ask(topic, False))
            else:
                del self.topics[topic.key]
        return commands

    def link(self) -> list[Command]:
        """Begin on a new link, where everything has to be asked again."""
        self.linked = True
        return [self._ask(topic, True) for topic in self.topics.values()]

    def unlink(self) -> None:
        """The link is gone, with everything asked and owed on it."""
        self.linked = False
        self._owed.clear()
        for topic in list(self.topics.values()):
            topic.asked, topic.owed = False, 0
            if not topic.members:
                del self.topics[topic.key]
        self._missing = {member: len(topics) for member, topics in self._held.items()}

    def ping(self) -> Command:
        """Ask for a sign of life; `answered` takes the answer."""
        self._owed.append((PING, None))
        return PING

    def log_in(self) -> None:
        """AUTH is sent; `answered` or `refused` takes the answer."""
        self._owed.append(((b"AUTH",), None))

    def due(self) -> Command | None:
        """Return the command whose answer comes next; None where nothing is owed."""
        return self._owed[0][0] if self._owed else None

    def withdrawn(self, key: Key) -> list[Command]:
        """The server has ended a topic by itself; return the command that asks for it again, if it is still wanted.

        Where an answer is owed for it, that decides.
        """
        topic = self.topics.get(key)
        if topic is None or not topic.live:
            return []
        for member in topic.members:
            self._missing[member] += 1
        return [self._ask(topic, True)]

    # Answers, in the order in which the server gives them.

    def answered(self, verb: bytes, name: bytes | None = None) -> list[M]:
        """Take a confirmation (`subscribe`, …, or `ping`); return the members that are live through it.

        Raises `OutOfStep`.
        """
        command, topic = self._next()
        if command[0].lower() != verb or command[1:2] != (() if name is None else (name,)):
            raise OutOfStep(f"{verb!r} where the answer to {command[0]!r} was due")
        if topic is None:
            return []
        topic.owed -= 1
        if topic.owed:
            return []
        if not topic.asked:  # given up, and nobody has come back since
            del self.topics[topic.key]
            return []
        for member in topic.members:
            self._missing[member] -= 1
        return [member for member in topic.members if not self._missing[member]]

    def refused(self) -> tuple[list[M], list[Command]]:
        """Take an error; return the members that asked in vain, who have left with it, and the commands to send.

        Raises `OutOfStep`.
        """
        _, topic = self._next()
        if topic is None:
            return [], []
        topic.owed -= 1
        if topic.owed:
            return [], []  # a later command decides
        topic.asked = False
        members = list(topic.members)
        if not members:
            del self.topics[topic.key]
        return members, [command for member in members for command in self.leave(member)]

    def _next(self) -> tuple[Command, Topic[M] | None]:
        if not self._owed:
            raise OutOfStep("an answer that nobody asked for")
        return self._owed.popleft()

    def _topic(self, key: Key) -> Topic[M]:
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(key)
        return topic

    def _ask(self, topic: Topic[M], wanted: bool) -> Command:
        kind, name = topic.key
        command = (_VERBS[kind][wanted], name)
        topic.asked = wanted
        topic.owed += 1
        self._owed.append((command, topic))
        return command
