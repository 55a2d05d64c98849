"""The app with JWT alone; `BENCH_BLACKLIST` says how it knows what is revoked: `none`, `remote` or `mirror`."""

import os

from fastapi import FastAPI, Request

from asgi_redis_guard import JWTAuthMiddleware, RedisManager, RevocationList

from . import REDIS_URL, SECRET

KIND = os.environ.get("BENCH_BLACKLIST", "remote")

redis = RedisManager(REDIS_URL)
revoked = RevocationList(redis, mode="mirror" if KIND == "mirror" else "remote")
app = FastAPI()
app.add_middleware(
    JWTAuthMiddleware,
    key=SECRET,
    algorithms=["HS256"],
    revocation=revoked if KIND != "none" else False,
    redis=redis,
)


@app.get("/items/{id}")
async def item(id: int, request: Request) -> dict[str, object]:
    return {"id": id, "user": request.user.identity}


@app.post("/logout")
async def logout(request: Request) -> None:
    await RevocationList(redis).revoke_token(request.user)
