"""A `Secure` cookie that is given over plain HTTP: told once, for browsers drop it and nothing else would say so."""

import logging
from typing import Any

import pytest

from asgi_redis_guard import Devices, GuardMiddleware, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.drive import App, get, handshake, http_scope
from tests.middleware.calls import TestRedis


async def remember(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that writes into the session."""
    scope["session"]["seen"] = True
    await App()(scope, receive, send)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_it_is_told_once_for_each_guard(memory: TestRedis, caplog: pytest.LogCaptureFixture) -> None:
    app = GuardMiddleware(remember, [Sessions()], redis=memory)
    for _ in range(3):
        assert (await get(app)).all("set-cookie")
    (line,) = warnings(caplog)
    assert "__Host-session is Secure and browsers drop it over plain HTTP; say https_only=False there" in line
    assert "X-Forwarded-Proto" in line
    await handshake(GuardMiddleware(remember, [Sessions()], redis=memory))
    assert len(warnings(caplog)) == 2


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ({}, {"scheme": "https"}),
        ({}, {"headers": [(b"x-forwarded-proto", b"https")]}),
        ({}, {"headers": [(b"x-forwarded-proto", b"HTTPS, http")]}),
        ({}, {"headers": [(b"forwarded", b"for=192.0.2.60;proto=https;by=203.0.113.43")]}),
        ({"https_only": False}, {"scheme": "http"}),
    ],
)
async def test_it_is_not_told_where_the_browser_keeps_the_cookie(
    memory: TestRedis, caplog: pytest.LogCaptureFixture, options: Any, scope: dict[str, Any]
) -> None:
    assert (await get(GuardMiddleware(remember, [Sessions(**options)], redis=memory), **scope)).all("set-cookie")
    assert warnings(caplog) == []


async def test_it_is_not_told_where_no_cookie_is_given(memory: TestRedis, caplog: pytest.LogCaptureFixture) -> None:
    assert not (await get(GuardMiddleware(App(), [Sessions()], redis=memory))).all("set-cookie")
    assert warnings(caplog) == []


async def test_a_proxy_that_says_http_does_not_help(memory: TestRedis, caplog: pytest.LogCaptureFixture) -> None:
    await get(GuardMiddleware(remember, [Sessions()], redis=memory), headers=[(b"x-forwarded-proto", b"http")])
    assert len(warnings(caplog)) == 1


async def test_so_it_is_of_a_device_s_cookie(memory: TestRedis, caplog: pytest.LogCaptureFixture) -> None:
    devices = Devices(memory)
    await devices.trust("alice")  # nothing is known of the request
    await devices.trust("alice", scope=http_scope(scheme="https"))
    assert warnings(caplog) == []
    for _ in range(2):
        await devices.trust("alice", scope=http_scope())
    (line,) = warnings(caplog)
    assert "__Host-device is Secure" in line
