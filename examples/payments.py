"""Payments: a charge that a client sends twice is made once, and both times the answer is the same.

Run it with `uvicorn examples.payments:app`, on `REDIS_URL` or else on an embedded server:

    token=$(curl -sX POST 'localhost:8000/login?user=ann' | jq -r .access_token)
    key='idempotency-key: "order-7"' type='content-type: application/json'
    pay() { curl -i localhost:8000/charges -H "authorization: Bearer $token" -H "$key" -H "$type" -d "$1"; }
    pay '{"order": "7", "cents": 1250}'    # twice: see Idempotent-Replayed
    pay '{"order": "7", "cents": 9999}'    # another payload: 422
"""

import asyncio
import os
import time
from uuid import uuid4

import jwt
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, PositiveInt

from asgi_redis_guard import GuardMiddleware, Idempotency, JWTAuth, RedisManager

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))

#: What would be the bank's: charges by the number of the transaction.
LEDGER: dict[str, tuple[str, int]] = {}
BANK = {"answers": True}


class Charge(BaseModel):
    """What a client orders."""

    order: str
    cents: PositiveInt


app = FastAPI()
app.add_middleware(
    GuardMiddleware,
    guards=[
        JWTAuth(SECRET, exempt=["/login"]),
        # Behind who verifies tokens: keys are each user's own, and nobody gets the answer to another's.
        Idempotency(paths=["/charges"], required=True, wait=5),
    ],
    redis=redis,
)


@app.post("/login")
async def login(user: str) -> dict[str, str]:
    """Give anybody a token."""
    claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode(claims, SECRET)}


@app.post("/charges", status_code=201)
async def charge(charge: Charge, request: Request) -> JSONResponse:
    """Take the money, which must not happen twice.

    The answer is recorded before the client sees it. Only where this process is killed between the two lines, after the
    bank and before the record, could a retry charge again; a bank that takes an idempotency key of its own rules that
    out as well.
    """
    number = await transfer(request.user.identity, charge.cents)
    return JSONResponse({"transaction": number, "order": charge.order, "cents": charge.cents}, 201)


@app.get("/charges")
async def charges(request: Request) -> dict[str, int]:
    """Show what somebody has paid."""
    return {number: cents for number, (payer, cents) in LEDGER.items() if payer == request.user.identity}


async def transfer(user: str, cents: int) -> str:
    """Stand for a bank that takes its time, and now and then is not there."""
    await asyncio.sleep(0.05)
    if not BANK["answers"]:
        raise ConnectionError("the bank does not answer")
    number = uuid4().hex
    LEDGER[number] = (user, cents)
    return number
