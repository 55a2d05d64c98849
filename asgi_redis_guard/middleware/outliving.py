"""A run of the app that may outlive its client: the app in a task of its own, the client served by the request's.

As long as a responder wants the rest, nothing that the client does reaches the app: it may leave, or read slowly, and
others who wait for the same response have it all the same. What waits for a slow reader is what that responder keeps
anyway. Once it says `Control.release`, all is as without it: the app waits for the client, and hears that it has left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from ..core.asgi import ASGIApp, Message, Receive, Scope, Send
from ..core.responder import Responder
from ..errors import ResponseAborted
from .delivery import Delivery
from .handling import Handling
from .trips import RoundTrips

logger = logging.getLogger("asgi_redis_guard.middleware")


class Client:
    """The client as the app sees it, whether it is still there or not."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Message] = deque()
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._sent: asyncio.Future[None] | None = None
        self._released: asyncio.Future[None] = self._loop.create_future()
        self._tells: asyncio.Future[None] = self._loop.create_future()
        self._failure: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    @property
    def wanted(self) -> bool:
        """True while the rest of the response is wanted, client or not."""
        return not self._released.done()

    def release(self) -> None:
        """Let the client's leaving count again."""
        if self.wanted:
            self._released.set_result(None)
            self.finish()
            if self._cancelled and self._task is not None:
                self._task.cancel()

    def finish(self) -> None:
        """Let the app hear that the client has left: there is no rest that anybody could want. Some wait for it."""
        if not self._tells.done():
            self._tells.set_result(None)

    async def receive(self) -> Message:
        """The app's `receive`: that the client has left is told when it counts."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            await asyncio.shield(self._tells)
        return message

    async def send(self, message: Message) -> None:
        """The app's `send`."""
        if self._failure is not None or self._cancelled:
            if not self.wanted:
                raise self._failure or OSError("the client has left")
            return
        self._queue.append(message)
        self._tell()
        if not self.wanted:
            self._sent = self._sent or self._loop.create_future()
            await asyncio.shield(self._sent)
            if self._failure is not None:
                raise self._failure

    async def serve(self, task: asyncio.Task[None]) -> None:
        """Send what the app sends until its `task` has ended; raises what it raises."""
        self._task = task
        task.add_done_callback(lambda _: self._tell())
        try:
            await self._pump(task)
        except asyncio.CancelledError:
            await self._cancel(task)
            raise
        except Exception as error:
            self._failure = error
            self._leave()
            if self.wanted:
                task.add_done_callback(_heard)
                return
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError:
                await self._cancel(task)
                raise
        if not task.cancelled() and (raised := task.exception()) is not None:
            raise raised

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        """Let the server's cancellation reach the app: at once, or when the rest is wanted no more."""
        self._leave()
        self._cancelled = True
        task.add_done_callback(_heard)
        if not self.wanted:
            task.cancel()
            await asyncio.wait((task,))

    async def _pump(self, task: asyncio.Task[None]) -> None:
        while True:
            while self._queue:
                await self._send(self._queue.popleft())
            if self._sent is not None:
                self._sent.set_result(None)
                self._sent = None
            if task.done():
                return
            await self._news
            self._news = self._loop.create_future()

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def _leave(self) -> None:
        """Send nothing more; an app that waits for its message to be sent goes on."""
        self._queue.clear()
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)


async def outlive(
    make: Callable[..., Handling],
    app: ASGIApp,
    scope: Scope,
    responders: Sequence[Responder],
    trips: RoundTrips,
    receive: Receive,
    send: Send,
    spent: float,
) -> None:
    """Run `app` for responders of which one wants the whole response, whatever the client does.

    `spent` is what the exchange has used up of its time for Redis, in seconds.
    """
    client = Client(receive, send)
    delivery = Delivery(scope, responders, trips, client.send)
    delivery.spent = spent
    delivery.on_end = client.finish
    handling = make(app, scope, trips, client.receive, delivery)
    handling.client = client
    task = trips.manager.spawn(_run(handling, client))
    await client.serve(task)


def _heard(task: asyncio.Task[None]) -> None:
    """Tell what went wrong after the client had left: nobody awaits it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        if isinstance(error, ResponseAborted | OSError):
            logger.debug("a response was given up after its client had left: %s", error)
        else:
            logger.error("the app failed after its client had left", exc_info=error)


async def _run(handling: Handling, client: Client) -> None:
    try:
        await handling.run()
    finally:
        client.release()
