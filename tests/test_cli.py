"""The command, run as a reader runs it: as a child process, over real HTTP, with the lines that it prints.

Law: signals go to the command's own process id alone; whatever happens, it has ended when the test ends.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from asgi_redis_guard import __version__
from asgi_redis_guard.cli import main
from tests.conftest import MakeServer
from tests.pace import Pace
from tests.test_servers import alive

PATIENCE = 20  # seconds; a start takes one, on a busy machine several
UNSET = ("REDIS", "GUARD", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would lead the command or curl elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(UNSET)} | variables


class Demo:
    """A running `asgi-redis-guard demo`; `guide` is what it printed."""

    def __init__(self, folder: Path, *options: str, command: tuple[str, ...] = (), **variables: str) -> None:
        words = [*(command or (sys.executable, "-m", "asgi_redis_guard")), "demo", *options]
        self.errors = folder / "stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                words, cwd=folder, env=environment(**variables), stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.guide = ""

    def wait_until_it_serves(self) -> "Demo":
        """Read the guide to its end: from there on, connections are accepted."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.guide += line
            if line.startswith("Ctrl-C"):
                return self
        pytest.fail(f"it ended with {self.process.wait()}: {self.stderr}")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self.errors.read_text()

    @property
    def url(self) -> str:
        """Where it says that it serves."""
        return self._printed(r"^  API=(\S+)$")

    @property
    def password(self) -> str:
        """What it says that the password is."""
        return self._printed(r"with the password (\S+);")

    @property
    def socket(self) -> str:
        """Where it says that its embedded server is."""
        return self._printed(r"\(embedded, unix://(\S+)\)$")

    @property
    def lines(self) -> str:
        """The lines to try, as they can be copied from the terminal."""
        return "".join(line + "\n" for line in self.guide.splitlines() if line.startswith("  "))

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.guide, re.MULTILINE)
        assert found is not None, self.guide
        return found[1]

    def end(self, *signals: int) -> int:
        """Send signals and return the exit status."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it in the polite way, in which it takes its server along, and in the other if that does not help."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start demos, on a free port unless told otherwise; they are ended with the test."""
    running: list[Demo] = []

    def start(*options: str, **variables: Any) -> Demo:
        running.append(Demo(tmp_path, *(options or ("--port", "0")), **variables))
        return running[-1].wait_until_it_serves()

    yield start
    for demo in running:
        demo.close()


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "asgi_redis_guard", *words]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def bash(script: str) -> str:
    """Return what a script prints."""
    words = ["bash", "-u", "-c", script]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def log_in(demo: Demo, user: str) -> httpx.Client:
    """Return a client with a token."""
    body = {"user": user, "password": demo.password}
    token = httpx.post(f"{demo.url}/login", json=body, trust_env=False).json()["access_token"]
    return httpx.Client(base_url=demo.url, headers={"authorization": f"Bearer {token}"}, trust_env=False)


# What it prints, and the API behind that.


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl; the next test walks the same way without it")
def test_the_printed_lines_work_when_pasted_as_they_are(start: Start) -> None:
    lines, pace = start().lines, Pace(burst=10, every=6)
    printed = bash(lines)
    *statuses, last = re.findall(r"^(?:[\d ]* )?HTTP/1.1 (\d+)", printed, re.MULTILINE)
    assert statuses == ["200", "403", "204", "401"]
    assert '{"user":"alice","scopes":[]}' in printed
    assert "The access token was revoked" in printed
    codes = re.search(r"^((?:\d{3} ){10})HTTP", printed, re.MULTILINE)
    assert codes is not None
    limited = [*codes[1].split(), last]
    assert {*limited} == {"200", "429"}
    pace.passes(3 + limited.count("200"))  # all but the last of the others have counted too
    pace.refuses()
    assert bool(re.search(r"^retry-after: [1-6]\r?$", printed, re.MULTILINE)) is (last == "429")
    assert '"healthy":true' in printed


def test_the_way_that_the_lines_describe_can_be_walked(start: Start) -> None:
    demo = start()
    with log_in(demo, "alice") as alice:
        assert (alice.get("/me").status_code, alice.get("/admin").status_code) == (200, 403)
        assert alice.post("/logout").status_code == 204
        assert "revoked" in alice.get("/me").json()["detail"]
    with log_in(demo, "admin") as admin:
        assert admin.get("/admin").json()["revoked"] == 1
    with log_in(demo, "bob") as bob:
        pace = Pace(burst=10, every=6)
        while pace.lets_through(bob.get("/me").status_code):
            pass


def test_each_printed_line_is_bash_and_names_what_is_there(start: Start) -> None:
    demo = start()
    assert demo.guide.startswith(f"Demo:  {demo.url} ")
    assert "jq" not in demo.guide
    for line in demo.lines.splitlines():
        subprocess.run(["bash", "-n", "-c", line], check=True)
    paths = set(re.findall(r'"\$API(/\w+)"', demo.lines))
    assert paths == {"/login", "/me", "/admin", "/logout", "/health"}
    assert paths == set(httpx.get(f"{demo.url}/openapi.json", trust_env=False).json()["paths"])


def test_guesses_at_the_password_are_limited_by_address(start: Start) -> None:
    demo = start()
    with httpx.Client(base_url=demo.url, trust_env=False) as client:
        guess, pace = {"user": "alice", "password": "gu\u00e9ss"}, Pace(burst=5, every=12)
        for headers in ({}, {"x-forwarded-for": "203.0.113.7"}):
            refused = client.post("/login", json=guess, headers=headers)
            while pace.lets_through(refused.status_code, passed=401):
                refused = client.post("/login", json=guess, headers=headers)
            assert refused.json()["violated-policies"] == ["login"]


def test_open_paths_need_no_token_and_are_not_limited(start: Start) -> None:
    with httpx.Client(base_url=start().url, trust_env=False) as client:
        assert {client.get("/health").status_code for _ in range(15)} == {200}
        assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 200
        assert client.get("/health/x").status_code == client.get("/nowhere").status_code == 401


def test_password_and_key_are_new_in_each_run(start: Start) -> None:
    one, other = start(), start()
    assert one.password != other.password
    with log_in(one, "alice") as alice:
        assert httpx.get(f"{other.url}/me", headers=alice.headers, trust_env=False).status_code == 401


# Which Redis.


def test_redis_url_is_used_when_set_and_what_is_left_there_expires(start: Start, make_server: MakeServer) -> None:
    server = make_server(tcp=True, requirepass="very-secret")
    demo = start(REDIS_URL=server.url)
    version = server.command("INFO", "server")["valkey_version"]
    assert f"\nRedis: valkey {version} (redis://127.0.0.1:{server.port}/0)\n" in demo.guide
    with log_in(demo, "alice") as alice:
        alice.get("/me")
        alice.post("/logout")
    keys = server.command("KEYS", "*")
    assert len(keys) >= 3
    assert all(key.startswith(b"guard-demo-") and server.command("PTTL", key) > 0 for key in keys)
    assert demo.end(signal.SIGINT) == 0
    assert "very-secret" not in demo.guide + demo.stderr


@pytest.mark.parametrize("names", [("REDIS_HOST", "REDIS_PORT"), ("REDIS_PRIVATE_URL",)])
def test_other_variables_tell_where_redis_is_as_well(
    start: Start, make_server: MakeServer, names: tuple[str, ...]
) -> None:
    server = make_server(tcp=True)
    values = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "REDIS_PRIVATE_URL": server.url}
    demo = start(**{name: values[name] for name in names})
    assert f"redis://127.0.0.1:{server.port}/0" in demo.guide


def test_what_is_wrong_with_the_server_is_printed_with_the_guide(start: Start, make_server: MakeServer) -> None:
    server = make_server(maxmemory_policy="allkeys-lru")
    assert "\nNote [eviction]: maxmemory-policy is allkeys-lru" in start(REDIS_URL=server.url).guide


def test_a_redis_that_is_away_is_one_line_and_status_1() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen: refuses connections for certain
        port = bound.getsockname()[1]
        ended = run("demo", "--port", "0", REDIS_URL=f"redis://user:very-secret@127.0.0.1:{port}/0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"asgi-redis-guard: error: no connection to redis://127.0.0.1:{port}/0: ")
    assert ended.stderr.count("\n") == 1
    assert "very-secret" not in ended.stderr


def test_a_wrong_password_is_one_line_and_status_1(make_server: MakeServer) -> None:
    server = make_server(tcp=True, requirepass="right")
    ended = run("demo", "--port", "0", REDIS_URL=f"redis://:very-wrong@127.0.0.1:{server.port}")
    where = f"redis://127.0.0.1:{server.port}/0"
    expected = f"asgi-redis-guard: error: {where} refused the credentials (WRONGPASS)\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)


def test_all_faults_of_the_configuration_are_lines_of_their_own() -> None:
    ended = run("demo", "--port", "0", REDIS_URL="redis://localhost", REDIS_TIMEOUT="x", REDIS_POOL_SIZE="0")
    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (1, 2)
    assert all(line.startswith("asgi-redis-guard: error: ") for line in lines)


# The port.


def test_a_free_port_can_be_chosen(start: Start) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo = start("--port", str(port))
    assert demo.url == f"http://127.0.0.1:{port}"
    assert httpx.get(f"{demo.url}/health", trust_env=False).json()["healthy"]


@pytest.mark.parametrize("theirs", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_one_line_and_status_1_and_nothing_was_started(theirs: str) -> None:
    with socket.create_server((theirs, 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("demo", "--port", str(port), REDIS_URL="redis://127.0.0.1:1")  # nobody asks for that
    expected = f"asgi-redis-guard: error: port {port} on 127.0.0.1 is taken; choose another with --port\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)


def test_of_two_that_start_at_once_one_gets_the_port(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    demos = [Demo(folder, "--port", str(port)) for folder in folders]
    try:
        deadline = time.monotonic() + PATIENCE
        while all(demo.process.poll() is None for demo in demos) and time.monotonic() < deadline:
            time.sleep(0.05)
        (loser,) = (demo for demo in demos if demo.process.poll() is not None)
        (winner,) = (demo for demo in demos if demo is not loser)
        assert loser.process.returncode == 1
        assert "is taken" in loser.stderr
        assert winner.wait_until_it_serves().url == f"http://127.0.0.1:{port}"
        assert winner.end(signal.SIGINT) == 0
    finally:
        for demo in demos:
            demo.close()


def test_hosts_that_cannot_be_listened_on_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for host, words in {
        "203.0.113.5": "cannot listen on 203.0.113.5 port 0: ",
        "..": "the host '..' is not known",
    }.items():
        assert main(["demo", "--host", host, "--port", "0"]) == 1
        assert capsys.readouterr().err.startswith(f"asgi-redis-guard: error: {words}")


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("localhost", None)])
def test_the_url_that_is_shown_can_be_called(start: Start, host: str, shown: str | None) -> None:
    demo = start("--host", host, "--port", "0")
    assert httpx.get(f"{demo.url}/health", trust_env=False).status_code == 200
    assert shown is None or shown in demo.url


# The end.


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT] * 3, [signal.SIGTERM], [signal.SIGHUP]],
    ids=["Ctrl-C", "Ctrl-C thrice", "kill", "the terminal is closed"],
)
def test_its_end_leaves_nothing_behind(start: Start, signals: list[int]) -> None:
    demo = start()
    with redis.Redis(unix_socket_path=demo.socket) as client:
        child = int(client.info("server")["process_id"])
    assert alive(child)
    with log_in(demo, "alice") as alice:  # its connection is open while the demo ends
        assert alice.get("/me").status_code == 200
        assert demo.end(*signals) == 0
    assert not alive(child)
    assert not Path(demo.socket).parent.exists()
    assert demo.stderr == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{demo.url}/health", trust_env=False)


# The command line.


def test_the_installed_command_is_this_one(start: Start) -> None:
    command = Path(sys.executable).parent / "asgi-redis-guard"
    assert start(command=(str(command),)).end(signal.SIGINT) == 0


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"asgi-redis-guard {__version__}\n"


@pytest.mark.parametrize("words", [[], ["nonsense"], ["demo", "--port", "65536"], ["demo", "--port", "x"]])
def test_bad_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "asgi-redis-guard" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_a_missing_extra_is_named_in_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "asgi_redis_guard.demo", raising=False)
    assert main(["demo"]) == 1
    expected = f'asgi-redis-guard: error: the demo needs {missing}; pip install "asgi-redis-guard[demo]"\n'
    assert capsys.readouterr().err == expected
