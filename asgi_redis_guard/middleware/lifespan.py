"""The lifespan scope: connect before the app's startup, close after its shutdown, once for all on a manager."""

from __future__ import annotations

from ..core.asgi import ASGIApp, Message, Receive, Scope, Send
from ..errors import GuardError
from ..redis.manager import RedisManager

_OVER = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


async def guard_lifespan(app: ASGIApp, manager: RedisManager, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the protocol through to `app`, with the manager open for as long as the app runs."""
    entered = refused = False

    async def leave() -> None:
        nonlocal entered
        if entered:
            entered = False
            await manager.__aexit__(None, None, None)

    async def connected_receive() -> Message:
        nonlocal entered, refused
        message = await receive()
        if message["type"] == "lifespan.startup" and not entered:
            entered = True
            try:
                await manager.__aenter__()
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
