"""What may be sent to the routes of a token service that is no proper request, and what its sender is told."""

from urllib.parse import urlencode

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from tests.jwt.routes.test_app import error_of
from tests.jwt.routes.visits import FORM, send
from tests.jwt.services import service

MALFORMED: list[tuple[bytes, str | None, int, str]] = [
    (b"", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=", FORM, 400, "invalid_request"),
    (b"refresh_token=x", FORM, 400, "invalid_request"),
    (b"grant_type=&refresh_token=x", FORM, 400, "invalid_request"),
    (b"grant_type=password&refresh_token=x", FORM, 400, "unsupported_grant_type"),
    (b"grant_type=refresh_token&refresh_token=x", FORM, 400, "invalid_grant"),
    (b"grant_type=refresh_token&refresh_token=x&refresh_token=x", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x&a=1&a=1", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=%FF", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=\xff", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x%00", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x%0D%0Ay", FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x" + b"&a=1" * 5000, FORM, 400, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=" + b"x" * 65_000, FORM, 400, "invalid_grant"),
    (b"grant_type=refresh_token&refresh_token=" + b"x" * 66_000, FORM, 413, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x", f"{FORM}; charset=UTF-8", 400, "invalid_grant"),
    (b"grant_type=refresh_token&refresh_token=x", "text/plain", 415, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x", None, 415, "invalid_request"),
    (b"grant_type=refresh_token&refresh_token=x&client_secret=abc", FORM, 400, "invalid_request"),
    (b'{"grant_type":"refresh_token","refresh_token":"x"}', "application/json", 415, "invalid_request"),
]


@pytest.mark.parametrize(("body", "kind", "status", "error"), MALFORMED)
async def test_a_malformed_request_is_told_what_is_wrong_with_it(
    manager: RedisManager, body: bytes, kind: str | None, status: int, error: str
) -> None:
    response = await send(TokenRoutes(service(manager)), "/token", body, kind)
    assert error_of(response) == (status, error)
    assert response.all("accept") == ([FORM] if status == 415 else [])


MALFORMED_JSON = [
    b"{",
    b"[]",
    b'"x"',
    b"null",
    b"\xff",
    b"[" * 30_000,
    b'{"refresh_token":' + b"[" * 30_000,
    b'{"refresh_token":' + b"9" * 30_000 + b"}",
    b'{"refresh_token":"a","refresh_token":"b"}',
    b'{"refresh_token":["a"]}',
    b'{"refresh_token":1.5}',
    b'{"refresh_token":"\\ud800"}',
    b'{"refresh_token":"\\u0000"}',
    b'{"refresh_token":""}',
    b"{}",
    b"",
]


@pytest.mark.parametrize("body", MALFORMED_JSON)
async def test_malformed_json_is_no_error_of_the_server(manager: RedisManager, body: bytes) -> None:
    response = await send(TokenRoutes(service(manager)), "/refresh", body, "application/json")
    assert error_of(response) == (400, "invalid_request")


async def test_what_stands_in_the_url_is_not_read(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    query = urlencode({"grant_type": "refresh_token", "refresh_token": pair.refresh_token})
    response = await send(TokenRoutes(tokens), "/token", b"", FORM, query_string=query.encode())
    assert error_of(response) == (400, "invalid_request")


async def test_a_compressed_body_is_not_read(manager: RedisManager) -> None:
    headers = {"content-encoding": "gzip"}
    assert (await send(TokenRoutes(service(manager)), "/token", b"\x1f\x8b", FORM, headers)).status == 415
