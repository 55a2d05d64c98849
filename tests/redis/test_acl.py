"""The least account: what is printed is what the sources use, and the package runs with nothing else."""

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import asgi_redis_guard
from asgi_redis_guard import RedisManager
from asgi_redis_guard.cli import main
from asgi_redis_guard.errors import ConfigurationError, GuardError
from asgi_redis_guard.redis.acl import (
    CLUSTER,
    CONNECTION,
    DIRECT,
    IN_SCRIPTS,
    PUBSUB,
    SCRIPTS,
    SENTINEL,
    SHARDED,
    acl_of,
)
from asgi_redis_guard.redis.acl import commands as allowed
from tests.accounts import VARIABLE, use
from tests.conftest import BACKENDS, MakeServer
from tests.redis.tools import PATIENCE, within
from tests.servers import Server

PACKAGE = Path(asgi_redis_guard.__file__).parent
SERVERS = [kind for kind in BACKENDS if kind != "memory"]


def words_in(suffix: str, pattern: str) -> set[str]:
    texts = [path.read_text("utf-8") for path in PACKAGE.rglob(f"*{suffix}")]
    return {word.lower() for text in texts for word in re.findall(pattern, text)}


def test_what_scripts_may_call_is_what_they_call() -> None:
    called = words_in(".lua", r"call\(\s*'([A-Z]+)'") | words_in("program.py", r"redis\.call\('([A-Z]+)'")
    assert set(IN_SCRIPTS) == called


def test_every_call_of_a_script_names_its_command() -> None:
    """Or the test above would be blind."""
    for path in PACKAGE.rglob("*.lua"):
        assert not re.search(r"\bcall\(\s*[^')\s]", path.read_text("utf-8")), path


def test_what_may_be_sent_directly_is_what_is_sent() -> None:
    sent = words_in(".py", r"(?:execute|_scan|submit|_pack)\(\s*\(?b?\"([A-Z]+)\"") | words_in(
        "stream.py", r"\(\"(XREAD)\""
    )
    elsewhere = {"ping", "info", "cluster", "subscribe", "script", "evalsha", *SHARDED}
    assert set(DIRECT) == sent - elsewhere


def account(server: Server, **options: Any) -> str:
    """Make the account on a server; return the URL of who logs in as it."""
    user, *rules = acl_of("guard", "guard:", **options)
    server.command("ACL", "SETUSER", user, *rules, ">few")
    server.command("ACL", "LOG", "RESET")
    return f"unix://guard:few@{server.path}"


def denied(server: Server) -> list[str]:
    """What the server refused to somebody."""
    return [str(entry) for entry in server.command("ACL", "LOG")]


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_whole_stack_runs_with_the_least_account(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    await use(account(server, channels=["news"]))
    assert denied(server) == []
    assert all(key.startswith(b"guard:") for key in server.command("KEYS", "*"))


#: For each guard and service, what says how it is to behave on every server.
SUITES = [
    *("conformance/test_whole_way.py", "conformance/test_statistics.py", "sessions/test_store.py"),
    *("cache/test_tags.py", "locks/test_semaphore.py", "ratelimit/test_concurrency.py"),
]


def test_the_package_behaves_as_ever_with_the_least_account(tmp_path: Path) -> None:
    """In a run of its own, in which tests have rights to look at things besides, and keys of their own."""
    words = [sys.executable, "-m", "pytest", "-q", *(f"tests/{name}" for name in SUITES)]
    done = subprocess.run(
        words,
        env={**os.environ, VARIABLE: str(tmp_path)},
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    noted = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert len(noted) == len(SERVERS)
    for each in noted:
        assert {"evalsha", "hset", "zadd", "set"} <= set(each["ran"])
        assert each["denied"] == []


@pytest.mark.parametrize("kind", SERVERS)
async def test_with_a_command_less_something_is_denied(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    url = account(server, channels=["news"])
    server.command("CONFIG", "RESETSTAT")
    await use(url)
    ran = {name.removeprefix("cmdstat_") for name in server.command("INFO", "commandstats")}
    used = [name for name in allowed() if name in ran]
    assert {"evalsha", "get", "set", "zadd", "time", "publish", "subscribe", "ping", "info"} <= set(used)
    for name in used:
        server.command("FLUSHALL")
        server.command("SCRIPT", "FLUSH")
        server.command("ACL", "LOG", "RESET")
        server.command("ACL", "SETUSER", "guard", f"-{name}")
        with suppress(GuardError, AssertionError):
            await asyncio.wait_for(use(url), 1)
        server.command("ACL", "SETUSER", "guard", f"+{name}")
        assert any(f"'{name}'" in entry for entry in denied(server)), name


@pytest.mark.parametrize("kind", SERVERS)
async def test_the_account_reaches_no_other_keys_channels_or_commands(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    async with RedisManager(account(server), timeout=PATIENCE) as manager:
        for command in (("GET", "other"), ("PUBLISH", "news", "x"), ("KEYS", "*"), ("CONFIG", "GET", "*")):
            with pytest.raises(asgi_redis_guard.OperationFailed, match="NOPERM"):
                await within(manager.execute(*command))


async def test_sharded_channels_are_the_apps_and_need_words_of_their_own(make_server: MakeServer) -> None:
    server = make_server()
    async with RedisManager(account(server, channels=["news"], sharded=True), timeout=PATIENCE) as manager:
        async with manager.pubsub.subscribe("news", sharded=True):
            assert await within(manager.pubsub.publish("news", "x", sharded=True)) == 1
        with pytest.raises(asgi_redis_guard.OperationFailed, match="NOPERM"):
            await within(manager.pubsub.publish("other", "x", sharded=True))
        assert set(SHARDED).isdisjoint(allowed())
        assert len(denied(server)) == 1


def test_an_account_without_a_password_lets_nobody_in(make_server: MakeServer) -> None:
    server = make_server()
    server.command("ACL", "SETUSER", *acl_of("guard", "guard:"))
    with pytest.raises(Exception, match=r"WRONGPASS|invalid username-password"):
        server.command("AUTH", "guard", "")


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("more", [{}, {"cluster": True, "sentinel": True, "db": 3, "channels": ["news:*"]}])
def test_every_server_takes_what_is_printed(
    make_server: MakeServer, capsys: pytest.CaptureFixture[str], kind: str, more: dict[str, Any]
) -> None:
    flags = ["--cluster", "--sentinel", "--db", "3", "--channel", "news:*"] if more else []
    assert main(["acl", "--prefix", "odd*?[x]:", "--user", "me", *flags]) == 0
    words = capsys.readouterr().out.split()
    assert words == ["ACL", "SETUSER", *acl_of("me", "odd*?[x]:", **more)]
    assert r"~odd\*\?\[x\]:*" in words
    assert make_server(kind).command(*words)


def test_no_command_is_named_twice_and_none_is_a_category() -> None:
    everything = allowed(cluster=True, sentinel=True, db=1)
    assert len(everything) == len(set(everything))
    assert {*CONNECTION, *SCRIPTS, *IN_SCRIPTS, *DIRECT, *PUBSUB, *CLUSTER, *SENTINEL, "select"} == set(everything)
    assert not any(name.startswith("@") for name in everything)


@pytest.mark.parametrize("options", [{"user": ""}, {"user": "a b"}, {"prefix": "a b:"}, {"channels": ["a b"]}])
def test_words_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="without spaces"):
        acl_of(**{"user": "me", "prefix": "guard:", **options})
