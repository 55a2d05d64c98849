"""Sessions: a login page with "your devices", "sign out" and "sign out everywhere else".

Run it with `uvicorn examples.sessions_app:app`, on `REDIS_URL` or else on an embedded server, and open it in two
browsers.
"""

import os
from html import escape
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from asgi_redis_guard import CSRF, GuardMiddleware, RateLimit, RedisManager, Sessions, SessionStore

SECRET = os.environ.get("CSRF_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
sessions = Sessions(
    https_only=False,  # for http://127.0.0.1 alone
    max_sessions=5,
)
store = SessionStore(redis, guard=sessions)

LOGIN = '<form method="post" action="/login"><input name="user" placeholder="name"><button>Log in</button></form>'


async def home(request: Request) -> HTMLResponse:
    """A login page, or the user's devices."""
    if not request.user.is_authenticated:
        return HTMLResponse(LOGIN)
    user, token = request.user.identity, escape(str(request.scope["csrf_token"]))
    rows = []
    for info in await store.list(user):
        here = " (this one)" if info.id == request.session.id else ""
        rows.append(f"<li>{escape(info.user_agent or 'unknown')}, since {info.created:%Y-%m-%d %H:%M}{here}</li>")
    buttons = "".join(
        f'<form method="post" action="{path}"><input type="hidden" name="csrf_token" value="{token}">'
        f"<button>{label}</button></form>"
        for path, label in (("/logout", "Sign out"), ("/elsewhere", "Sign out everywhere else"))
    )
    return HTMLResponse(f"<p>Hello {escape(user)}</p><ul>{''.join(rows)}</ul>{buttons}")


async def login(request: Request) -> Response:
    """Begin a session; this is where an app checks a password."""
    user = parse_qs((await request.body()).decode()).get("user", [""])[0]
    if not user:
        return HTMLResponse(LOGIN, status_code=401)
    request.session["user_id"] = user
    return RedirectResponse("/", status_code=303)


@requires("authenticated")
async def logout(request: Request) -> Response:
    """End this session."""
    request.session.clear()
    return RedirectResponse("/", status_code=303)


@requires("authenticated")
async def elsewhere(request: Request) -> Response:
    """End all others of this user."""
    await store.revoke_others(request.user.identity, request.session.id)
    return RedirectResponse("/", status_code=303)


guards = [
    RateLimit("100/minute"),
    sessions,
    CSRF(SECRET, field="csrf_token"),
]
app = Starlette(
    routes=[
        Route("/", home),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/elsewhere", elsewhere, methods=["POST"]),
    ],
    middleware=[Middleware(GuardMiddleware, guards, redis=redis)],
)
