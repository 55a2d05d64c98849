"""Quart: the middlewares go around `app.asgi_app`, the last one outermost.

Run it with `hypercorn examples.quart_app:app`, on `REDIS_URL` or else on an embedded server.
"""

import os
import time
from uuid import uuid4

import jwt
from quart import Quart, request

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
revoked = RevocationList(redis)

app = Quart(__name__)
app.asgi_app = RateLimitMiddleware(app.asgi_app, "10/minute", key="user", redis=redis)
app.asgi_app = JWTAuthMiddleware(app.asgi_app, key=SECRET, exempt=["/login"], redis=redis)


@app.post("/login")
async def login() -> dict[str, str]:
    """Give out a token; this is where an app checks a password."""
    claims = {"sub": request.args["user"], "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode(claims, SECRET)}


@app.get("/me")
async def me() -> dict[str, str]:
    """Tell who is asking; the user is in the ASGI scope."""
    return {"user": request.scope["user"].identity}


@app.post("/logout")
async def logout() -> tuple[str, int]:
    """Revoke the token that the request came with."""
    await revoked.revoke_token(request.scope["user"])
    return "", 204
