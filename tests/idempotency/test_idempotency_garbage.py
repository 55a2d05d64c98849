"""What an idempotent request leaves behind in its process."""

from itertools import count

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.idempotency.guard import Idempotency
from tests.drive import call, http_scope
from tests.garbage import garbage_of


async def test_a_request_leaves_nothing_to_the_collector_of_garbage(redis_url: str) -> None:
    async def charge(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"charged"})

    async def again() -> None:
        scope = http_scope("/charges", {"idempotency-key": f"key-{next(numbers)}"}, method="POST")
        assert (await call(app, scope, b"{}")).status == 201

    numbers = count()
    async with RedisManager(redis_url) as redis:
        app = GuardMiddleware(charge, [Idempotency(key="address")], redis=redis)
        assert await garbage_of(again) < 1
