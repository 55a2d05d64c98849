"""`by_hand` with starsessions, loaded by its own middleware."""

from fastapi import Depends, Request
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore

from . import FIELDS
from .by_hand import Claims, app, limited, redis

app.add_middleware(SessionAutoloadMiddleware)
app.add_middleware(SessionMiddleware, store=RedisStore(connection=redis), lifetime=14 * 86_400, cookie_https_only=False)


@app.post("/login")
async def login(request: Request, claims: Claims) -> None:
    request.session.update(FIELDS, user_id=claims["sub"])


@app.get("/cart/{id}", dependencies=[Depends(limited)])
async def cart(id: int, request: Request, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"], "cart": request.session["cart"]}
