"""The app with our two guards, added one by one as a user would.

With BENCH_KEY_TAG=1 each user is a tenant, whose keys lie in one slot of a cluster.
"""

import os
from functools import lru_cache

import jwt
from fastapi import FastAPI, Request

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList

from . import LIMITS, REDIS_URL, SECRET


@lru_cache(maxsize=4096)
def subject(header: bytes) -> str:
    """What the token says, unverified: the guard compares it with the verified claim."""
    if not header:
        return ""
    claims = jwt.decode(header.removeprefix(b"Bearer "), options={"verify_signature": False})
    return str(claims["sub"])


redis = RedisManager(REDIS_URL)
tenant = "sub" if os.environ.get("BENCH_KEY_TAG") == "1" else None
key_tag = None if tenant is None else lambda exchange: subject(exchange.header(b"authorization") or b"")
revoked = RevocationList(redis)
app = FastAPI()
app.add_middleware(RateLimitMiddleware, *LIMITS, key="user", redis=redis, key_tag=key_tag)
app.add_middleware(JWTAuthMiddleware, key=SECRET, algorithms=["HS256"], redis=redis, key_tag=key_tag, tenant=tenant)


@app.get("/items/{id}")
async def item(id: int, request: Request) -> dict[str, object]:
    return {"id": id, "user": request.user.identity}


@app.post("/logout")
async def logout(request: Request) -> None:
    await revoked.revoke_token(request.user)
