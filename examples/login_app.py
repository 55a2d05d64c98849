"""FastAPI: log in, stay logged in, log out here or everywhere; with a refresh token that no script ever sees.

The page keeps its access token in memory. The refresh token is in a cookie that goes to `/auth` alone, and as many tabs
as there are may use it at once. Run it with `uvicorn examples.login_app:app`, on `REDIS_URL` or else on an embedded
server, and open http://localhost:8000 in two browsers.
"""

import os
from typing import Annotated

from fastapi import Body, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from asgi_redis_guard import (
    CookieTransport,
    JWTAuthMiddleware,
    RateLimitMiddleware,
    RedisManager,
    RedisUnavailable,
    TokenRoutes,
    TokenService,
)

SIGNING = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")
REFRESH = os.environ.get("REFRESH_SECRET", "another secret of at least 32 bytes, from there too")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
tokens = TokenService(redis, SIGNING, refresh_keys=REFRESH, issuer="https://login.example")
# Browsers take a cookie with this prefix over TLS alone, and over plain HTTP from localhost.
cookie = CookieTransport("__Secure-refresh", path="/auth", csrf=True, csrf_cookie="__Secure-csrf")
routes = TokenRoutes(tokens, cookie=cookie)

app = FastAPI()
app.mount("/auth", routes)
# What is added last runs first; both travel to Redis together. The limit counts addresses where nobody is logged in, so
# that passwords and tokens are not tried for ever.
app.add_middleware(RateLimitMiddleware, "100/minute", key="user", redis=redis)
app.add_middleware(JWTAuthMiddleware, guard=tokens.guard(exempt=["/", "/login", "/auth/*"]), redis=redis)


@app.exception_handler(RedisUnavailable)
async def away(request: Request, error: RedisUnavailable) -> JSONResponse:
    """Say that it is not the client's fault: guards and routes do so by themselves, what the app asks is the app's."""
    return JSONResponse({"detail": "Try again in a moment."}, 503, {"retry-after": "1"})


@app.post("/login")
async def login(user: Annotated[str, Body()], device: Annotated[str, Body()] = "browser") -> Response:
    """Begin a login; this is where an app checks a password."""
    return routes.login(await tokens.issue(user, device=device))


@app.get("/me")
async def me(request: Request) -> dict[str, str]:
    """Tell who is asking."""
    return {"user": request.user.identity, "device": request.user.claims["dev"]}


@app.post("/devices/{device}/logout", status_code=204)
async def logout_device(device: str, request: Request) -> None:
    """End the user's logins on one device."""
    await tokens.revoke_device(request.user.identity, device, reason="by the user")


@app.post("/password", status_code=204)
async def password(request: Request) -> None:
    """Change the password, which ends all logins but this one."""
    await tokens.revoke_others(request.user.identity, request.user.claims["fam"], reason="new password")


@app.get("/")
async def page() -> HTMLResponse:
    """Show the page."""
    return HTMLResponse(PAGE)


PAGE = """<!doctype html><title>Login</title>
<p id="who">…</p>
<form id="login"><input name="user" placeholder="name" required><button>Log in</button></form>
<button onclick="logout(false)">Log out</button> <button onclick="logout(true)">Log out everywhere</button>
<script>
let access = null; // in memory: another tab, and this one when it is loaded again, refresh for their own

const post = (path, body) => fetch(path, {
  method: "POST",
  headers: {"content-type": "application/json", "x-csrf-token": cookie("__Secure-csrf")},
  body: JSON.stringify(body ?? {}),
});
const cookie = name => document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1] ?? "";

async function take(response) {
  access = response.ok ? (await response.json()).access_token : null;
  return access !== null;
}

async function show(again = true) {
  const response = access && await fetch("/me", {headers: {authorization: `Bearer ${access}`}});
  if (response?.ok) who.textContent = `Hello ${(await response.json()).user}`;
  else if (again && await take(await post("/auth/refresh"))) await show(false);
  else who.textContent = "Nobody is logged in";
}

login.onsubmit = async event => {
  event.preventDefault();
  await take(await post("/login", {user: login.user.value, device: navigator.platform || "browser"}));
  await show(false);
};

async function logout(everywhere) {
  const response = await post("/auth/logout", {everywhere});
  if (response.ok) access = null;
  await show(false);
}

show();
</script>"""
