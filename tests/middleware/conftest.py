"""What tests of the engine share: a store in this process that tells of its rounds."""

from collections.abc import AsyncIterator

import pytest

from tests.middleware.calls import TestRedis, settled


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """An empty store in memory."""
    redis = TestRedis()
    yield redis
    await settled(redis)
    await redis.aclose()
