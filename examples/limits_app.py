"""Limits: failed log-ins with a ban, tokens of a language model by tier, streams side by side, an admin's view.

Run it with `uvicorn examples.limits_app:app`, on `REDIS_URL` or else on an embedded server:

    curl localhost:8000/login -H 'content-type: application/json' -d '{"user": "ann", "password": "anns"}'
    curl -iN 'localhost:8000/chat?max_tokens=20' -H 'authorization: Bearer …' -d 'a few words to be said again'
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import jwt
from fastapi import Body, FastAPI, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.authentication import requires

from asgi_redis_guard import (
    Ban,
    Charge,
    ConcurrencyLimit,
    Exchange,
    GuardMiddleware,
    JWTAuth,
    LimitStatus,
    RateLimit,
    RateLimitAdmin,
    RedisManager,
    rate_limit,
)

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

#: Tokens of the model.
TIERS = {"free": "10000/hour", "pro": "200000/hour"}
MOST_ANSWERED = 1_000
MOST_ASKED = 4_000


@dataclass
class Account:
    """A row of the user table, where there would be a hash of the password."""

    password: str
    tier: str = "free"
    scope: str = ""


ACCOUNTS = {"ann": Account("anns"), "bob": Account("bobs"), "root": Account("roots", scope="admin")}


def allowance(exchange: Exchange) -> str:
    """What the tier in the verified token allows. What was used is kept when the tier changes."""
    return TIERS.get(exchange.fact("user").claims.get("tier"), TIERS["free"])


def reserve(exchange: Exchange) -> int:
    """As many tokens as a request can take: none is shorter than a byte, no answer longer than what is asked for."""
    length = (exchange.header(b"content-length") or b"").decode("latin-1")
    longest = next(iter(exchange.query("max_tokens")), "")
    return number(length, MOST_ASKED) + number(longest, MOST_ANSWERED)


def number(text: str, most: int) -> int:
    """What a client says; the most there may be where that is no such number."""
    return min(int(text), most) if text.isdecimal() and len(text) < 10 else most


redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))

#: Tokens of one user, in hours that begin with a first request.
tokens = RateLimit(allowance, name="tokens", key="user", algorithm="fixed", cost=reserve, settle=True, paths=["/chat"])
admin = RateLimitAdmin(tokens, redis)

#: Only what fails counts. Who goes on three times when it is refused is banned for an hour, then for two …
logins = RateLimit(
    "5 per 5 minutes",
    name="login",
    algorithm="fixed",
    paths=["/login"],
    count_if=[401],
    ban=Ban(after=3, within=60, lasts=3600),
    deny_cache=0,  # each refusal is told to Redis at once
)
guards = [
    logins,
    JWTAuth(SECRET, exempt=["/login"]),
    ConcurrencyLimit(2, name="streams", key="user", paths=["/chat"]),
    tokens,
]
app = FastAPI()
app.add_middleware(GuardMiddleware, guards=guards, redis=redis)


@app.post("/login")
async def login(user: Annotated[str, Body()], password: Annotated[str, Body()]) -> dict[str, str]:
    """Exchange a password for a token, which tells the tier."""
    account = ACCOUNTS.get(user)
    if account is None or account.password != password:
        raise HTTPException(401)
    claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode({**claims, "tier": account.tier, "scope": account.scope}, SECRET)}


@app.post("/upgrade")
async def upgrade(request: Request) -> None:
    """Pay; the next token tells it."""
    ACCOUNTS[request.user.identity].tier = "pro"


@app.post("/chat")
async def chat(request: Request, max_tokens: Annotated[int, Query(ge=1, le=MOST_ANSWERED)] = 256) -> StreamingResponse:
    """Answer a prompt word by word."""
    prompt = (await request.body()).decode("utf-8", "replace").split()
    charge: Charge = request.scope["rate_limits"]["tokens"]
    return StreamingResponse(said(prompt, max_tokens, charge), media_type="text/plain")


async def said(prompt: list[str], max_tokens: int, charge: Charge) -> AsyncIterator[str]:
    """Take what was used in truth in the place of what was reserved, also where the client leaves in the middle."""
    charge.settle(len(prompt))
    async for token in model(prompt, max_tokens):
        charge.add(1)
        yield f"{token} "


async def model(prompt: list[str], max_tokens: int) -> AsyncIterator[str]:
    """A very small language model."""
    for word in prompt[:max_tokens]:
        await asyncio.sleep(0.01)
        yield word


@app.get("/report")
@rate_limit("3/hour", key="user")
def report(request: Request) -> dict[str, str]:
    """Make something slow, three times an hour; beneath the framework's own decorator."""
    return {"report": f"all about {request.user.identity}"}


@app.get("/admin/usage/{user}")
@requires("admin")
async def usage(request: Request, user: str) -> dict[str, int]:
    """Tell what a user has left of its tokens."""
    status: LimitStatus = await admin.inspect(user, limits=TIERS[ACCOUNTS[user].tier])
    (state,) = status.states
    return {"limit": state.limit.amount, "remaining": state.remaining}


@app.post("/admin/reset/{user}")
@requires("admin")
async def reset(request: Request, user: str) -> None:
    """Give a user all of its tokens back."""
    await admin.reset(user, limits=TIERS[ACCOUNTS[user].tier])
