"""The fault proxy: the switches, the listening socket and the counters. How bytes travel is `link`'s affair.

Law: the switches take effect at once and never await.
"""

import asyncio
import socket
from typing import Any, Self
from urllib.parse import urlsplit

from .link import Faults, Link


class FaultProxy:
    """A TCP proxy before a Redis server, which can be told to fail in all the ways that networks do.

    `upstream` is a `redis://` or `unix://` URL, the path of a unix socket, or `(host, port)`. Faults may be switched
    at any time and hold for open and for new connections; `cut_after_request`, `truncate_reply` and `garble` happen
    once, on the first connection where they can.

        async with FaultProxy("unix:///tmp/redis.sock") as proxy:
            client = Redis.from_url(proxy.url)
            proxy.black_hole()
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self._family, self._address = _parse(upstream)
        self._faults = Faults()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._listening = False
        self.port = 0
        self.connections = 0  # accepted so far
        self.bytes_up = 0  # sent by clients
        self.bytes_down = 0  # given to clients
        self.recording = False
        self.requests: list[bytes] = []  # what clients sent, piece by piece, while `recording`

    async def __aenter__(self) -> Self:
        self._listener = _bound_socket(0)
        self.port = self._listener.getsockname()[1]
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        tasks = list(self._links.values())
        self.reset_all()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<FaultProxy {self.url} to {self._address}, {self.open_connections} open, {self._faults}>"

    @property
    def url(self) -> str:
        """The address for clients; it stays the same for the proxy's whole life."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that nobody has ended yet."""
        return len(self._links)

    @property
    def latency(self) -> float:
        """Seconds added to each direction; what follows closely is late by as much, not by more."""
        return self._faults.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._faults.latency = seconds

    def black_hole(self) -> None:
        """Accept and read, forward nothing, hide even the server's end: a network that has gone away."""
        self._faults.loses = "everything"

    def drop_replies(self) -> None:
        """Let requests reach the server, and lose its replies."""
        self._faults.loses = "replies"

    def refuse(self) -> None:
        """Refuse new connections and reset those that exist: a server that has gone away."""
        if self._listening:
            self._stop_listening()
            self._listener = _bound_socket(self.port)  # bound and not listening: refuses, and keeps the port ours
        self.reset_all()

    def reset_all(self) -> None:
        """Reset (RST) every open connection."""
        for link in self._links:
            self._reset(link)

    def cut_after_request(self, match: bytes) -> None:
        """Let the server carry out the next piece of a request that contains `match`, then reset without its reply."""
        self._faults.cut_at = match

    def truncate_reply(self, size: int) -> None:
        """Give the client only `size` bytes of the next piece of a reply, then reset."""
        self._faults.truncate_to = size

    def garble(self, garbage: bytes = b"\x00\xff not a reply \r\n") -> None:
        """Put `garbage` in the place of the next piece of a reply."""
        self._faults.garbage = garbage

    def chop(self, size: int) -> None:
        """Forward in pieces of `size` bytes, with a turn of the event loop after each."""
        self._faults.chop = size

    def heal(self) -> None:
        """End all faults and listen again, on the same port; connections that have lost bytes are reset."""
        self._faults.end()
        if not self._listening:
            self._listen()
        for link in self._links:
            if link.holed or link.cut:
                self._reset(link)

    def saw_request(self, link: Link, data: bytes) -> None:
        """Count what a client has sent; subclasses may look at it too."""
        self.bytes_up += len(data)
        if self.recording:
            self.requests.append(data)

    def saw_reply(self, link: Link, data: bytes) -> None:
        """Count what a client is about to get; subclasses may look at it too."""
        self.bytes_down += len(data)

    def _listen(self) -> None:
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        self._listening = True

    def _stop_listening(self) -> None:
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listening = False

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone again
        self.connections += 1
        link = Link(client, socket.socket(self._family), self._faults, self)
        task = self._links[link] = asyncio.get_running_loop().create_task(link.run(self._address))
        task.add_done_callback(lambda _: self._ended(link))  # and not in run(): a task may be cancelled before it began

    def _ended(self, link: Link) -> None:
        del self._links[link]
        link.close()

    def _reset(self, link: Link) -> None:
        link.will_reset()
        self._links[link].cancel()


def _parse(upstream: str | tuple[str, int]) -> tuple[socket.AddressFamily, Any]:
    """Find the socket family and the address of a server."""
    if not isinstance(upstream, tuple):
        parts = urlsplit(upstream)
        if parts.scheme in ("", "unix"):
            return socket.AF_UNIX, parts.path
        if parts.scheme != "redis":
            raise ValueError(f"upstream must be redis://, unix://, a path or (host, port), not {parts.scheme}://")
        upstream = (parts.hostname or "127.0.0.1", parts.port or 6379)
    return socket.AF_INET6 if ":" in upstream[0] else socket.AF_INET, upstream


def _bound_socket(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.setblocking(False)
    return listener
