"""Asks the routes of a token service as clients do: forms, JSON, and a browser with its cookies.

Law: a browser here keeps and sends cookies as browsers do, and says where a request comes from; it decides nothing.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from asgi_redis_guard.core.asgi import ASGIApp
from tests.drive import Response, call, fields, http_scope

FORM = "application/x-www-form-urlencoded"
HOST = "app.example"


def basic(client: str, secret: str) -> dict[str, str]:
    """An Authorization field (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def send(
    app: ASGIApp, path: str, body: bytes = b"", kind: str | None = None, headers: Mapping[str, Any] = {}, **more: Any
) -> Response:
    """Send a body as it is."""
    given = {"host": HOST, **({"content-type": kind} if kind is not None else {}), **headers}
    return await call(app, http_scope(path, given, **{"method": "POST", "scheme": "https", **more}), body)


async def post(app: ASGIApp, path: str, headers: Mapping[str, Any] = {}, **parameters: str) -> Response:
    """Send a form."""
    return await send(app, path, urlencode(parameters).encode(), FORM, headers)


async def post_json(app: ASGIApp, path: str, document: Any, headers: Mapping[str, Any] = {}) -> Response:
    """Send JSON."""
    return await send(app, path, json.dumps(document).encode(), "application/json", headers)


async def refresh(app: ASGIApp, token: str, headers: Mapping[str, Any] = {}, **more: str) -> Response:
    """Refresh as RFC 6749 §6 has it."""
    return await post(app, "/token", headers, grant_type="refresh_token", refresh_token=token, **more)


class Browser:
    """A browser on a page of the app; all its tabs share its cookies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    async def post(self, path: str, parameters: Any = None, headers: Mapping[str, Any] = {}) -> Response:
        """Send JSON, or nothing, from a script of the page."""
        response = await self.send(path, parameters, {"sec-fetch-site": "same-origin", **headers})
        self.take(response.all("set-cookie"))
        return response

    async def send(self, path: str, parameters: Any, headers: Mapping[str, Any]) -> Response:
        """Send with the cookies that there are now, and keep none."""
        given = dict(headers)
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if parameters is None:
            return await send(self.app, path, headers=given)
        return await post_json(self.app, path, parameters, given)

    def take(self, given: list[str]) -> None:
        """Keep and drop cookies."""
        for field in given:
            pair, *attributes = field.split("; ")
            name, _, value = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


def names_of(response: Response) -> list[str]:
    """The header fields of a response, as text."""
    return [name.decode() for name, _ in fields(response.headers)]
