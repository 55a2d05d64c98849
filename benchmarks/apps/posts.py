"""One route that is posted to, behind the guard that `BENCH_GUARD` names, or none."""

import os

from fastapi import FastAPI
from pydantic import BaseModel

from asgi_redis_guard import GuardMiddleware, RedisManager, RouteLock

from . import REDIS_URL

app = FastAPI()


class Order(BaseModel):
    """What is posted."""

    amount: int
    text: str


@app.post("/orders/{id}")
async def order(id: int, order: Order) -> dict[str, object]:
    """Do nothing, and say so."""
    return {"id": id, "amount": order.amount, "state": "done"}


guard = os.environ.get("BENCH_GUARD", "")
if guard == "lock":
    app.add_middleware(GuardMiddleware, guards=(RouteLock("order:{path}", wait=5),), redis=RedisManager(REDIS_URL))
elif guard == "idempotency":
    from asgi_redis_guard import Idempotency

    app.add_middleware(GuardMiddleware, guards=(Idempotency(key="address"),), redis=RedisManager(REDIS_URL))
elif guard == "limit":
    from asgi_redis_guard import RateLimit

    app.add_middleware(GuardMiddleware, guards=(RateLimit("10000000/minute"),), redis=RedisManager(REDIS_URL))
elif guard:
    raise SystemExit(f"BENCH_GUARD: no {guard!r}")
