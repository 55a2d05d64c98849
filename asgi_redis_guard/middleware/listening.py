"""Listening for a client that leaves while a guard waits: nobody runs for who has gone, and nobody waits behind him.

Law: each message is received once and reaches the app once, in its order. What waits is never left with a result that
nobody takes: it runs in the caller's own task. Who listens is cancelled, as Starlette does to see who has left: servers
lose no message by that.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..core.asgi import Message, Receive
from ..core.steps import Wait
from .body import ClientGone
from .crumbs import Ahead
from .waits import wait_for

#: Bytes of a body that are read ahead to see whether the client leaves behind it; behind more it is not seen.
_MOST = 65_536

_LEAVES = frozenset(("http.disconnect", "websocket.disconnect"))


class Listening:
    """A `receive` for the app, which is listened to while guards wait."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead = Ahead()
        self._size = 0
        self._gone = False
        #: An app may wait for the server in a task of its own (Quart) while its route decides.
        self._turn = asyncio.Lock()

    async def __call__(self) -> Message:
        """The `receive` that the app gets."""
        async with self._turn:
            return self._ahead.popleft() if self._ahead else await self._receive()

    async def during(self, step: Wait) -> Any:
        """Wait as a guard asked; raises `ClientGone` if the client leaves meanwhile, and what `wait_for` does."""
        if self._gone:
            raise ClientGone
        patience = asyncio.timeout(None)
        listening: asyncio.Task[None] | None = None
        try:
            async with patience:
                listening = asyncio.ensure_future(self._listen(patience))
                listening.add_done_callback(_heard)
                return await wait_for(step)
        except TimeoutError:
            if not patience.expired():
                raise  # what was waited for failed with it
            raise ClientGone from None
        finally:
            if listening is not None:
                listening.cancel()

    async def _listen(self, patience: asyncio.Timeout) -> None:
        while self._size <= _MOST:
            async with self._turn:
                message = await self._receive()
                self._ahead.append(message)
                self._size += len(message.get("body", b""))
            if message["type"] in _LEAVES:
                self._gone = True
                patience.reschedule(asyncio.get_running_loop().time())
                return


def _heard(listening: asyncio.Task[None]) -> None:
    """Take note of what went wrong: the app gets it when it receives."""
    if not listening.cancelled():
        listening.exception()
