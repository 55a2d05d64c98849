"""A head that is kept back until its body is there, for responders that want to see that whole.

What is made bit by bit cannot be waited for by those who do not hold streams: somebody reads it as it comes.
"""

from __future__ import annotations

from ..core.asgi import Message
from .hooks import Hooks


class Held:
    """One head, and what has come of its body."""

    __slots__ = ("_chunks", "_most", "_size", "_streams", "content", "head")

    def __init__(self, head: Message, most: int, streams: int) -> None:
        self.head = head
        #: The whole body, once it is there; None if it is too long, or not waited for.
        self.content: bytes | None = None
        self._most = most
        self._streams = streams
        self._chunks: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes, more: bool) -> bool:
        """Take a part of the body; tell whether to wait for more."""
        if more and not self._chunks and not _has(self.head, b"content-length"):
            self._most = self._streams
        self._chunks.append(chunk)
        self._size += len(chunk)
        fits = self._size <= self._most
        if fits and not more:
            self.content = self.body
        return fits and more and self._most > 0

    @property
    def body(self) -> bytes:
        """All that has come."""
        return b"".join(self._chunks)


def hold(head: Message, hooks: Hooks) -> Held | None:
    """Keep a head back; None for one that has to go out at once."""
    is_stream = head.get("trailers") or _has(head, b"content-type", b"text/event-stream")
    most = hooks.hold_streams if is_stream else hooks.hold
    return Held(head, most, hooks.hold_streams) if most else None


def _has(head: Message, name: bytes, start: bytes = b"") -> bool:
    return any(key.lower() == name and value.lower().startswith(start) for key, value in head.get("headers") or ())
