"""FastAPI: several tenants on one Redis or one cluster, each with keys of its own, all of them in one slot.

A tenant is told by the host that a request is for. What acme's users have, their logins, limits and revocations, is
found under acme's name alone, and a token of acme is refused at bolt. Run it with `uvicorn examples.tenants:app`, on
`REDIS_URL` (`redis+cluster://…` too) or else on an embedded server:

    curl -X POST 'http://acme.localhost:8000/login?user=alice'
    curl -H "Authorization: Bearer $TOKEN" http://acme.localhost:8000/me
    curl -d refresh_token=$REFRESH http://acme.localhost:8000/auth/refresh
    curl -X POST -H "Authorization: Bearer $TOKEN" http://acme.localhost:8000/auth/logout
"""

import os
from functools import cache

from fastapi import FastAPI, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager, TokenRoutes, TokenService

TENANTS = ["acme.localhost", "bolt.localhost"]
SIGNING = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")
REFRESH = os.environ.get("REFRESH_SECRET", "another secret of at least 32 bytes, from there too")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))


def service(where: RedisManager) -> TokenService:
    """Make a service that keeps its logins there."""
    return TokenService(where, SIGNING, refresh_keys=REFRESH, issuer="https://login.example")


@cache
def tokens_of(tenant: str) -> TokenService:
    """Tell a tenant's service: on the tenant's keys, which are those that its requests are guarded by."""
    return service(redis.tagged(tenant))


@cache
def routes_of(tenant: str) -> TokenRoutes:
    """Tell a tenant's routes: /refresh, /revoke, /logout."""
    return TokenRoutes(tokens_of(tenant))


def tenant_of(request: Request) -> str:
    """Tell whose a request is, as `key_tag="{host}"` does; `TrustedHostMiddleware` lets no other hosts in."""
    return request.url.hostname or ""


async def auth(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand a request to the routes of its tenant."""
    await routes_of(tenant_of(Request(scope)))(scope, receive, send)


app = FastAPI()
app.mount("/auth", auth)
# One guard for all tenants: it asks under the keys of each request's own, and a token's claim must say the same tenant.
guard = service(redis).guard(tenant="tenant", exempt=["/login", "/auth/*"])
app.add_middleware(GuardMiddleware, guards=[guard, RateLimit("10/minute", key="user")], redis=redis, key_tag="{host}")
# Added last, so it runs first: who could invent tenants would have new limits with each.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=TENANTS)


@app.post("/login")
async def login(user: str, request: Request) -> Response:
    """Begin a login; this is where an app checks a password. The claim stays with it over all refreshes."""
    tenant = tenant_of(request)
    pair = await tokens_of(tenant).issue(user, claims={"tenant": tenant})
    return routes_of(tenant).login(pair)


@app.get("/me")
async def me(request: Request) -> dict[str, str]:
    """Tell who is asking, and of which tenant."""
    return {"user": request.user.identity, "tenant": request.user.claims["tenant"]}


@app.post("/logout-everywhere")
async def logout_everywhere(request: Request) -> dict[str, int]:
    """End all logins of the user at this tenant; `TokenService(redis, …)` without the tag would end none of them."""
    return {"logins": await tokens_of(tenant_of(request)).revoke_user(request.user.identity)}
