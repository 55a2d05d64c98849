"""`alcazaba` with its own sessions."""

from fastapi import Depends, Request
from fastapi_alcazaba.sessions import ServerSessionMiddleware, rotate_session

from . import FIELDS
from .alcazaba import Claims, app, authenticate, cache, limits

app.add_middleware(ServerSessionMiddleware, cache=cache, secure=False)


@app.post("/login")
async def login(request: Request, claims: Claims) -> None:
    request.session.update(FIELDS, user_id=claims["sub"])
    rotate_session(request)


@app.get("/cart/{id}", dependencies=[Depends(authenticate), *limits])
async def cart(id: int, request: Request, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"], "cart": request.session["cart"]}
