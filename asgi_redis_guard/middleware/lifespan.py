"""The lifespan scope: connect before the app's startup, close after its shutdown, once for all on a manager."""

from __future__ import annotations

from collections.abc import Callable

from ..core.asgi import ASGIApp, Message, Receive, Scope, Send
from ..errors import GuardError
from ..redis.manager import RedisManager

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
            except GuardError as error:  # servers take a mere exception for "no lifespan here" and start all the same
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
