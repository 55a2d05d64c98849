"""`examples/from_environment.py`."""

import pytest

from asgi_redis_guard import ConfigurationError
from tests.examples.conftest import Load, Serve, stack_of

ENVIRONMENT = {
    "GUARD_STACK": "jwt,ratelimit",
    "GUARD_EXEMPT": "/login",
    "GUARD_JWT_KEY": "a secret of at least 32 bytes, from a secret store",
    "GUARD_LIMITS": "10/minute,100/hour",
    "GUARD_LIMIT_KEY": "user",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example's first lines tell its reader to set."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


async def test_the_environment_s_stack_walks_the_story(load: Load, serve: Serve) -> None:
    app = load("from_environment").app
    async with serve(app) as visitor:
        await visitor.walk()
    assert stack_of(app.middleware_stack) == "<GuardMiddleware [jwt + ratelimit]"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GUARD_STACK", ""), ("GUARD_STACK", "jwt,nonsense"), ("GUARD_JWT_KEY", ""), ("GUARD_LIMITS", "")],
)
async def test_half_a_configuration_does_not_start(
    load: Load, serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        async with serve(load("from_environment").app):
            pytest.fail("it started")
