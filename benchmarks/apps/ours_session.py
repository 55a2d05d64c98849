"""`ours` with a session in the same stack."""

import os

from fastapi import Request

from asgi_redis_guard import SessionMiddleware

from . import FIELDS
from .ours import app, key_tag, redis

remembered = int(os.environ.get("BENCH_REMEMBERED", "4096"))
app.add_middleware(SessionMiddleware, redis=redis, https_only=False, remembered=remembered, key_tag=key_tag)


@app.post("/login")
async def login(request: Request) -> None:
    request.session.update(FIELDS, user_id=request.user.identity)


@app.get("/cart/{id}")
async def cart(id: int, request: Request) -> dict[str, object]:
    return {"id": id, "user": request.user.identity, "cart": request.session["cart"]}


@app.post("/cart/{id}")
async def fill(id: int, request: Request) -> dict[str, object]:
    request.session["step"] = request.session["step"] + 1
    return {"id": id, "user": request.user.identity, "cart": request.session["cart"]}
