"""`CSRF` and `DeviceBinding` where no session guard stands outside of them, and where one leaves a path alone."""

import logging
from typing import Any

import pytest

from asgi_redis_guard import CSRF, CSRFMiddleware, DeviceBinding, Guard, GuardMiddleware, SessionMiddleware, Sessions
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.drive import App, Response, get, handshake
from tests.middleware.calls import TestRedis
from tests.sessions.site import KEY

ALONE = "no Sessions guard stands outside of it"


async def post(app: ASGIApp, path: str = "/") -> Response:
    """Send an unsafe request."""
    return await get(app, path, method="POST")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_csrf_without_sessions_refuses_what_is_unsafe_and_says_why(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    app = CSRFMiddleware(App(), key=KEY, exempt=["/hook"], redis=memory)
    for path, status in (("/", 403), ("/other", 403), ("/hook", 200)):
        assert (await post(app, path)).status == status
    assert "no session guard stands outside" in (await post(app)).json()["detail"]
    assert (await get(app)).status == 200
    assert (await handshake(app)).status == 101
    (line,) = told(caplog)
    assert ALONE in line
    assert "unsafe requests are refused" in line


async def test_device_binding_without_sessions_says_so_once(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    app = GuardMiddleware(App(), [DeviceBinding()], redis=memory)
    assert [(await get(app)).status, (await post(app)).status] == [200, 200]
    (line,) = told(caplog)
    assert ALONE in line
    assert "no request is compared" in line


class Between:
    """A middleware that is none of ours, so that what stands inside and outside are two stacks."""

    def __init__(self, app: ASGIApp) -> None:
        self.inner = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        await self.inner(scope, receive, send)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("guard", [CSRF(KEY), DeviceBinding()])
async def test_a_path_that_is_exempt_from_sessions_has_nothing_to_protect(
    memory: TestRedis, caplog: pytest.LogCaptureFixture, guard: Guard, apart: bool, lazy: bool
) -> None:
    if lazy and not apart and guard.kind == "devices":
        return  # refused at construction
    inner: Any = GuardMiddleware(App(), [guard], redis=memory)
    app = SessionMiddleware(Between(inner) if apart else inner, exempt=["/api/*"], lazy=lazy, redis=memory)
    assert len(app.guards) == (1 if apart else 2)
    assert (await post(app, "/api/hook")).status == 200
    assert (await post(app, "/page")).status == 200  # nobody's session: nothing to misuse
    assert told(caplog) == []


async def test_a_guard_in_a_stack_of_its_own_finds_the_sessions_of_another(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    inner = GuardMiddleware(App(), [CSRF(KEY), DeviceBinding()], redis=memory)
    app = GuardMiddleware(Between(inner), [Sessions()], redis=memory)
    assert (await post(app)).status == 200
    assert told(caplog) == []
