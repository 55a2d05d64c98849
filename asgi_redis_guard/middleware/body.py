"""Reading a request body ahead of the app, and giving the app all of it again."""

from __future__ import annotations

from ..core.asgi import Message, Receive
from ..errors import GuardError
from .crumbs import Ahead


class ClientGone(GuardError):
    """The client disconnected in the middle of its body: there is nobody to answer."""


class RequestBody:
    """A `receive` that remembers what was read ahead and replays it, then goes on with the real one."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages = Ahead()
        self._size = 0
        self._complete = False

    async def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None if it is longer than `limit` bytes. Raises `ClientGone`."""
        while not self._complete and self._size <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            self._messages.append(message)
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        if self._size > limit:
            return None
        return b"".join(message.get("body", b"") for message in self._messages)

    async def __call__(self) -> Message:
        return self._messages.popleft() if self._messages else await self._receive()
