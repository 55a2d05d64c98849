"""The app with our two guards, added one by one as a user would."""

from fastapi import FastAPI, Request

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList

from . import LIMITS, REDIS_URL, SECRET

redis = RedisManager(REDIS_URL)
revoked = RevocationList(redis)
app = FastAPI()
app.add_middleware(RateLimitMiddleware, *LIMITS, key="user", redis=redis)
app.add_middleware(JWTAuthMiddleware, key=SECRET, algorithms=["HS256"], redis=redis)


@app.get("/items/{id}")
async def item(id: int, request: Request) -> dict[str, object]:
    return {"id": id, "user": request.user.identity}


@app.post("/logout")
async def logout(request: Request) -> None:
    await revoked.revoke_token(request.user)
