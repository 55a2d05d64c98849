"""The lifespan scope: connect before the app's startup, close after its shutdown, once for all on a manager.

Servers take an exception from it for "no lifespan here" and start all the same, so that what fails is told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.asgi import ASGIApp, Message, Receive, Scope, Send
from ..errors import ConfigurationError, GuardError
from ..redis.manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.middleware")

#: Configurations whose faults have been logged.
_told: set[tuple[str, ...]] = set()
_MOST_TOLD = 100

_OVER = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


async def guard_lifespan(
    app: ASGIApp, find: Callable[[], RedisManager], scope: Scope, receive: Receive, send: Send
) -> None:
    """Pass the protocol through to `app`, with the manager that `find` gives open while it runs."""
    entered = refused = False
    manager: RedisManager | None = None

    async def leave() -> None:
        nonlocal entered
        if entered and manager is not None:
            entered = False
            await manager.__aexit__(None, None, None)

    async def connected_receive() -> Message:
        nonlocal entered, refused, manager
        message = await receive()
        if message["type"] == "lifespan.startup" and not entered:
            try:
                manager = find()
                await manager.__aenter__()
                entered = True
            except GuardError as error:
                refused = True
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
        return message

    async def closing_send(message: Message) -> None:
        if message["type"] in _OVER:
            await leave()
        if not refused:
            await send(message)

    try:
        await app(scope, connected_receive, closing_send)
    finally:
        await leave()


@contextmanager
def faults_told() -> Iterator[None]:
    """Log a `ConfigurationError` on its way out, once, if a loop runs: it is likely to be a framework's lifespan call.

    Starlette builds its middlewares there, and again for each request while that fails.
    """
    try:
        yield
    except ConfigurationError as error:
        if error.faults not in _told and len(_told) < _MOST_TOLD and _in_loop():
            _told.add(error.faults)
            logger.error("the middleware cannot work:\n%s", error)
        raise


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
