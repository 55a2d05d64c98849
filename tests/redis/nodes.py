"""Nodes of a cluster that say what a test wants: redirections at will, in no real cluster's order."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import hiredis

from tests.redis.tools import HELLO_3, scripted

Answer = Callable[[list[bytes]], bytes]


class FakeNode:
    """Answers a command by `says[VERB]`: a reply as it goes over the wire, or several, of which the last stays."""

    def __init__(self) -> None:
        self.port = 0
        #: First slot, last slot and port: what CLUSTER SLOTS tells.
        self.map: list[tuple[int, int, int]] = []
        self.says: dict[str, list[bytes] | bytes] = {}
        #: Every command but those of greetings, in order.
        self.heard: list[list[bytes]] = []
        self.count: Counter[str] = Counter()

    def answer(self, words: list[bytes]) -> bytes:
        verb = words[0].decode().upper()
        if verb == "HELLO":
            return HELLO_3
        if verb == "CLIENT":
            return b"+OK\r\n"
        self.count[verb] += 1
        said = self.says.get(verb)
        if said is not None:
            if verb != "PING":
                self.heard.append(words)
            return (said.pop(0) if len(said) > 1 else said[0]) if isinstance(said, list) else said
        if verb == "CLUSTER":
            return self._cluster(words[1])
        if verb != "PING":
            self.heard.append(words)
        return {"PING": b"+PONG\r\n", "ASKING": b"+OK\r\n"}.get(verb, b"+%d\r\n" % self.port)

    def _cluster(self, what: bytes) -> bytes:
        if what == b"INFO":
            return b"$16\r\ncluster_state:ok\r\n"
        parts = [
            b"*3\r\n:%d\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nx\r\n" % (first, last, port)
            for first, last, port in self.map
        ]
        return b"*%d\r\n" % len(parts) + b"".join(parts)


@asynccontextmanager
async def fake_nodes(count: int) -> AsyncIterator[list[FakeNode]]:
    """Some nodes, of which the first serves all slots, as all of them say."""
    async with AsyncExitStack() as stack:
        nodes = [FakeNode() for _ in range(count)]
        for node in nodes:
            url = await stack.enter_async_context(scripted(node.answer))
            node.port = int(url.rpartition(":")[2])
        for node in nodes:
            node.map = [(0, 16383, nodes[0].port)]
        yield nodes


def packed(*words: object) -> list[bytes]:
    """A command as a node hears it."""
    reader = hiredis.Reader()
    reader.feed(hiredis.pack_command(words))  # type: ignore[arg-type]
    heard: list[bytes] = reader.gets()
    return heard
