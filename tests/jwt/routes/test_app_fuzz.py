"""Requests of any bytes at the routes of a token service: never a 500, never a token that nobody had before."""

import asyncio
import json
from typing import Any
from urllib.parse import quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.jwt.routes.app import ENDPOINTS, TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from tests.drive import Response, call, http_scope
from tests.jwt.conftest import CountingManager
from tests.jwt.routes.visits import FORM
from tests.jwt.services import service

#: Bytes that a server lets through in a header field.
field_bytes = st.binary(max_size=60).map(lambda value: value.translate(None, b"\0\r\n"))
credentials = st.one_of(
    field_bytes,
    field_bytes.map(lambda value: b"Bearer " + value),
    field_bytes.map(lambda value: b"basic " + value),
    field_bytes.map(lambda value: b"__Host-refresh=" + value),
    field_bytes.map(lambda value: b"__Host-refresh=rt1." + value),
    st.sampled_from([b"same-origin", b"cross-site", b"https://app.example", b"Basic YTpi", b"gzip", b"W/,*"]),
)
kinds = st.sampled_from([FORM.encode(), b"application/json", b"application/json; charset=x", b"text/plain", b""])
names = st.sampled_from(
    b"authorization cookie origin host sec-fetch-site x-csrf-token if-none-match content-encoding".split()
)
headers = st.lists(st.tuples(names, credentials), max_size=5)

parameters = st.sampled_from(
    ["grant_type", "refresh_token", "scope", "client_id", "client_secret", "token", "token_type_hint", "everywhere", ""]
)
words = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"refresh_token", b"true", b"rt1.AAAAAAAAAAAAAAAAAAAAAA.1.AAAAAAAAAAAAAAAAAAAAAAAAAAA", b"a.b.c"]),
)
forms = st.lists(st.tuples(parameters, words), max_size=5).map(
    lambda pairs: "&".join(f"{name}={quote_from_bytes(value)}" for name, value in pairs).encode()
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(parameters, inner, max_size=3)),
    max_leaves=6,
)
bodies = st.one_of(st.binary(max_size=80), forms, values.map(lambda value: json.dumps(value).encode()))
paths = st.one_of(
    st.sampled_from([f"/{name}" for name in ENDPOINTS] + ["/jwks.json", "/.well-known/jwks.json"]),
    st.text(max_size=12).map(lambda text: "/" + text),
)
methods = st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "post", ""])


class Service:
    """Everything switched on, and nobody logged in."""

    def __init__(self) -> None:
        self.manager = CountingManager()
        self.routes = TokenRoutes(
            service(self.manager),
            cookie=CookieTransport(csrf=True, access="__Host-access"),
            clients={"a": "the secret of a: 16 characters", "b": None},
            introspection={"a": "the secret of a: 16 characters"},
        )

    async def send(self, scope: Any, body: bytes) -> Response:
        return await call(self.routes, scope, body)


@settings(max_examples=600, deadline=None)
@given(headers=headers, kind=kinds, body=bodies, path=paths, method=methods)
def test_no_request_makes_them_fail_or_gets_a_token(
    headers: Any, kind: bytes, body: bytes, path: str, method: str
) -> None:
    with asyncio.Runner() as runner:
        site = Service()
        given = [*headers, (b"content-type", kind)] if kind else headers
        response = runner.run(site.send(http_scope(path, given, method=method), body))
        assert response.status in (200, 204, 304, 400, 401, 403, 404, 405, 413, 415)
        assert b"access_token" not in response.body
        assert all("Max-Age=0;" in field for field in response.all("set-cookie"))
        if response.status == 200 and path not in ("/jwks.json", "/.well-known/jwks.json"):
            assert (path, response.body) == ("/revoke", b"")
        runner.run(site.manager.aclose())
