"""Running the app behind its guards: what it receives, its cancellation, its background runs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ..core.asgi import ASGIApp, Message, Receive, Scope
from ..core.responder import Close, Responder
from ..core.script import Operation
from ..core.steps import Answer, Asking, Wait
from ..errors import RedisUnavailable, ResponseAborted, WaitTimeout
from ..pubsub.feed import Watch
from .delivery import Delivery
from .ending import carry_out
from .trips import RoundTrips

logger = logging.getLogger("asgi_redis_guard.middleware")


class Released(Protocol):
    """A client whose leaving may be kept from the app."""

    def release(self) -> None: ...


class Handling:
    """One run of the app with responders; the `Control` that they are bound to."""

    _answer: Answer | None = None
    _task: asyncio.Task[Any] | None = None
    _cancelling = 0
    _watches: Sequence[Watch] = ()
    _showing: asyncio.Task[Message | Close | None] | None = None
    client: Released | None = None
    _fed = False

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        responders: Sequence[Responder],
        trips: RoundTrips,
        receive: Receive,
        delivery: Delivery,
    ) -> None:
        self._app = app
        self._scope = scope
        self._trips = trips
        self._receive = receive
        self._responders = responders
        self._delivery = delivery

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
            if self._showing is not None:
                self._showing.cancel()
            for watch in self._watches:
                self._trips.manager.pubsub.feed.unwatch(watch)
        delivery.end()

    def _note_task(self) -> None:
        """Note what is to be cancelled, and how often that was asked for already by others."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def _bind(self) -> None:
        self._note_task()
        for place in self._delivery.hooks.binds:
            self._responders[place].bind(self)

    async def _run_app(self) -> None:
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
            answer = self._responders[place].rescue(error)
            if answer is not None:
                logger.error("the app failed; a stored response is sent instead", exc_info=error)
                await delivery.answer(answer)
                return True
        return False

    def _call_app(self) -> Awaitable[None]:
        receive = self.receive if self._delivery.hooks.watches else self._receive
        # Routers write into the scope they get: a background run must not find their traces, and responders must.
        if self._delivery.hooks.binds:
            self._delivery.scope = dict(self._scope)
        return self._app(self._delivery.scope, receive, self._delivery.send)

    async def receive(self) -> Message:
        """The `receive` that the app gets: disconnects are noted, WebSocket messages shown to responders.

        An app that gives up waiting (`asyncio.timeout`) while a message is shown gets it the next time.
        """
        while True:
            if self._showing is None:
                message = await self._receive()
                kind = message["type"]
                if kind in ("http.disconnect", "websocket.disconnect"):
                    self._delivery.disconnected = True
                    return message
                if kind != "websocket.receive" or not self._delivery.hooks.receive:
                    self._fed = self._fed or bool(message.get("body"))
                    return message
                self._showing = asyncio.ensure_future(self._show(message))
                self._showing.add_done_callback(_heard)
            seen = await asyncio.shield(self._showing)
            self._showing = None
            if isinstance(seen, Close):
                await self._delivery.send({"type": "websocket.close", "code": seen.code, "reason": seen.reason})
                self._delivery.deaf = True
                return {"type": "websocket.disconnect", "code": seen.code, "reason": seen.reason}
            if seen is not None:
                return seen

    async def _show(self, message: Message) -> Message | Close | None:
        seen: Message | Close | None = message
        for place in self._delivery.hooks.receive:
            if seen is None or isinstance(seen, Close):
                break
            step = self._responders[place].receive(seen)
            seen = await self._drive(step) if inspect.isgenerator(step) else step
        return seen

    async def _drive(self, flow: Any) -> Message | Close | None:
        """Carry out what a responder asks before it lets a message through."""
        result: Any = None
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._do(step)
                except (RedisUnavailable, WaitTimeout) as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            passed: Message | Close | None = stop.value
            return passed

    async def _do(self, step: Any) -> Any:
        if isinstance(step, Wait):
            return await wait_for(step)
        (replies,) = await self._trips.perform([step])
        if isinstance(replies, RedisUnavailable):
            raise replies
        return replies

    # Control.

    def cancel(self, answer: Answer) -> None:
        """Cancel the handler; `answer` is sent if the head was not, else the connection is aborted."""
        if self._task is not None and self._answer is None and not self._delivery.ended:
            self._answer = answer
            self._task.cancel()

    def rerun(self, responder: Responder) -> None:
        """Run the app once more in the background, detached from the client."""
        self._trips.manager.spawn(run_detached(self._app, self._scope, [responder], self._trips))

    def close(self, close: Close) -> None:
        """Close the WebSocket, towards the client and the app."""
        if self._scope["type"] == "websocket" and not self._delivery.ended:
            self._trips.manager.spawn(self._close(close))

    async def _close(self, close: Close) -> None:
        delivery = self._delivery
        if not delivery.ended and not delivery.deaf:
            await delivery.send({"type": "websocket.close", "code": close.code, "reason": close.reason})
            delivery.deaf = True

    def clock(self) -> float:
        """Return the present time by the engine's clock."""
        return self._trips.clock()

    def has_body(self) -> bool:
        """Tell whether the app has got anything of a request body."""
        return self._fed

    def perform(self, flow: Asking) -> None:
        """Carry out what a responder asks, in the background."""
        self._trips.manager.spawn(carry_out([flow], self._trips))

    def release(self) -> None:
        """Let the client's leaving count again."""
        if self.client is not None:
            self.client.release()

    def watch(
        self, topic: str, key: bytes, ended: Callable[[], None], lives: Callable[[bytes], Awaitable[float]]
    ) -> None:
        """Watch a key until the exchange ends."""
        watch = Watch(topic, key, ended, lives)
        self._trips.manager.pubsub.feed.watch(watch)
        self._watches = (*self._watches, watch)

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


def _heard(showing: asyncio.Task[Any]) -> None:
    """Take note of what went wrong: an app that has ended does not ask."""
    if not showing.cancelled():
        showing.exception()


async def wait_for(step: Wait) -> Any:
    """Wait as a guard asked; raises `WaitTimeout`."""
    if step.what is None:
        return await asyncio.sleep(step.deadline)
    try:
        async with asyncio.timeout(step.deadline):
            return await step.what.wait()
    except TimeoutError:
        raise WaitTimeout(f"nothing within {step.deadline:g} s") from None


async def run_detached(
    app: ASGIApp,
    scope: Scope,
    responders: Sequence[Responder],
    trips: RoundTrips,
    handling: Callable[..., Handling] = Handling,
) -> None:
    """Run `app` with an empty request body and nobody to send to; only `responders` see the response.

    What goes wrong is logged: nobody awaits it.
    """
    asked = False
    through: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.shield(through)  # some apps wait until the client has left
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody listens."""

    scope = dict(scope)
    try:
        delivery = Delivery(scope, responders, trips, send)
        delivery.on_end = lambda: through.set_result(None)
        await handling(app, scope, responders, trips, receive, delivery).run()
    except ResponseAborted as error:
        logger.debug("a background run was given up: %s", error)
    except Exception:
        logger.exception("the app failed in a background run")
