"""What several tests of the cache begin with."""

import logging
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import Cache
from asgi_redis_guard.cache import telling
from asgi_redis_guard.core.warnings import Warnings
from tests.cache.two import two


@pytest.fixture
async def caches(backend: str) -> AsyncIterator[tuple[Cache, Cache]]:
    """Two caches of two processes, as far as Redis can tell, on each kind of server."""
    async with two(backend) as both:
        yield both


@pytest.fixture
async def cache(caches: tuple[Cache, Cache]) -> Cache:
    """One of them."""
    return caches[0]


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is told in this test, whatever was told before."""
    monkeypatch.setattr(telling, "_warnings", Warnings(logging.getLogger("asgi_redis_guard.cache")))
    return caplog
