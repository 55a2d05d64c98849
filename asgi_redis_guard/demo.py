"""The example API that `asgi-redis-guard demo` serves: log in, call a guarded route, log out, run into a limit.

It is written as an app would be, on the package's public names alone. Importable with the `demo` extra only. Keys,
password and prefix are new in each run, so that two runs on one Redis do not meet; every key it leaves there expires.
"""

import asyncio
import errno
import logging
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass, field
from textwrap import dedent
from types import FrameType
from typing import Any

import jwt
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.authentication import requires

from . import Health, JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList, Settings

TOKEN_SECONDS = 900

#: Paths that need no token. The limit by user leaves them out too: they would count by address there.
OPEN = ("/login", "/health", "/docs", "/openapi.json")


@dataclass(frozen=True, slots=True)
class Demo:
    """What one run of the demo is made of."""

    redis: RedisManager
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)


def create_app(demo: Demo) -> FastAPI:
    """Return the API behind its guards, which cost one Redis round trip a request, all three together."""
    app = FastAPI(title="asgi-redis-guard demo", redoc_url=None)
    app.state.demo = demo
    app.include_router(router)
    # What is added last runs first: guesses at the password are counted before anything else is looked at, and the
    # limit by user stands inside of the authentication that tells who the user is.
    app.add_middleware(RateLimitMiddleware, "10/minute", key="user", name="api", exempt=OPEN, redis=demo.redis)
    app.add_middleware(JWTAuthMiddleware, key=demo.key, algorithms=["HS256"], exempt=OPEN, redis=demo.redis)
    app.add_middleware(RateLimitMiddleware, "5/minute", name="login", paths=["/login"], redis=demo.redis)
    return app


# The API.

router = APIRouter()


class Credentials(BaseModel):
    """The body of a log-in."""

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(max_length=64)


@router.post("/login")
async def login(body: Credentials, request: Request) -> dict[str, str]:
    """Exchange user and password for a token; only `admin` gets the scope `admin`."""
    demo: Demo = request.app.state.demo
    if not secrets.compare_digest(body.password.encode(), demo.password.encode()):
        raise HTTPException(401, "Wrong password", {"www-authenticate": "Bearer"})
    now = int(time.time())
    claims = {
        "jti": secrets.token_urlsafe(12),
        "sub": body.user,
        "scope": "admin" if body.user == "admin" else "",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    return {"access_token": jwt.encode(claims, demo.key, algorithm="HS256"), "token_type": "bearer"}


@router.get("/me")
async def me(request: Request) -> dict[str, Any]:
    """Tell who is asking."""
    return {"user": request.user.identity, "scopes": request.auth.scopes}


@router.get("/admin")
@requires("admin")
async def admin(request: Request) -> dict[str, Any]:
    """Show what only the scope `admin` may see: how many tokens are revoked."""
    return dict(await RevocationList(request.app.state.demo.redis).stats())


@router.post("/logout", status_code=204, response_class=Response)
async def logout(request: Request) -> None:
    """Revoke the token that the request came with."""
    await RevocationList(request.app.state.demo.redis).revoke_token(request.user)


@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """Tell how Redis is: 200, or 503 while it is away."""
    found = await request.app.state.demo.redis.health()
    return JSONResponse(found, 200 if found["healthy"] else 503)


# Serving it.


def run(host: str, port: int) -> None:
    """Serve the demo until it is interrupted.

    Raises `OSError` if the port cannot be had, before anything is started; `ConfigurationError`; `RedisUnavailable`.
    """
    with _listen(host, port) as listener:
        _end_alike()
        asyncio.run(_serve(listener))


def settings() -> Settings:
    """Return the environment's settings where they say where Redis is, else those of an embedded server."""
    told = Settings()
    url = told.redis_url if told.model_fields_set & {"url", "host", "port"} else "embedded://"
    return Settings(url=url, require_redis=True, prefix=f"guard-demo-{secrets.token_hex(3)}:")


class _Server(uvicorn.Server):
    """Ends in order however often Ctrl-C is pressed; uvicorn would leave out the app's shutdown at the second time."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def _end_alike() -> None:
    """Make a closed terminal and `kill` end the demo as Ctrl-C does, so that they leave nothing behind either."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` means what it says
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


async def _serve(listener: socket.socket) -> None:
    redis = RedisManager(settings=settings())
    demo = Demo(redis)
    try:
        found = await _connect(redis)
        print(_guide(demo, found, _url(listener)), flush=True)
        # The guards decide whose X-Forwarded-For is believed; uvicorn would believe everybody's on this machine.
        config = uvicorn.Config(
            create_app(demo), lifespan="on", log_level="warning", proxy_headers=False, timeout_graceful_shutdown=2
        )
        await _Server(config).serve(sockets=[listener])
    finally:
        await redis.aclose()  # has been done by the app's own shutdown, unless it came to nothing


async def _connect(redis: RedisManager) -> Health:
    """Connect and ask for the server's health; its warnings become part of the guide instead of log lines."""
    logger = logging.getLogger("asgi_redis_guard")
    logger.setLevel(logging.ERROR)
    try:
        await redis.connect()
        return await redis.health()
    finally:
        logger.setLevel(logging.NOTSET)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens already, so that nobody can take the port between a check and its use."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=2048)
    except (socket.gaierror, UnicodeError):
        raise OSError(f"the host {host!r} is not known") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} on {host} is taken; choose another with --port") from None
        raise OSError(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from None


def _url(listener: socket.socket) -> str:
    """Return the URL to call from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (a look-up, not a bind)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _guide(demo: Demo, found: Health, url: str) -> str:
    redis = demo.redis
    server = f"{found['server'] or 'server'} {found['version'] or ''}".rstrip()
    where = f"embedded, {redis.links.address}" if redis.address.scheme == "embedded" else redis.address
    notes = "".join(f"\nNote [{name}]: {sentence}" for name, sentence in found["warnings"].items())
    return f"Demo:  {url} (its routes: {url}/docs)\nRedis: {server} ({where}){notes}\n{_steps(url, demo.password)}"


#: Takes the token out of the log-in's JSON with what every machine has.
_EXTRACT = """sed -E 's/.*"access_token":"([^"]+)".*/\\1/'"""


def _steps(url: str, password: str) -> str:
    """Return what to type: bash, each line by itself or all at once."""
    body = f'{{"user": "alice", "password": "{password}"}}'
    login = f"""TOKEN=$(curl -s "$API/login" -H 'content-type: application/json' -d '{body}' | {_EXTRACT})"""
    bearer = '-H "authorization: Bearer $TOKEN"'
    return dedent(f"""
        Any user may log in, with the password {password}; only "admin" may call /admin. Try, in another terminal:

          API={url}
          # Log in; the token is good for {TOKEN_SECONDS // 60} minutes.
          {login}
          # A guarded route: 200, with what is left of the limit.
          curl -i -w '\\n' "$API/me" {bearer}
          # The token does not grant the scope "admin": 403.
          curl -i -w '\\n' "$API/admin" {bearer}
          # Log out; from now on the token is refused: 401.
          curl -i -X POST "$API/logout" {bearer}
          curl -i -w '\\n' "$API/me" {bearer}
          # Log in again, and run into the limit of 10 requests a minute: 429.
          {login}
          for i in 1 2 3 4 5 6 7 8 9 10; do curl -s -o /dev/null -w '%{{http_code}} ' "$API/me" {bearer}; done
          curl -i -w '\\n' "$API/me" {bearer}
          # How Redis is; no token needed.
          curl -s -w '\\n' "$API/health"

        Ctrl-C ends the demo.""")
