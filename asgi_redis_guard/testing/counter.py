"""Counts round trips and commands at the socket, where no client library can flatter itself."""

from collections import defaultdict

from .link import Link
from .proxy import FaultProxy


class RoundTripCounter(FaultProxy):
    """A proxy that counts what crosses it: commands, and how often a connection turned from asking to answering.

    A round trip is any number of request bytes followed by reply bytes on one connection; those of several
    connections add up. Call `reset` when the handshakes are over.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        super().__init__(upstream)
        self.round_trips = 0
        self.commands: list[bytes] = []  # names in upper case, in the order of arrival
        self._asking: set[Link] = set()
        self._readers: defaultdict[Link, CommandReader] = defaultdict(CommandReader)

    def reset(self) -> None:
        """Forget what was counted; replies still on their way are not counted either."""
        self.round_trips = 0
        self.commands = []
        self._asking.clear()

    def saw_request(self, link: Link, data: bytes) -> None:
        super().saw_request(link, data)
        self.commands += self._readers[link].feed(data)
        self._asking.add(link)

    def saw_reply(self, link: Link, data: bytes) -> None:
        super().saw_reply(link, data)
        if link in self._asking:
            self._asking.discard(link)
            self.round_trips += 1


class CommandReader:
    """Finds the names of the commands in a client's bytes, however those are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the names of the commands that `data` completes."""
        self._buffer += data
        names = []
        while (name := self._take()) is not None:
            names.append(name)
        return names

    def _take(self) -> bytes | None:
        """Remove the first command if it is whole, and return its name."""
        line, at = self._line(0)
        if line is None:
            return None
        name = line.partition(b" ")[0]  # an inline command, unless it is an array
        for position in range(int(line[1:]) if line.startswith(b"*") else 0):
            size, start = self._line(at)
            if size is None or len(self._buffer) < (at := start + int(size[1:]) + 2):
                return None
            if position == 0:
                name = bytes(self._buffer[start : at - 2])
        del self._buffer[:at]
        return name.upper()

    def _line(self, start: int) -> tuple[bytes | None, int]:
        """Return the line that begins at `start` and where the next one begins, or None if it has no end yet."""
        end = self._buffer.find(b"\r\n", start)
        return (None, start) if end < 0 else (bytes(self._buffer[start:end]), end + 2)
