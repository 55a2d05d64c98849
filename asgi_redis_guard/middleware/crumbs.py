"""Pieces of a request body that wait in a process: a client that sends crumbs must not make it keep millions of them.

Law: every byte once and in its order. Pieces stay as they came, as references to the same bytes, unless they are many:
then runs of them are joined.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..core.asgi import Message

#: Pieces that are joined into one: a message of a single byte takes some 300 bytes of memory.
_RUN = 256


class Chunks:
    """The bytes of a body as far as it has come."""

    __slots__ = ("_chunks", "_joined")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._joined = 0

    def append(self, chunk: bytes) -> None:
        """Add what comes next."""
        self._chunks.append(chunk)
        if len(self._chunks) - self._joined == _RUN:
            self._chunks[self._joined :] = [b"".join(self._chunks[self._joined :])]
            self._joined += 1

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)


class Ahead:
    """Messages of a body that were received ahead of the app, first in, first out."""

    __slots__ = ("_loose", "_messages")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        #: How many at the end are not joined yet.
        self._loose = 0

    def append(self, message: Message) -> None:
        """Add the next message; nothing comes after one that is not of the body."""
        self._messages.append(message)
        self._loose += 1
        if self._loose == _RUN and message["type"] == "http.request":
            self._join()

    def popleft(self) -> Message:
        """Take the first."""
        message = self._messages.popleft()
        self._loose = min(self._loose, len(self._messages))
        return message

    def _join(self) -> None:
        run = [self._messages.pop() for _ in range(_RUN)]
        more = run[0].get("more_body", False)
        body = b"".join([message.get("body", b"") for message in reversed(run)])
        self._messages.append({"type": "http.request", "body": body, "more_body": more})
        self._loose = 0

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)
