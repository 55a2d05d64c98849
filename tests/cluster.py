"""Real clusters for tests: some servers that know each other, on ports of the loopback.

Law: like the servers that it consists of, a cluster never outlives the test run.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import redis

from asgi_redis_guard.redis.slots import SLOTS, slot_of
from tests.servers import Option, Server, valkey9

#: Seconds for what a cluster agrees on by gossip.
AGREED_WITHIN = 40.0


def until(true: Callable[[], object], what: str, within: float = AGREED_WITHIN) -> None:
    """Wait until something holds that servers tell each other."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except redis.RedisError:  # one of them is just starting, or ending
            pass
        time.sleep(0.05)
    raise RuntimeError(f"the cluster has not come so far: {what}")


class Cluster:
    """`primaries` servers that share the slots evenly, with `replicas` each. `node_timeout` is in milliseconds."""

    def __init__(
        self,
        primaries: int = 3,
        replicas: int = 0,
        *,
        binary: Path | None = None,
        node_timeout: int = 2000,
        **options: Option,
    ) -> None:
        self.size = primaries
        self._options: dict[str, Option] = {
            "cluster_enabled": "yes",
            "cluster_node_timeout": node_timeout,
            "repl_diskless_sync_delay": 0,
            "cluster_replica_validity_factor": 0,
            **options,
        }
        self._binary = binary or valkey9()
        self.servers = [self._server() for _ in range(primaries * (1 + replicas))]

    def _server(self) -> Server:
        return Server(self._binary, tcp=True, **self._options)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def primaries(self) -> list[Server]:
        """Those that began as primaries."""
        return self.servers[: self.size]

    @property
    def replicas(self) -> list[Server]:
        """Those that began as replicas: the first of the first primary, and so on."""
        return self.servers[self.size :]

    @property
    def url(self) -> str:
        """The URL for clients, with all servers."""
        login = f":{self.servers[0].password}@" if self.servers[0].password else ""
        return f"redis+cluster://{login}{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"

    def start(self) -> Self:
        """Start all servers and wait until they serve as one."""
        for server in self.servers:
            server.start()
        for number, server in enumerate(self.primaries):
            first, end = (SLOTS * place // self.size for place in (number, number + 1))
            server.command("CLUSTER", "ADDSLOTS", *range(first, end))
            server.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self._meet(server)
        for number, replica in enumerate(self.replicas):
            self.replicate(replica, self.primaries[number % self.size])
        self.until_well()
        return self

    def stop(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.kill()

    def _meet(self, server: Server) -> None:
        server.command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)

    def add(self) -> Server:
        """Start a server more, a primary without slots, which all know."""
        server = self._server().start()
        self.servers.append(server)
        self._meet(server)
        self.until_well()
        return server

    def remove(self, server: Server) -> None:
        """Let the others forget a server, which runs on by itself."""
        gone = self.id_of(server)
        self.servers.remove(server)
        for other in self.servers:
            other.command("CLUSTER", "FORGET", gone)
        if server.command("ROLE")[0] == b"master":  # else it has become a replica of who took its last slot
            server.command("FLUSHALL")
        server.command("CLUSTER", "RESET", "HARD")

    def replicate(self, replica: Server, primary: Server) -> None:
        """Make a server the replica of another."""
        name = self.id_of(primary)
        until(lambda: name in nodes_of(replica), "a primary is known")
        replica.command("CLUSTER", "REPLICATE", name)
        until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up", "a replica follows")

    def until_well(self, *, without: Iterable[Server] = ()) -> None:
        """Wait until all servers, apart from some, know each other and serve all slots."""
        serving = [server for server in self.servers if server not in without]
        until(lambda: all(_is_well(server, len(serving)) for server in serving), "all is well")

    def id_of(self, server: Server) -> str:
        """The name by which the others know a server."""
        return str(server.command("CLUSTER", "MYID").decode())

    def owner_of(self, key: str | bytes | int) -> Server:
        """The server that serves a key, or a slot."""
        slot = key if isinstance(key, int) else slot_of(key.encode() if isinstance(key, str) else key)
        return next(server for server in self.servers if any(slot in own for own in slots_of(server)))

    def others(self, server: Server) -> list[Server]:
        """All but one."""
        return [other for other in self.servers if other is not server]

    def command(self, *args: Any, key: str | bytes = b"") -> Any:
        """Run a command where a key is."""
        return self.owner_of(key).command(*args)

    def flush(self) -> None:
        """Empty all primaries."""
        for server in self.servers:
            if server.command("ROLE")[0] == b"master":
                server.command("FLUSHALL")

    # Moving slots.

    def begin_migration(self, slot: int, source: Server, target: Server) -> None:
        """Say that a slot moves; its keys stay where they are."""
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def migrate_keys(self, slot: int, source: Server, target: Server, most: int = 1_000_000) -> None:
        """Move keys of a slot that moves."""
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            login = ["AUTH", target.password] if target.password else []
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, *login, "KEYS", *keys)

    def end_migration(self, slot: int, target: Server) -> None:
        """Say to all that a slot has moved; first to its new owner, as the specification asks."""
        name = self.id_of(target)
        for server in [target, *self.others(target)]:
            if server.command("ROLE")[0] == b"master":
                server.command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def migrate(self, slot: int, source: Server, target: Server) -> None:
        """Move a slot with all its keys."""
        self.begin_migration(slot, source, target)
        self.migrate_keys(slot, source, target)
        self.migrate_keys(slot, source, target)  # what a script wrote meanwhile, before all its keys had moved
        self.end_migration(slot, target)

    def failover(self, replica: Server) -> None:
        """Have a replica take over from its primary in order."""
        replica.command("CLUSTER", "FAILOVER")
        until(lambda: replica.command("ROLE")[0] == b"master", "a replica has taken over")


def nodes_of(server: Server) -> set[str]:
    """The names of all that a server knows."""
    return {line.split()[0] for line in server.command("CLUSTER", "NODES").decode().splitlines()}


def slots_of(server: Server) -> Iterator[range]:
    """The slots that a server believes to be its own."""
    for first, last, primary, *_ in server.command("CLUSTER", "SLOTS"):
        if primary[1] == server.port:
            yield range(first, last + 1)


def _is_well(server: Server, known: int) -> bool:
    info = dict(line.split(":", 1) for line in server.command("CLUSTER", "INFO").decode().split())
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) >= known
