"""Fixtures that every test may ask for: servers of their own or shared ones, emptied before each test.

Law: no fixture skips; a backend that a machine lacks is left out of the parameters.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from asgi_redis_guard import RedisManager
from asgi_redis_guard.redis import loss_watch
from tests.accounts import login_of, note_commands
from tests.redis.tools import PATIENCE
from tests.servers import Option, Server, redis7, redis62, valkey9
from tests.tls import Certificates, TLSProxy

BINARIES: dict[str, Callable[[], Path | None]] = {"valkey9": valkey9, "redis7": redis7, "redis62": redis62}
BACKENDS = ["memory", "valkey9", *(["redis7"] if redis7() else []), "redis62"]

# How fast a machine makes up examples, or runs them, says nothing about what is tested.
settings.register_profile("any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class MakeServer:
    """Starts servers: `make_server("redis62", tcp=True, maxmemory="10mb")`; all are ended with the test."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def __call__(self, kind: str = "valkey9", /, *, tcp: bool = False, **options: Option) -> Server:
        binary = BINARIES[kind]()
        assert binary is not None, f"this machine has no {kind}; choose from {BACKENDS}"
        self.servers.append(Server(binary, tcp=tcp, **options))
        return self.servers[-1].start()

    def stop(self) -> None:
        """End all of them."""
        for server in self.servers:
            server.stop()


#: Tests of what the watch over lost data does by itself; elsewhere round trips are counted, and it would make some.
_WATCHED = {"revocation", "faults", "redis"}


@pytest.fixture(autouse=True)
def looks_when_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are looked at for lost data as ever, but by no beat."""
    if not _WATCHED.intersection(request.node.path.parts):
        monkeypatch.setattr(loss_watch, "_BEAT", 3600.0)


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Start servers that end with the test."""
    factory = MakeServer()
    yield factory
    factory.stop()


@pytest.fixture
def fresh_server(make_server: MakeServer) -> Server:
    """A Valkey that belongs to the test alone: it may kill, pause and configure it."""
    return make_server()


@pytest.fixture
async def fresh_redis(fresh_server: Server) -> AsyncIterator[RedisManager]:
    """A manager on `fresh_server`."""
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[Callable[[str], Server]]:
    """One server of each kind for all tests, started when the first one asks."""
    factory = MakeServer()
    started: dict[str, Server] = {}

    def get(kind: str) -> Server:
        if kind not in started:
            started[kind] = factory(kind)
        return started[kind]

    yield get
    note_commands(started.values())
    factory.stop()


@pytest.fixture(scope="session")
def valkey(shared_servers: Callable[[str], Server]) -> Server:
    """The Valkey that tests share: never kill, pause or configure it."""
    return shared_servers("valkey9")


@pytest.fixture
def redis_url(valkey: Server) -> str:
    """The URL of the shared Valkey, which is empty."""
    valkey.command("FLUSHALL")
    return login_of(valkey)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, shared_servers: Callable[[str], Server]) -> str:
    """The URL of an empty store, of each kind in turn."""
    if request.param == "memory":
        return "memory://"
    server = shared_servers(request.param)
    server.command("FLUSHALL")
    return login_of(server)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that no client knows by itself, and a server's certificate from it."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def tls_server(redis_url: str, valkey: Server, certificates: Certificates) -> AsyncIterator[TLSProxy]:
    """TLS in front of the shared Valkey; `url` names the authority, `url_without_ca` does not."""
    async with TLSProxy(valkey.path, certificates) as proxy:
        yield proxy
