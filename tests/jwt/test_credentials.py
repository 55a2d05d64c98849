"""Where a token may stand: header, cookie, and for WebSockets query and subprotocol."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, JWTAuth
from tests.drive import App, get, handshake
from tests.jwt.conftest import CountingManager, Guarded
from tests.jwt.tokens import bearer, sign

TOKEN = sign()
TEXT = TOKEN.decode()
COOKIE = {"cookie": f"a=1; token={TEXT}; b=2", "host": "api.example"}


async def test_a_cookie_is_looked_at_only_where_it_was_named(guarded: Guarded, inner: App) -> None:
    assert (await get(guarded(cookie="token"), headers=COOKIE)).status == 200
    assert inner.scope["user"].identity == "alice"
    assert (await get(guarded(), headers=COOKIE)).status == 401
    assert (await get(guarded(cookie="tok"), headers=COOKIE)).status == 401
    assert (await get(guarded(cookie="TOKEN"), headers=COOKIE)).status == 401


async def test_the_header_still_counts_where_a_cookie_is_named(guarded: Guarded) -> None:
    app = guarded(cookie="token")
    assert (await get(app, headers=bearer(TOKEN))).status == 200
    assert (await get(app, headers={"cookie": "token="})).status == 401
    assert (await get(app, headers={"cookie": "token=", "authorization": f"Bearer {TEXT}"})).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
async def test_a_safe_method_may_come_from_anywhere_with_its_cookie(guarded: Guarded, method: str) -> None:
    elsewhere = {**COOKIE, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await get(guarded(cookie="token"), headers=elsewhere, method=method)).status == 200


ELSEWHERE: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "nonsense"},
    {"sec-fetch-site": ""},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "https://api.example.evil.example"},
    {"origin": "https://api.example:8443"},
    {"origin": "https://[", "x": "unparsable"},
    {"sec-fetch-site": "cross-site", "origin": "https://api.example"},
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "FOO"])
@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_an_unsafe_method_from_elsewhere_is_refused_with_a_cookie(
    guarded: Guarded, inner: App, manager: CountingManager, method: str, headers: dict[str, str]
) -> None:
    response = await get(guarded(cookie="token"), headers={**COOKIE, **headers}, method=method)
    assert response.status == 403
    assert "another origin" in response.json()["detail"]
    assert not inner.scopes
    assert manager.round_trips == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "https://api.example"},
        {"origin": "https://API.example"},
        {"sec-fetch-site": "same-origin", "origin": "https://other.example"},
    ],
)
async def test_an_unsafe_method_from_here_or_from_no_browser_is_accepted(
    guarded: Guarded, headers: dict[str, str]
) -> None:
    assert (await get(guarded(cookie="token"), headers={**COOKIE, **headers}, method="POST")).status == 200


async def test_an_origin_without_a_host_to_compare_it_with_is_elsewhere(guarded: Guarded) -> None:
    headers = {"cookie": f"token={TEXT}", "origin": "null"}
    assert (await get(guarded(cookie="token"), headers=headers, method="POST")).status == 403


async def test_named_origins_may_send_the_cookie(guarded: Guarded) -> None:
    app = guarded(cookie="token", origins=["https://app.example"])
    headers = {**COOKIE, "origin": "https://app.example", "sec-fetch-site": "cross-site"}
    assert (await get(app, headers=headers, method="POST")).status == 200
    for origin in ("https://app.example.evil", "http://app.example", "https://app.example:1", "https://evil"):
        assert (await get(app, headers={**headers, "origin": origin}, method="POST")).status == 403


async def test_a_header_from_elsewhere_is_nobodys_ambient_credential(guarded: Guarded) -> None:
    headers = {**bearer(TOKEN), "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await get(guarded(cookie="token"), headers=headers, method="POST")).status == 200


async def test_a_cookie_from_elsewhere_is_refused_before_it_is_looked_at(guarded: Guarded) -> None:
    headers = {"cookie": "token=garbage", "sec-fetch-site": "cross-site"}
    for optional in (True, False):
        assert (await get(guarded(cookie="token", optional=optional), headers=headers, method="POST")).status == 403


# WebSockets.


async def test_a_websocket_is_authenticated_by_header_or_cookie(guarded: Guarded, inner: App) -> None:
    assert (await handshake(guarded(), headers=bearer(TOKEN))).status == 101
    assert inner.scope["user"].identity == "alice"
    assert (await handshake(guarded(cookie="token"), headers=COOKIE)).status == 101


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_a_websocket_from_elsewhere_is_refused_with_a_cookie(guarded: Guarded, headers: dict[str, str]) -> None:
    app = guarded(cookie="token")
    assert (await handshake(app, headers={**COOKIE, **headers})).status == 403
    assert (await handshake(app, headers={**bearer(TOKEN), **headers})).status == 101


async def test_a_query_parameter_counts_for_websockets_alone(guarded: Guarded, inner: App) -> None:
    query = f"a=1&access_token={TEXT}".encode()
    app = guarded(query="access_token")
    assert (await handshake(app, query_string=query)).status == 101
    assert (await get(app, query_string=query)).status == 401
    assert (await handshake(guarded(), query_string=query)).status == 401
    assert (await handshake(app, query_string=query + b"&access_token=x")).status == 400
    assert (await handshake(app, headers=bearer(TOKEN), query_string=query)).status == 400


@pytest.mark.parametrize("raw", [b"t=%ff", b"t=%", b"t=\xff\xfe", b"t=%ed%a0%80", b"t=" + b"x" * 20_000, b"t", b"t="])
async def test_a_query_of_any_bytes_is_refused_in_order(guarded: Guarded, raw: bytes) -> None:
    response = await handshake(guarded(query="t"), query_string=raw)
    assert response.status == 401
    assert "invalid_token" in response["www-authenticate"]


async def test_a_subprotocol_carries_the_token_and_the_app_does_not_see_it(guarded: Guarded, inner: App) -> None:
    headers = {"sec-websocket-protocol": f"chat, bearer.{TEXT}, v2", "x": "1"}
    offered = ["chat", f"bearer.{TEXT}", "v2"]
    app = guarded(subprotocol="bearer")
    assert (await handshake(app, headers=headers, subprotocols=offered)).status == 101
    assert inner.scope["subprotocols"] == ["chat", "v2"]
    assert inner.scope["headers"] == [(b"x", b"1")]
    assert TEXT not in str({**inner.scope, "user": 0, "auth": 0})
    assert offered == ["chat", f"bearer.{TEXT}", "v2"]


@pytest.mark.parametrize(
    ("offered", "status"),
    [
        ([], 401),
        (["bearer"], 401),
        ([TEXT], 401),
        (["bearer."], 401),
        (["bearer.\u20ac\ud800"], 401),
        ([f"bearer.{TEXT}"] * 2, 400),
        ([f"Bearer.{TEXT}"], 401),
    ],
)
async def test_other_subprotocols_are_no_credentials(guarded: Guarded, offered: list[str], status: int) -> None:
    assert (await handshake(guarded(subprotocol="bearer"), subprotocols=offered)).status == status


@pytest.mark.parametrize(("denial", "kinds"), [(True, ["start", "body"]), (False, ["websocket.close"])])
async def test_a_refused_websocket_gets_a_response_or_is_closed_before_it_is_accepted(
    guarded: Guarded, inner: App, denial: bool, kinds: list[str]
) -> None:
    response: Any = await handshake(guarded(), headers=bearer(b"x"), denial=denial)
    assert [message["type"].removeprefix("websocket.http.response.") for message in response.messages] == kinds
    assert response.status == (401 if denial else 403)
    if denial:
        assert 'error="invalid_token"' in response["www-authenticate"]
    assert not inner.scopes


def test_an_origin_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"origins: .*'app\.example\.com' given"):
        JWTAuth(key="x" * 32, cookie="token", origins=["app.example.com"])
