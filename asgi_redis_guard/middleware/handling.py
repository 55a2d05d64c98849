"""Running the app behind its guards: its end and its cancellation, and what responders may do to it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from ..core.asgi import ASGIApp, Message, Receive, Scope
from ..core.responder import Close, Responder
from ..core.script import Operation
from ..core.steps import Answer, Asking
from ..errors import ResponseAborted
from .delivery import Delivery
from .detached import run_detached
from .ending import carry_out
from .receiving import Receiving
from .trips import RoundTrips
from .vigil import Vigil

logger = logging.getLogger("asgi_redis_guard.middleware")


class Released(Protocol):
    """A client whose leaving may be kept from the app."""

    def release(self) -> None: ...


class Handling:
    """One run of the app with responders; the `Control` that they are bound to."""

    _answer: Answer | None = None
    _task: asyncio.Task[Any] | None = None
    _cancelling = 0
    #: Tasks other than the app's that call functions of routes: not every framework passes a cancellation on to them.
    _callers: Sequence[asyncio.Task[Any]] = ()
    _vigil: Vigil | None = None
    client: Released | None = None

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        trips: RoundTrips,
        receive: Receive,
        delivery: Delivery,
    ) -> None:
        self._app = app
        self._scope = scope
        self._trips = trips
        self._delivery = delivery
        self._receiving = Receiving(receive, delivery, trips)

    async def run(self) -> None:
        """Run the app to its end; responders get theirs whatever happens."""
        delivery = self._delivery
        try:
            if delivery.hooks.binds:
                self._bind()
            await self._run_app()
            if delivery.aborted:
                raise ResponseAborted("a responder failed while the body was sent") from delivery.failure
        except BaseException as error:
            delivery.end(error)
            raise
        finally:
            self._task = None
            self._receiving.stop()
            if self._vigil is not None:
                self._vigil.end()
        delivery.end()

    def _note_task(self) -> None:
        """Note what is to be cancelled, and how often that was asked for already by others."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def note_caller(self) -> None:
        """Note that a route's function is called in this task."""
        task = asyncio.current_task()
        if task is not None and task is not self._task and task not in self._callers:
            self._callers = (*self._callers, task)

    async def stop_if_cancelled(self) -> None:
        """End the work of a task whose handler a responder has cancelled, before it goes on."""
        if self._answer is not None:
            await asyncio.sleep(0)  # where it is the task that was cancelled, that arrives here
            raise asyncio.CancelledError

    def _bind(self) -> None:
        self._note_task()
        for place in self._delivery.hooks.binds:
            self._delivery.responders[place].bind(self)

    async def _run_app(self) -> None:
        if self._answer is not None:  # cancelled as soon as responders were bound: the app does not run
            await self._absorb()
            await self._answer_instead()
            return
        try:
            await self._call_app()
        except asyncio.CancelledError:
            if not self._was_ours():
                raise
            await self._answer_instead()
        except Exception as error:
            if not await self._rescue(error):
                raise
        else:
            if self._answer is not None:
                await self._absorb()
                if not self._delivery.started:
                    await self._answer_instead()

    async def _rescue(self, error: Exception) -> bool:
        """Let a responder answer for an app that failed before the head; true if one did."""
        delivery = self._delivery
        if delivery.started or delivery.ended or self._answer is not None:
            return False
        for place in delivery.hooks.rescue:
            answer = self._delivery.responders[place].rescue(error)
            if answer is not None:
                logger.error("the app failed; a stored response is sent instead", exc_info=error)
                await delivery.answer(answer)
                return True
        return False

    def _call_app(self) -> Awaitable[None]:
        receive = self.receive if self._delivery.hooks.watches else self._receiving.source
        # Routers write into the scope they get: a background run must not find their traces, and responders must.
        if self._delivery.hooks.binds:
            self._delivery.scope = dict(self._scope)
        return self._app(self._delivery.scope, receive, self._delivery.send)

    def receive(self) -> Awaitable[Message]:
        """The `receive` that the app gets where responders see what it does."""
        return self._receiving.receive()

    # Control.

    def cancel(self, answer: Answer) -> None:
        """Cancel the handler; `answer` is sent if the head was not, else the connection is aborted."""
        if self._task is not None and self._answer is None and not self._delivery.ended:
            self._answer = answer
            for task in (self._task, *self._callers):
                task.cancel()

    def rerun(self, responder: Responder) -> None:
        """Run the app once more in the background, detached from the client."""
        self._trips.manager.spawn(run_detached(self._app, self._scope, [responder], self._trips, Handling))

    def close(self, close: Close) -> None:
        """Close the WebSocket, towards the client and the app."""
        if self._scope["type"] == "websocket" and not self._delivery.ended:
            self._trips.manager.spawn(self._close(close))

    async def _close(self, close: Close) -> None:
        delivery = self._delivery
        if not delivery.ended and not delivery.deaf:
            await delivery.send({"type": "websocket.close", "code": close.code, "reason": close.reason})
            delivery.deaf = True
            if self._vigil is not None:
                self._vigil.end()

    def clock(self) -> float:
        """Return the present time by the engine's clock."""
        return self._trips.clock()

    @property
    def data_lost(self) -> bool:
        """True while Redis is known to have lost revocations."""
        return self._trips.data_lost

    def has_body(self) -> bool:
        """Tell whether the app has got anything of a request body."""
        return self._receiving.fed

    def spawn(self, flow: Asking) -> None:
        """Carry out what a responder asks, in the background."""
        self._trips.manager.spawn(carry_out([flow], self._trips))

    def release(self) -> None:
        """Let the client's leaving count again."""
        if self.client is not None:
            self.client.release()

    @property
    def vigil(self) -> Vigil:
        """What is watched for this exchange."""
        if self._vigil is None:
            self._vigil = Vigil(self._trips)
        return self._vigil

    def watch(
        self, topic: str, key: bytes, ended: Callable[[], None], lives: Callable[[bytes], Awaitable[float]]
    ) -> None:
        """Watch a key until the exchange ends."""
        self.vigil.watch(topic, key, ended, lives)

    def suspect(self, topic: str, keys: Iterable[bytes], look: Callable[[bool], Asking]) -> Callable[[], None]:
        """Have `look` carried out when one of `keys` is named, until the exchange ends."""
        return self.vigil.suspect(topic, keys, look)

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call at a time, if the exchange lasts until then."""
        self.vigil.at(time, call)

    def keep(self, operation: Operation, ttl: float, lost: Callable[[], None]) -> None:
        """Keep a lease until the exchange ends."""
        self._delivery.keep(self._trips.manager.leases.keep(operation, ttl, lost))

    def _was_ours(self) -> bool:
        """Tell whether the cancellation that arrived is the one that was asked for here, and take it back."""
        return self._answer is not None and self._task is not None and self._task.uncancel() <= self._cancelling

    async def _absorb(self) -> None:
        """Take a cancellation back that the app swallowed, or that came as it returned; the server's own goes on."""
        if self._task is None or self._task.cancelling() <= self._cancelling:
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if self._task.uncancel() > self._cancelling:
            raise asyncio.CancelledError

    async def _answer_instead(self) -> None:
        delivery, answer = self._delivery, self._answer
        if answer is None or delivery.started:
            raise ResponseAborted("the handler was cancelled after its response had begun")
        await delivery.answer(answer)
