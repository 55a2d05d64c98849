"""FastAPI: verified, revocable, rate-limited requests, and a route that asks for a scope.

Run it with `uvicorn examples.fastapi_app:app`, on `REDIS_URL` or else on an embedded server.
"""

import os
import time
from uuid import uuid4

import jwt
from fastapi import FastAPI, Request, Response
from starlette.authentication import requires

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
revoked = RevocationList(redis)

app = FastAPI()
# What is added last runs first. The limit stands inside of the authentication: it counts users, and for nobody in
# particular (a log-in) addresses.
app.add_middleware(RateLimitMiddleware, "10/minute", "100/hour", key="user", redis=redis)
app.add_middleware(JWTAuthMiddleware, key=SECRET, exempt=["/login"], redis=redis)


@app.post("/login")
async def login(user: str) -> dict[str, str]:
    """Give out a token; this is where an app checks a password."""
    scope = "reports" if user == "admin" else ""
    claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900, "scope": scope}
    return {"access_token": jwt.encode(claims, SECRET)}


@app.get("/me")
async def me(request: Request) -> dict[str, str]:
    """Tell who is asking."""
    return {"user": request.user.identity}


@app.get("/reports")
@requires("reports")
async def reports(request: Request) -> dict[str, int]:
    """Show what only tokens with the scope `reports` may see; others get a 403."""
    return {"revoked": (await revoked.stats())["revoked"]}


@app.post("/logout", status_code=204, response_class=Response)
async def logout(request: Request) -> None:
    """Revoke the token that the request came with."""
    await revoked.revoke_token(request.user)
