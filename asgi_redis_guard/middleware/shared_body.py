"""A request body that the app and guards on its routes read, each all of it, in whatever order.

Law: each message is received once and reaches the app once, in its order; only one of them waits for the server at a
time. What the app has got is remembered up to a size, as references to the same bytes, and dropped beyond it.
"""

from __future__ import annotations

import asyncio

from ..core.asgi import Message, Receive
from ..errors import GuardProtocolError
from .body import ClientGone
from .crumbs import Ahead, Chunks


class SharedBody:
    """A `receive` for the app, of which a guard may `read` what has been and what is to come.

    `keep` is how many bytes are remembered that the app gets before a guard has asked.
    """

    def __init__(self, receive: Receive, keep: int = 0) -> None:
        self._receive = receive
        self._keep = keep
        #: What has come of the body; None as soon as it was too much.
        self._chunks: Chunks | None = Chunks()
        self._size = 0
        self._complete = self._gone = False
        #: What was read for a guard, and the app is still to get.
        self._ahead = Ahead()
        #: An app may wait for the server in a task of its own (Quart) while its route decides.
        self._turn = asyncio.Lock()

    async def __call__(self) -> Message:
        """The `receive` that the app gets."""
        async with self._turn:
            return self._ahead.popleft() if self._ahead else await self._next(self._keep)

    async def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None if it is longer than `limit` bytes.

        Raises `ClientGone` if the client has disconnected in the middle of it, whoever was told, and
        `GuardProtocolError` where what the app has read was not kept, though it is within the limit.
        """
        while self._goes_on(limit):
            async with self._turn:
                if self._goes_on(limit):  # the app may have seen the end while it had the turn
                    self._ahead.append(await self._next(None))
        if self._gone and not self._complete:
            raise ClientGone
        if self._size > limit:
            return None
        if self._chunks is None:
            raise GuardProtocolError("the body, of which the app has read more than was kept for it")
        return bytes(self._chunks)

    def _goes_on(self, limit: int) -> bool:
        return not self._complete and not self._gone and self._size <= limit

    async def _next(self, keep: int | None) -> Message:
        """Receive a message; of a body that is longer than `keep`, if that is a number, nothing is remembered."""
        message = await self._receive()
        if message["type"] != "http.request":
            self._gone = True
            return message
        chunk = message.get("body", b"")
        self._size += len(chunk)
        if keep is not None and self._size > keep:
            self._chunks = None
        elif self._chunks is not None:
            self._chunks.append(chunk)
        self._complete = not message.get("more_body", False)
        return message
