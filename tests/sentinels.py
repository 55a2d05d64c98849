"""A primary, its replica and three sentinels for tests: real processes of the same Valkey, made and ended together.

Law: as in `servers.py`; whatever a test does to one of them, all end with the test.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.servers import Option, Server, valkey9

SERVICE = "main-db"


class Sentinel(Server):
    """A sentinel; what it writes down about the others stays in its folder."""

    def __init__(
        self,
        primary: Server,
        *,
        quorum: int = 2,
        login: tuple[str, str] | None = None,
        port: int | None = None,
        **options: Option,
    ) -> None:
        super().__init__(primary.binary, tcp=True, **options)
        del self.options["save"], self.options["appendonly"]
        self._conf = Path(self.folder, "sentinel.conf")
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {port or primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} 400",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]
        if login is not None:
            lines += [f"sentinel auth-user {SERVICE} {login[0]}", f"sentinel auth-pass {SERVICE} {login[1]}"]
        self._conf.write_text("\n".join(lines) + "\n")

    def _program(self) -> list[str]:
        return [str(self.binary), str(self._conf), "--sentinel"]


class Service:
    """Two servers, of which one is the primary now, and the sentinels that watch them."""

    def __init__(self, stack: ExitStack, *, sentinel_options: dict[str, Option] | None = None, **options: Option):
        options = {"repl_diskless_sync_delay": 0, **options}
        first = stack.enter_context(Server(valkey9(), tcp=True, **options))
        login = ("default", first.password) if first.password else None
        replica_options: dict[str, Option] = {"replicaof": ["127.0.0.1", str(first.port)], **options}
        if first.password:
            replica_options["masterauth"] = first.password
            first.command("CONFIG", "SET", "masterauth", first.password)
        second = stack.enter_context(Server(valkey9(), tcp=True, **replica_options))
        self.servers = [first, second]
        self.sentinels = [
            stack.enter_context(Sentinel(first, login=login, **(sentinel_options or {}))) for _ in range(3)
        ]

    @property
    def url(self) -> str:
        """The URL for clients; sentinels with a password of their own want one in the query."""
        first = self.servers[0]
        login = f":{first.password}@" if first.password else ""
        query = f"?sentinel_password={self.sentinels[0].password}" if self.sentinels[0].password else ""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{login}{hosts}/{SERVICE}/0{query}"

    @property
    def primary(self) -> Server:
        """Where the first sentinel says that the primary is."""
        _, port = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def other(self) -> Server:
        """The server that is not the primary."""
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    @property
    def ready(self) -> bool:
        """True once one server is the replica of the other, in sync, and every sentinel knows all."""
        known = [sentinel.command("INFO", "sentinel")["master0"] for sentinel in self.sentinels]
        primary, replication = self.primary, self.other.command("INFO", "replication")
        if replication["role"] == "master":  # the sentinels order that too, ten seconds after a failover
            self.other.command("REPLICAOF", "127.0.0.1", primary.port)
        synced = replication.get("master_link_status") == "up" and replication["master_port"] == primary.port
        return synced and all((each["status"], each["slaves"], each["sentinels"]) == ("ok", 1, 3) for each in known)

    def failover(self) -> bool:
        """Order one, and tell whether it will be done: not while the replica was not seen well for long enough."""
        try:
            return bool(self.sentinels[0].command("SENTINEL", "FAILOVER", SERVICE))
        except redis.ResponseError:
            return False


@contextmanager
def sentinel_service(**options: Any) -> Iterator[Service]:
    """Run all of them."""
    with ExitStack() as stack:
        yield Service(stack, **options)
