"""Apps that wait until the client has left, as Litestar's streams do, end when their response is through."""

import asyncio
from typing import Any

from asgi_redis_guard import Answer, Control, GuardMiddleware, Responder
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.guards import Ends, answering, passing
from tests.middleware.calls import GONE, Call, TestRedis, responding, settled


class App:
    """Sends its response, then waits for the client to leave; keeps what it has received."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.go_on = asyncio.Event()
        self.listening = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received.append((await receive())["type"])
        sending = asyncio.ensure_future(self.respond(scope, receive, send))
        self.listening.set()
        self.received.append((await receive())["type"])
        await sending

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go_on.wait()
        self.received.append("sent")
        await responding(b"one", b"two")(scope, receive, send)


class Wants(Responder):
    """Wants the rest, whatever the client does."""

    outlives = True

    def bind(self, control: Control) -> None:
        pass


async def test_a_run_that_outlives_its_client(redis: TestRedis) -> None:
    app = App()
    call = Call(GuardMiddleware(app, [passing(Wants())], redis=redis)).start()
    await app.listening.wait()
    call.feed(GONE)
    app.go_on.set()
    await call.task
    assert app.received == ["http.request", "sent", "http.disconnect"]
    assert call.body == b"onetwo"


async def test_a_run_in_the_background(redis: TestRedis) -> None:
    app = App()
    app.go_on.set()
    stale = Answer(200, [], b"stale", background=Ends())
    await Call(GuardMiddleware(app, [answering(stale)], redis=redis)).run()
    await settled(redis)
    assert app.received == ["http.request", "sent", "http.disconnect"]
