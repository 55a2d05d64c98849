"""Caching: a dashboard for everybody, a page for each user, a value; all forgotten when something is written.

Run it with `uvicorn examples.cached_dashboard:app`, on `REDIS_URL` or else on an embedded server:

    token=$(curl -sX POST 'localhost:8000/login?user=ann' | jq -r .access_token)
    curl -i localhost:8000/dashboard -H "authorization: Bearer $token"    # twice, and look at Cache-Status
    curl -X POST 'localhost:8000/sales?amount=5' -H "authorization: Bearer $token"
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import jwt
from fastapi import FastAPI, Request

from asgi_redis_guard import Cache, GuardMiddleware, JWTAuth, RedisManager, ResponseCache, cached, invalidates

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
responses = ResponseCache(ignore_query=["utm_*"])
values = Cache(redis, namespace="dashboard", responses=responses)

#: What would be a database, and how often each of its slow queries ran.
SALES: list[tuple[str, int]] = []
queries: Counter[str] = Counter()


@values.cached(3600, tags=["rates"], swr=600, sie=86_400)
async def rate(currency: str) -> float:
    """Ask somebody else's service; where it is away, yesterday's rate will do."""
    queries["rate"] += 1
    await asyncio.sleep(0.05)
    return {"EUR": 1.0, "USD": 1.25}[currency]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have the rates before there are requests."""
    await values.warm([lambda: rate("EUR"), lambda: rate("USD")])
    yield


app = FastAPI(lifespan=lifespan)
# The cache stands behind who verifies tokens: a hit has passed that too, in the same round trip.
app.add_middleware(GuardMiddleware, guards=[JWTAuth(SECRET, exempt=["/login"]), responses], redis=redis)


@app.post("/login")
async def login(user: str) -> dict[str, str]:
    """Give anybody a token."""
    claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode(claims, SECRET)}


@app.get("/dashboard")
@cached(300, public=True, tags=["sales", "rates"], swr=30, sie=600)
async def dashboard(currency: str = "EUR") -> dict[str, float]:
    """Add everything up: the same for everybody who may see it, which `public` says."""
    queries["dashboard"] += 1
    await asyncio.sleep(0.05)
    return {"total": sum(amount for _, amount in SALES) * await rate(currency)}


@app.get("/mine")
@cached(300, user_aware=True, tags=["sales of {user}"])
async def mine(request: Request) -> dict[str, int | str]:
    """What one user has sold: kept for each, and told to the outside as private."""
    queries["mine"] += 1
    user = request.user.identity
    return {"user": user, "total": sum(amount for seller, amount in SALES if seller == user)}


@app.post("/sales")
@invalidates("sales", "sales of {user}")
async def sell(request: Request, amount: int) -> None:
    """Write; whoever has seen the answer sees what was written, in every process."""
    SALES.append((request.user.identity, amount))


@app.post("/rates")
async def new_rates() -> None:
    """Forget the rates and what was made of them; a job would do the same, from outside of any request."""
    await values.invalidate(["rates"])
