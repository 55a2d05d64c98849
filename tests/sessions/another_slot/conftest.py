"""A manager on a cluster, where something can happen between the two steps by which a session changes its slot."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster import Cluster
from tests.redis.tools import PATIENCE
from tests.sessions.another_slot.steps import Failing
from tests.sessions.test_recording import Watched


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[Failing]:
    """A manager on a cluster, where something can happen between two steps."""
    async with Failing(cluster.url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
def site(redis: Failing) -> Watched:
    """Sessions that are counted, and whose events are."""
    return Watched(redis, statistics=True)
