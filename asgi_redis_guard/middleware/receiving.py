"""The way of a request in: disconnects are noted, WebSocket messages shown to responders before the app gets them."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from ..core.asgi import Message, Receive
from ..core.responder import Close
from ..core.steps import Wait
from ..errors import RedisUnavailable, WaitTimeout
from .delivery import Delivery
from .trips import RoundTrips
from .waits import wait_for


class Receiving:
    """What one run of the app receives: what comes from `source`, which may be put in place of another one."""

    _showing: asyncio.Task[Message | Close | None] | None = None
    #: Whether the app has got anything of a request body.
    fed = False

    def __init__(self, source: Receive, delivery: Delivery, trips: RoundTrips) -> None:
        self.source = source
        self._delivery = delivery
        self._trips = trips

    async def receive(self) -> Message:
        """The `receive` that the app gets.

        An app that gives up waiting (`asyncio.timeout`) while a message is shown gets it the next time.
        """
        while True:
            if self._showing is None:
                message = await self.source()
                kind = message["type"]
                if kind in ("http.disconnect", "websocket.disconnect"):
                    self._delivery.disconnected = True
                    return message
                if kind != "websocket.receive" or not self._delivery.hooks.receive:
                    self.fed = self.fed or bool(message.get("body"))
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

    def stop(self) -> None:
        """Show nothing more: the app has ended."""
        if self._showing is not None:
            self._showing.cancel()

    async def _show(self, message: Message) -> Message | Close | None:
        seen: Message | Close | None = message
        for place in self._delivery.hooks.receive:
            if seen is None or isinstance(seen, Close):
                break
            step = self._delivery.responders[place].receive(seen)
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


def _heard(showing: asyncio.Task[Any]) -> None:
    """Take note of what went wrong: an app that has ended does not ask."""
    if not showing.cancelled():
        showing.exception()
