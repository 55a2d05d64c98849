"""Who asks: tokens, browsers with sessions, and the pages that look at them.

Law: a page tells the name of whoever asks and nothing else, so that a leak is that name in another's answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from asgi_redis_guard import JWTAuth
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.shops import Page, Shop, page
from tests.jwt.tokens import SECRET, sign

ANONYMOUS = b"-"


def jwt(**options: Any) -> JWTAuth:
    """A guard that knows the tokens of these tests."""
    return JWTAuth(SECRET, algorithms=["HS256"], **options)


def token(subject: str | None, jti: str = "1", scopes: Iterable[str] = (), **more: Any) -> dict[str, str]:
    """The header of somebody."""
    now = time.time()
    claims = {
        "sub": subject,
        "jti": f"{subject}-{jti}",
        "scope": " ".join(scopes) or None,
        "iat": now,
        "exp": now + 600,
    }
    return {"authorization": "Bearer " + sign(**claims | more).decode()}


def name_of(scope: Scope) -> bytes:
    """Who asks, as the app sees it."""
    user = scope.get("user")
    return user.identity.encode() if getattr(user, "is_authenticated", False) else ANONYMOUS


async def me(scope: Scope, receive: Receive, send: Send) -> None:
    """A page that says who asks."""
    await page(b"name:" + name_of(scope))(scope, receive, send)


def late(chunk: Page) -> Page:
    """A page that sends its head and a chunk, and only then does the rest."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})

        async def rest(message: Any) -> None:
            if message["type"] == "http.response.body":
                await send(message)

        await chunk(scope, receive, rest)

    return answer


class Browser:
    """Keeps the cookies of a shop."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.cookies: dict[str, str] = {}

    async def get(self, path: str = "/", headers: Iterable[tuple[str, str]] = (), **more: Any) -> bytes:
        """Send a request with the cookies that there are, keep what comes, and return the body."""
        given = [*headers, ("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))]
        response = await self.shop.get(path, given if self.cookies else list(headers), **{"scheme": "https"} | more)
        for field in response.all("set-cookie"):
            name, _, value = field.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response.body


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of routes whose answers are not kept."""
    return [record.getMessage() for record in caplog.records if "[not-cached]" in record.getMessage()]
