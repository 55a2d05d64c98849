"""A run of the app that nobody waits for: with an empty request body, for its responders alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..core.asgi import ASGIApp, Message, Scope
from ..core.responder import Responder
from ..errors import ResponseAborted
from .delivery import Delivery
from .trips import RoundTrips

if TYPE_CHECKING:
    from .handling import Handling

logger = logging.getLogger("asgi_redis_guard.middleware")


class _Nobody:
    """The client of such a run. It has left once the response is through: some apps wait for that."""

    def __init__(self) -> None:
        self._asked = False
        self._through: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        self._through.set_result(None)

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.shield(self._through)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Nobody listens."""


async def run_detached(
    app: ASGIApp, scope: Scope, responders: Sequence[Responder], trips: RoundTrips, make: Callable[..., Handling]
) -> None:
    """Run `app` with an empty request body and nobody to send to; only `responders` see the response.

    `make` makes the run. What goes wrong is logged: nobody awaits it.
    """
    scope, nobody = dict(scope), _Nobody()
    try:
        delivery = Delivery(scope, responders, trips, nobody.send)
        delivery.on_end = nobody.leave
        await make(app, scope, trips, nobody.receive, delivery).run()
    except ResponseAborted as error:
        logger.debug("a background run was given up: %s", error)
    except Exception:
        logger.exception("the app failed in a background run")
