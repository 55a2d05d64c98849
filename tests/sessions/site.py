"""A site with sessions and CSRF protection, and browsers that visit it, each with a cookie jar of its own."""

from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_redis_guard import CSRF, Guard, GuardMiddleware, RedisManager, Sessions

KEY = "a key that makes tokens, of enough bytes"
HOME = "https://site.test"


class CountingManager(RedisManager):
    """Counts the round trips."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=10)
        self.round_trips = 0

    def evaluate(self, *args: Any, **options: Any) -> Any:
        self.round_trips += 1
        return super().evaluate(*args, **options)


async def page(request: Request) -> PlainTextResponse:
    """Answer with a token, which is what a template does."""
    return PlainTextResponse(str(request.scope["csrf_token"]))


async def start(request: Request) -> PlainTextResponse:
    """Begin a session on the very page that has a form."""
    token = request.scope["csrf_token"]()
    request.session["seen"] = request.session.get("seen", 0) + 1
    return PlainTextResponse(token)


async def login(request: Request) -> PlainTextResponse:
    """Log in, and show a form at once."""
    request.session["user_id"] = request.query_params.get("user", "alice")
    return PlainTextResponse(str(request.scope["csrf_token"]))


async def rotate(request: Request) -> PlainTextResponse:
    """Ask for another id, and show a form at once."""
    request.session.rotate()  # type: ignore[attr-defined]
    return PlainTextResponse(str(request.scope["csrf_token"]))


async def switch(request: Request) -> PlainTextResponse:
    """End the session, begin another, and show a form at once."""
    request.session.clear()
    request.session["other"] = 1
    return PlainTextResponse(str(request.scope["csrf_token"]))


async def logout(request: Request) -> PlainTextResponse:
    """End the session."""
    request.session.clear()
    return PlainTextResponse("bye")


async def echo(request: Request) -> PlainTextResponse:
    """Answer with the body that the app got."""
    return PlainTextResponse(await request.body())


async def socket(websocket: WebSocket) -> None:
    """Accept whoever gets here."""
    await websocket.accept()


def site() -> Starlette:
    """The app."""
    pages = {
        "/": page,
        "/start": start,
        "/login": login,
        "/logout": logout,
        "/rotate": rotate,
        "/switch": switch,
        "/echo": echo,
    }
    routes = [Route(path, function, methods=["GET", "POST", "DELETE"]) for path, function in pages.items()]
    return Starlette(routes=[*routes, WebSocketRoute("/socket", socket)])


def guarded(redis: RedisManager, *behind: Guard, sessions: Any = None, before: Any = (), **options: Any) -> Any:
    """The site behind `Sessions` and `CSRF` with these options, other guards before and behind them."""
    options.setdefault("key", KEY)
    return GuardMiddleware(site(), [*before, sessions or Sessions(), CSRF(**options), *behind], redis=redis)


def browser(app: Any, **headers: str) -> httpx.AsyncClient:
    """A browser that is on the site itself; httpx drops cookies that are `Secure` from a site that is not."""
    own = {"sec-fetch-site": "same-origin", "origin": HOME, **headers}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=HOME, headers=own)
