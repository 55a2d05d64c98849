"""An app with a login and the routes of a token service, for browsers. Law: it decides nothing."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as Answer
from starlette.routing import Mount, Route

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from asgi_redis_guard.jwt.service.pair import TokenPair
from tests.jwt.routes.visits import Browser
from tests.jwt.services import service

REFRESH, ACCESS, TOKEN = "__Host-refresh", "__Host-access", "__Host-csrf"
EVERYTHING: dict[str, Any] = {"access": ACCESS, "csrf": True}


class Site:
    """An app with a login, and its routes; `pair` is what the last login was given."""

    def __init__(self, redis: RedisManager, options: dict[str, Any], **more: Any) -> None:
        self.tokens = service(redis, **more)
        self.routes = TokenRoutes(self.tokens, cookie=CookieTransport(**options))
        self.app = Starlette(routes=[Route("/login", self.login, methods=["POST"]), Mount("/", self.routes)])
        self.pair: TokenPair

    async def login(self, request: Request) -> Answer:
        self.pair = await self.tokens.issue((await request.json())["user"], scopes="read")
        return self.routes.login(self.pair)

    async def browser(self, user: str = "alice") -> Browser:
        """A browser with a login."""
        browser = Browser(self.app)
        assert (await browser.post("/login", {"user": user})).status == 200
        return browser


def shown(browser: Browser) -> dict[str, str]:
    """What a script of the page adds to its requests."""
    return {"x-csrf-token": browser.cookies[TOKEN]}


async def is_good(site: Site, browser: Browser) -> bool:
    """Tell whether the token in the browser would get a successor."""
    look = await site.tokens.look(browser.cookies[REFRESH])
    return look is not None and look.is_good
