"""Histories of reads and writes over replicas: a lag that comes and goes, nodes of a cluster that fail."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.cache.decorator import cached
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.cache.site import Site, routes, writing
from tests.cluster import Cluster
from tests.conftest import MakeServer
from tests.drive import get
from tests.redis.tools import PATIENCE
from tests.replicated import Replicated, read_from, replicated, runs_of


@pytest.fixture
async def pair(make_server: MakeServer) -> AsyncIterator[Replicated]:
    async with replicated(make_server) as pair:
        yield pair


class Pages:
    """Pages that tell the version of what they show; each has its own tag."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self._shown: dict[str, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/")[2]
        if name not in self._shown:
            self._shown[name] = cached(ttl=600, tags=[f"page-{name}"])(self._show)
        await self._shown[name](scope, receive, send)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = self.versions.get(scope["path"].rpartition("/")[2], 0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % version})


def site(redis: RedisManager, pages: Pages, *names: str, **options: object) -> Site:
    writes = {f"write-{name}": writing(f"page-{name}") for name in names}
    return Site(routes(pages=pages, **writes), redis, **options)


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_reads_what_was_there_before_an_own_write(pair: Replicated, seed: int) -> None:
    chance, pages, names = random.Random(seed), Pages(), ("a", "b", "c")
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=PATIENCE) as elsewhere:
        mine = site(redis, pages, *names, read_from_replicas=True)
        other = site(elsewhere, pages, *names)
        least, lagging = dict.fromkeys(names, 0), False
        await read_all(mine, [*names])
        await pair.agreed()
        await read_all(mine, [*names])
        assert mine.outcomes()[-len(names) :] == ["hit"] * len(names)
        for step in range(80):
            name = chance.choice(names)
            what = chance.choices(("read", "write", "other", "lag"), (8, 3, 1, 0.6))[0]
            if what == "read":
                found = int((await mine.get(f"/pages/{name}")).body)
                assert found >= least[name], (seed, step)
            elif what == "lag":
                lagging = not lagging
                if lagging:
                    pair.lag()
                else:
                    await pair.catch_up()
                    await read_from(redis)
            else:
                pages.versions[name] = pages.versions.get(name, 0) + 1
                assert (await (mine if what == "write" else other).post(f"/write-{name}")).status == 204
                if what == "write":
                    least[name] = pages.versions[name]
        if lagging:
            await pair.catch_up()
        for name in names:
            assert int((await mine.get(f"/pages/{name}")).body) == pages.versions.get(name, 0)


async def test_pages_of_a_cluster_come_from_its_replicas_also_while_a_primary_fails() -> None:
    pages, names = Pages(), [f"page{number}" for number in range(12)]
    with Cluster(3, 1, node_timeout=1000) as cluster:
        async with RedisManager(cluster.url, timeout=PATIENCE, read_from_replicas=True) as redis:
            found = site(redis, pages, *names, read_from_replicas=True)
            await read_all(found, names)
            await until_read_from_replicas(found, names, cluster)
            assert found.outcomes()[-len(names) :] == ["hit"] * len(names)
            cluster.primaries[0].kill()
            ended = asyncio.Event()
            reading = asyncio.create_task(read_until(found, names, ended))
            await asyncio.to_thread(cluster.until_well, without=[cluster.primaries[0]])
            for name in names:
                pages.versions[name] = 1
                assert (await found.post(f"/write-{name}")).status == 204
                assert (await found.get(f"/pages/{name}")).body == b"1"
            ended.set()
            assert await reading > 0


async def read_all(found: Site, names: list[str]) -> None:
    for name in names:
        assert (await found.get(f"/pages/{name}")).status == 200


async def read_until(found: Site, names: list[str], ended: asyncio.Event) -> int:
    """Read without a pause; every answer is one, for what Redis cannot tell the app does."""
    count = 0
    while not ended.is_set():
        response = await get(found.app, f"/pages/{names[count % len(names)]}", [(b"host", b"test")])
        assert (response.status, response.body in (b"0", b"1")) == (200, True)
        count += 1
    return count


async def until_read_from_replicas(found: Site, names: list[str], cluster: Cluster) -> None:
    """Wait until all are answered by replicas alone."""
    await read_from(found.redis, *[b"{%d}" % number for number in range(50)])
    async with asyncio.timeout(PATIENCE):
        while True:
            before = sum(map(runs_of, cluster.primaries))
            await read_all(found, names)
            if sum(map(runs_of, cluster.primaries)) == before:
                return
