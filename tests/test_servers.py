"""The servers that other tests stand on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import servers
from tests.conftest import BACKENDS, MakeServer
from tests.servers import Server, redis7, redis62, valkey9
from tests.tls import Certificates, TLSProxy

NO_RETRY = Retry(NoBackoff(), 0)
KINDS = [kind for kind in BACKENDS if kind != "memory"]


def alive(pid: int) -> bool:
    """Tell whether a process exists and is not merely waiting to be buried."""
    if Path("/proc/self/stat").exists():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_starts_and_has_the_version_that_its_name_promises(make_server: MakeServer, kind: str) -> None:
    info = make_server(kind).command("INFO", "server")
    version = info.get("valkey_version", info["redis_version"])
    assert version.startswith({"valkey9": "9.", "redis62": "6.2."}.get(kind, version))
    assert int(version.split(".")[0]) >= 6


def test_a_redis_on_path_counts_only_from_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(redis62().parent))
    redis7.cache_clear()
    try:
        assert redis7() is None
    finally:
        redis7.cache_clear()


def test_a_server_keeps_nothing_on_disk(fresh_server: Server) -> None:
    fresh_server.command("SET", "key", "value")
    fresh_server.restart()
    assert fresh_server.command("GET", "key") is None


def test_a_killed_server_is_gone_and_comes_back_at_the_same_url(fresh_server: Server) -> None:
    url, pid = fresh_server.url, fresh_server.pid
    fresh_server.kill()
    assert not alive(pid)
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(url).ping()
    fresh_server.start()
    assert (fresh_server.url, fresh_server.command("PING")) == (url, True)


def test_a_paused_server_is_silent_until_resumed_and_can_be_stopped(fresh_server: Server) -> None:
    fresh_server.pause()
    impatient = redis.Redis.from_url(fresh_server.url, socket_timeout=0.1, retry=NO_RETRY)
    with impatient as client, pytest.raises(redis.TimeoutError):
        client.ping()
    fresh_server.resume()
    assert fresh_server.command("PING")
    fresh_server.pause()
    fresh_server.stop()
    assert "bye bye" in fresh_server._log(), "it ended by itself"


def test_a_port_is_verified_to_be_our_own(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_server(tcp=True)
    free = servers.free_port()
    offers = iter([first.port, free])
    monkeypatch.setattr(servers, "PORTS_TO_TRY", 2)
    monkeypatch.setattr(servers, "free_port", lambda: next(offers))
    second = make_server(tcp=True)
    assert second.url == f"redis://127.0.0.1:{free}"
    assert second.command("INFO", "server")["process_id"] == second.pid != first.pid


def test_a_server_over_tcp_restarts_on_its_port(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    url = server.url
    server.restart()
    assert server.url == url
    assert server.command("PING")


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_may_ask_for_a_password(make_server: MakeServer, kind: str, tcp: bool) -> None:
    server = make_server(kind, tcp=tcp, requirepass="se cret")
    assert server.command("PING")
    with redis.Redis(unix_socket_path=server.path, retry=NO_RETRY) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_options_reach_the_server(make_server: MakeServer) -> None:
    server = make_server(maxmemory="10mb", maxmemory_policy="volatile-lru", user=["alice", "on", ">pw", "+ping"])
    assert server.command("CONFIG GET", "maxmemory*")["maxmemory-policy"] == "volatile-lru"
    with redis.Redis(unix_socket_path=server.path, username="alice", password="pw") as client:
        assert client.ping()


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        Server(valkey9(), maxmemory="nonsense").start()


def test_a_server_dies_with_the_process_that_started_it() -> None:
    code = "from tests.servers import *; s = Server(valkey9()).start(); print(s.pid, s.folder); time.sleep(60)"
    root = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert alive(int(pid))
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + servers.READY_WITHIN
    while (alive(int(pid)) or Path(folder).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(pid))
    assert not Path(folder).exists()


@pytest.mark.parametrize("end", ["", "; sys.exit(3)", "; os.kill(os.getpid(), 2)"])
def test_a_server_ends_with_the_interpreter(end: str) -> None:
    code = f"import sys; from tests.servers import *; s = Server(valkey9()).start(); print(s.pid, s.folder){end}"
    root = Path(__file__).parent.parent
    run = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True, cwd=root, check=False)
    pid, folder = run.stdout.split()
    assert not alive(int(pid))
    assert not Path(folder).exists()


def test_the_shared_server_is_empty_in_each_test(redis_url: str, valkey: Server) -> None:
    assert redis_url == valkey.url
    assert valkey.command("DBSIZE") == 0


def test_each_backend_is_empty(backend: str) -> None:
    if backend != "memory://":
        with redis.Redis.from_url(backend) as client:
            assert client.dbsize() == 0


async def test_tls_reaches_the_server_for_those_who_know_the_authority(tls_server: TLSProxy) -> None:
    async with redis.asyncio.Redis.from_url(tls_server.url) as client:
        await client.set("key", b"x" * 300_000)
        assert await client.get("key") == b"x" * 300_000


async def test_tls_is_refused_by_those_who_trust_another_authority(tls_server: TLSProxy, tmp_path: Path) -> None:
    url = f"{tls_server.url_without_ca}?ssl_ca_certs={Certificates(tmp_path).ca}"
    for bad in (tls_server.url_without_ca, url):
        async with redis.asyncio.Redis.from_url(bad, retry=AsyncRetry(NoBackoff(), 0)) as client:
            with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.ping()
