"""An import for each user: one at a time, its progress as a stream, and no writes of one that has lost its lock.

Run it with `uvicorn examples.user_import:app`, on `REDIS_URL` or else on an embedded server:

    token=$(curl -sX POST 'localhost:8000/login?user=ann' | jq -r .access_token)
    curl -N -X POST 'localhost:8000/import?rows=50' -H "authorization: Bearer $token"    # and again, meanwhile: 409
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import jwt
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from asgi_redis_guard import GuardMiddleware, HeldLock, JWTAuth, RedisManager, locked

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))


class StaleFence(Exception):
    """Somebody with a higher fence has written already: whoever comes now has lost the lock and does not know it."""


class Store:
    """What would be a database: it takes rows, and refuses those under an older fence than it has seen.

    In SQL: `UPDATE owners SET fence = :fence WHERE id = :user AND fence <= :fence`, and no row means a stale one.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.fences: dict[str, int] = {}

    def write(self, user: str, row: int, fence: int) -> None:
        """Add a row of a user; raises `StaleFence`."""
        if fence < self.fences.get(user, 0):
            raise StaleFence(f"{fence} is older than {self.fences[user]}")
        self.fences[user] = fence
        self.rows.setdefault(user, []).append(row)


store = Store()

app = FastAPI()
app.add_middleware(GuardMiddleware, guards=[JWTAuth(SECRET, exempt=["/login"])], redis=redis)


@app.post("/login")
async def login(user: str) -> dict[str, str]:
    """Give anybody a token."""
    claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode(claims, SECRET)}


@app.post("/import")
@locked("import:{user}", ttl=30, on_busy=409)
async def start(request: Request, rows: int = 10) -> StreamingResponse:
    """Import rows, and tell of each.

    The lock is held until the last byte, however long that takes. Where it is lost meanwhile, the stream is cut off; a
    writer that was only paused, and knows nothing of it, is refused by the store.
    """
    return StreamingResponse(progress(request.user.identity, rows, request.scope["lock"]), media_type="text/plain")


async def progress(user: str, rows: int, lock: HeldLock) -> AsyncIterator[str]:
    """Write row by row under the fence of the lock."""
    for row in range(rows):
        await asyncio.sleep(0.02)
        store.write(user, row, lock.fence)
        yield f"{row + 1} of {rows}\n"


@locked("nightly-cleanup", wait=0, redis=redis)
async def clean_up() -> int:
    """Forget what was imported; a job calls this, in every process, and one of them does it at a time."""
    forgotten = sum(map(len, store.rows.values()))
    store.rows.clear()
    return forgotten
