"""A cluster that speaks TLS, among its nodes and with clients: its map has other ports there, and all are followed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.redis.test_tls import redis_with_tls, serves, tls_options
from tests.redis.tools import PATIENCE, mark, run, within
from tests.servers import Server
from tests.tls import Certificates

KEYS = [b"key:%d" % number for number in range(40)]


class TLSCluster(Cluster):
    """Plain ports are for the test alone."""

    def __init__(self, certificates: Certificates, binary: Path) -> None:
        self._certificates = certificates
        super().__init__(3, 1, binary=binary, tls_cluster="yes", tls_replication="yes", node_timeout=1000)

    def _server(self) -> Server:
        options = tls_options(self._certificates, None, asks_clients=False)
        while options["tls_port"] > 50_000:  # the nodes talk at a port that is higher by 10,000
            options = tls_options(self._certificates, None, asks_clients=False)
        return Server(self._binary, tcp=True, **self._options, **options)

    def _meet(self, server: Server) -> None:
        server.command("CLUSTER", "MEET", "127.0.0.1", tls_port(self.servers[0]))

    @property
    def url(self) -> str:
        """The URL for clients that know the authority."""
        hosts = ",".join(f"127.0.0.1:{tls_port(server)}" for server in self.servers)
        return f"rediss+cluster://{hosts}?ssl_ca_certs={self._certificates.ca}"


def tls_port(server: Server) -> int:
    return int(str(server.options["tls_port"]))


if (binary := redis_with_tls()) is not None:

    @pytest.fixture(scope="module")
    def secret_cluster(certificates: Certificates) -> Iterator[TLSCluster]:
        assert binary is not None
        with TLSCluster(certificates, binary) as cluster:
            yield cluster

    async def test_everything_is_spoken_over_tls_to_the_ports_of_the_map(secret_cluster: TLSCluster) -> None:
        await serves(secret_cluster.url)
        ports = {tls_port(server) for server in secret_cluster.servers}
        async with RedisManager(secret_cluster.url, timeout=PATIENCE) as manager:
            await asyncio.gather(*(manager.execute("SET", key, key) for key in KEYS))
            await asyncio.gather(*(run(manager, [mark(b"list" + key)]) for key in KEYS))
            topology = manager.links.topology
            assert topology is not None
            assert {place.port for place in topology.members()} <= ports
            assert len(topology.nodes) == 3
            async with manager.pubsub.subscribe(*KEYS[:6], sharded=True) as news:
                await manager.pubsub.publish(KEYS[0], b"hello", sharded=True)
                assert (await within(anext(news))).data == b"hello"
            assert (await manager.health())["healthy"]

    async def test_redirections_and_a_failover_are_followed(secret_cluster: TLSCluster) -> None:
        async with RedisManager(secret_cluster.url, timeout=PATIENCE) as manager:
            await asyncio.gather(*(manager.execute("SET", key, key) for key in KEYS))
            source = secret_cluster.owner_of(KEYS[0])
            target = next(server for server in secret_cluster.primaries if server is not source)
            await asyncio.to_thread(move, secret_cluster, KEYS[0], source, target)
            assert await within(manager.execute("GET", KEYS[0])) == KEYS[0]
            heir = secret_cluster.replicas[secret_cluster.primaries.index(target)]
            await asyncio.to_thread(secret_cluster.failover, heir)
            async with asyncio.timeout(PATIENCE):
                while tls_port(heir) not in {place.port for place in _nodes(manager)}:  # the former one may still read
                    assert await asyncio.gather(*(manager.execute("GET", key) for key in KEYS)) == KEYS

    async def test_who_does_not_know_the_authority_is_told_so(secret_cluster: TLSCluster) -> None:
        url = secret_cluster.url.partition("?")[0]
        async with RedisManager(url, timeout=PATIENCE) as manager:
            with pytest.raises(RedisUnavailable, match="ssl_ca_certs"):
                await within(manager.execute("PING"))


def move(cluster: TLSCluster, key: bytes, source: Server, target: Server) -> None:
    """Move a slot; MIGRATE goes to the port where the target speaks TLS."""
    slot = slot_of(key)
    cluster.begin_migration(slot, source, target)
    keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
    source.command("MIGRATE", "127.0.0.1", tls_port(target), "", 0, 5000, "KEYS", *keys)
    cluster.end_migration(slot, target)


def _nodes(manager: RedisManager) -> Any:
    topology = manager.links.topology
    assert topology is not None
    return topology.nodes
