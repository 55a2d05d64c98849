"""fastapi-redis-sdk: its `rate_limit` dependencies and its client, with PyJWT in a dependency before them."""

from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from redis_fastapi import FastAPIRedis, get_settings, rate_limit
from redis_fastapi.deps import AsyncRedisDep

from . import LIMITS, POOL_SIZE, REDIS_URL, SECRET, TOKEN_LIFE

settings = get_settings()
settings.url, settings.max_connections = REDIS_URL, POOL_SIZE
app = FastAPI()
FastAPIRedis(app).lifespan().rate_limiting()


async def authenticate(request: Request, redis: AsyncRedisDep) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub", "jti"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    if await redis.exists(f"revoked:{claims['jti']}"):
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    request.state.user = claims["sub"]
    return claims


def user_of(request: Request) -> str:
    return request.state.user


Claims = Annotated[dict[str, Any], Depends(authenticate)]
limits = [Depends(rate_limit(rate, scope=f"items:{rate}", identifier=user_of)) for rate in LIMITS]


@app.get("/items/{id}", dependencies=[Depends(authenticate), *limits])
async def item(id: int, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"]}


@app.post("/logout")
async def logout(claims: Claims, redis: AsyncRedisDep) -> None:
    await redis.set(f"revoked:{claims['jti']}", 1, ex=TOKEN_LIFE)
