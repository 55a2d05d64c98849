"""What `JWKSKeys` may be given: every fault is told at once, and nothing is fetched by constructing."""

import subprocess
import sys
from typing import Any

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.jwks.source import JWKSKeys

URL = "https://idp.example/keys"


def faults(*args: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        JWKSKeys(*args, **options)
    return caught.value.faults


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/keys",
        "http://127.0.0.1.idp.example/keys",
        "ftp://idp.example/keys",
        "file:///etc/passwd",
        "https:///keys",
        "//idp.example/keys",
        "idp.example/keys",
        "",
        "https://user:hunter2@idp.example/keys",
        "https://@idp.example/keys",
        "https://idp.example/keys#x",
        "https://idp.example/ke ys",
        "https://idp.example/keys\r\nx: y",
        "https://idp.exämple/keys",
        "https://idp.example\\@evil.example/keys",
        "https://[::1/keys",
        "https://idp.example:port/keys",
        "https://idp.example:99999/keys",
        7,
        b"https://idp.example/keys",
    ],
)
def test_a_url_that_keys_must_not_come_from_is_a_fault(url: Any) -> None:
    (fault,) = faults(url)
    assert fault.startswith("url: ")
    assert "hunter2" not in fault


def test_plain_http_asks_for_an_option_and_is_for_this_host_alone() -> None:
    assert "loopback_http" in faults("http://127.0.0.1/keys")[0]
    for host in ("127.0.0.1", "[::1]", "localhost", "LOCALHOST"):
        assert JWKSKeys(f"http://{host}:8000/keys", loopback_http=True).issuers == ()
    assert "https://" in faults("http://10.0.0.1/keys", loopback_http=True)[0]


def test_an_issuer_that_is_discovered_is_a_url() -> None:
    assert JWKSKeys(issuer="https://idp.example/tenant").issuers == ("https://idp.example/tenant",)
    assert faults(issuer="urn:example:idp")[0].startswith("issuer: ")
    assert "without a query" in faults(issuer="https://idp.example/?tenant=1")[0]
    assert JWKSKeys(URL, issuer="urn:example:idp").issuers == ("urn:example:idp",)


def test_nothing_given_is_a_fault() -> None:
    assert "none given" in faults()[0]
    assert "none given" in faults({})[0]


def test_several_issuers_are_named_each() -> None:
    assert "one or the other" in faults({"https://a.example": None}, issuer="https://b.example")[0]
    assert "without a name" in faults({"": URL, "https://a.example": None})[0]
    assert "names of issuers" in faults({7: URL})[0]
    assert len(faults({"a": "http://x.example", "b": None})) == 2


@pytest.mark.parametrize("name", ["HS256", "none", "ES256K", "hs256", ""])
def test_algorithms_are_those_of_published_keys(name: str) -> None:
    assert repr(name) in faults(URL, algorithms=[name])[0]
    assert JWKSKeys(URL, algorithms="RS256").algorithms == ("RS256",)


def test_all_faults_are_told_at_once() -> None:
    told = faults(
        "http://idp.example",
        algorithms=["HS256"],
        lifetime=0,
        longest=1,
        stale_if_error=-1,
        cooldown=0,
        timeout=0,
        max_size=True,
        max_keys=0,
        context="x",
    )
    names = ["url", "algorithms", "lifetime", "longest", "stale_if_error", "cooldown", "timeout", "max_size"]
    assert [fault.partition(":")[0] for fault in told] == [*names, "max_keys", "context"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "60", None, 10**9])
def test_times_are_seconds_within_bounds(value: Any) -> None:
    for option in ("lifetime", "longest", "stale_if_error", "cooldown", "timeout"):
        assert faults(URL, **{option: value})[0].startswith(f"{option}: ")


def test_its_repr_tells_the_state() -> None:
    assert repr(JWKSKeys(URL)) == f"<JWKSKeys <RemoteKeys of {URL}: no keys>>"


def test_without_httpx_everything_else_works_and_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from asgi_redis_guard import JWTAuth, ConfigurationError\n"
        "JWTAuth('x' * 32)\n"
        "from asgi_redis_guard.jwt.jwks.source import JWKSKeys\n"
        "try: JWKSKeys('https://a.example/keys')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "asgi-redis-guard[jwks]" in done.stdout
