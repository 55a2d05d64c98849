"""`redis_sdk` with its own sessions."""

from fastapi import Depends, Request
from redis_fastapi import FastAPIRedis

from . import FIELDS
from .redis_sdk import Claims, app, authenticate, limits

FastAPIRedis(app).sessions()


@app.post("/login")
async def login(request: Request, claims: Claims) -> None:
    request.session.update(FIELDS, user_id=claims["sub"])


@app.get("/cart/{id}", dependencies=[Depends(authenticate), *limits])
async def cart(id: int, request: Request, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"], "cart": request.session["cart"]}
