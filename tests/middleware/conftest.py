"""What tests of the engine share: a store in this process that tells of its rounds."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard.middleware.routed import DECLARED
from tests.middleware.calls import TestRedis, noting


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """An empty store in memory."""
    async with noting() as redis:
        yield redis


@pytest.fixture(autouse=True)
def no_route_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process does in which no route has guards: the engine takes its shorter way."""
    monkeypatch.setattr(DECLARED, "any", False)
    monkeypatch.setattr(DECLARED, "reads_body", 0)
