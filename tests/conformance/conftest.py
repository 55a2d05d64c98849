"""The program on every kind of server, under a clock that the test sets; on two of them cut by slots as well."""

from collections.abc import AsyncIterator, Callable

import pytest

from asgi_redis_guard import RedisManager
from tests.conformance.clockwork import Clockwork
from tests.conftest import BACKENDS
from tests.cutting import cut
from tests.servers import Server

#: A store, and whether each hash tag is a slot of its own there.
WAYS = [*((store, False) for store in BACKENDS), ("memory", True), ("valkey9", True)]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}{' cut' if way[1] else ''}")
def way(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """A store, and whether rounds are cut."""
    store, is_cut = request.param
    return str(store), bool(is_cut)


@pytest.fixture
async def manager(way: tuple[str, bool], shared_servers: Callable[[str], Server]) -> AsyncIterator[RedisManager]:
    """A manager on an empty store of each kind in turn."""
    store, is_cut = way
    if store != "memory":
        shared_servers(store).command("FLUSHALL")
    async with RedisManager("memory://" if store == "memory" else shared_servers(store).url, timeout=10) as manager:
        if is_cut:
            cut(manager)
        yield manager


@pytest.fixture
def clockwork(manager: RedisManager, way: tuple[str, bool]) -> Clockwork:
    return Clockwork(manager, cut=way[1])
