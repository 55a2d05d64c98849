"""TLS to the server: who is trusted, who is refused, and that a refusal is said clearly and once.

Redis 7 speaks it itself where the machine has one that does; a proxy that ends it does the same on every machine.
"""

import asyncio
import logging
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from asgi_redis_guard.errors import ConfigurationError, RedisUnavailable
from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.manager import RedisManager
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, mark, run, within
from tests.sentinels import SERVICE, Sentinel
from tests.servers import Server, free_port, redis7
from tests.tls import Certificates, TLSProxy

EndOfTLS = Callable[..., AbstractAsyncContextManager[str]]


@cache
def redis_with_tls() -> Path | None:
    """A Redis 7 that was built with it."""
    found = redis7()
    if found is None:
        return None
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    return found if "libssl" in linked else None


def tls_options(certificates: Certificates, files: tuple[Path, Path] | None, asks_clients: bool) -> dict[str, Any]:
    cert, key = files or (certificates.cert, certificates.key)
    return {
        "tls_port": free_port(),
        "tls_cert_file": str(cert),
        "tls_key_file": str(key),
        "tls_ca_cert_file": str(certificates.ca),
        "tls_auth_clients": "yes" if asks_clients else "no",
    }


@asynccontextmanager
async def by_redis(
    valkey: Server, certificates: Certificates, *, files: tuple[Path, Path] | None = None, asks_clients: bool = False
) -> AsyncIterator[str]:
    binary = redis_with_tls()
    assert binary is not None
    options = tls_options(certificates, files, asks_clients)
    with Server(binary, **options):
        yield f"rediss://localhost:{options['tls_port']}"


@asynccontextmanager
async def by_proxy(valkey: Server, certificates: Certificates, **options: Any) -> AsyncIterator[str]:
    async with TLSProxy(valkey.path, certificates, **options) as proxy:
        yield f"rediss://localhost:{proxy.port}"


@pytest.fixture(params=["proxy", *(["redis7"] if redis_with_tls() else [])])
def end(request: pytest.FixtureRequest, valkey: Server, certificates: Certificates) -> EndOfTLS:
    """Whoever speaks TLS, made with a certificate: `async with end(files=…) as url`."""
    make = by_proxy if request.param == "proxy" else by_redis
    return lambda **options: make(valkey, certificates, **options)


async def serves(url: str) -> None:
    """Guards, commands, a dedicated connection and pub/sub, all over TLS."""
    async with RedisManager(url, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        assert await within(manager.execute("SET", "k", "v")) == b"OK"
        async with manager.client.pipeline() as pipeline:
            assert await within(pipeline.get("k").execute()) == [b"v"]
        async with manager.pubsub.subscribe("news") as news:
            await manager.pubsub.publish("news", b"hello")
            assert (await within(anext(news))).data == b"hello"


async def refusal(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """What the log says, which is one line however often somebody is refused."""
    async with RedisManager(url, timeout=PATIENCE) as manager:
        for _ in range(3):
            with pytest.raises(RedisUnavailable):
                await run(manager, [mark(b"k")])
        with pytest.raises(RedisUnavailable):
            await manager.links.lane2.connect()
        with pytest.raises(exceptions.RedisError):
            await manager.client.blpop(["k"], timeout=0.01)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    return lines[0]


async def test_a_server_of_a_trusted_authority_is_used_for_everything(
    end: EndOfTLS, certificates: Certificates
) -> None:
    async with end() as url:
        await serves(f"{url}?ssl_ca_certs={certificates.ca}")
        await serves(f"{url}?ssl_ca_certs={certificates.ca}&ssl_min_version=1.3")
        await serves(f"{url}?ssl_cert_reqs=none")


async def test_an_authority_that_is_not_trusted_is_refused(
    end: EndOfTLS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with end() as url:
        said = await refusal(f"{url}?ssl_ca_certs={Certificates(tmp_path).ca}", caplog)
    assert f"the certificate of {url}/0 was refused: " in said
    assert "its authority is not among those that are trusted (ssl_ca_certs)" in said


async def test_a_certificate_of_another_host_is_refused_unless_names_do_not_count(
    end: EndOfTLS, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with end(files=certificates.issue("other-", hosts=("elsewhere.example",))) as url:
        trusting = f"{url}?ssl_ca_certs={certificates.ca}"
        said = await refusal(trusting, caplog)
        assert "'localhost' (ssl_check_hostname)" in said
        await serves(f"{trusting}&ssl_check_hostname=no")


async def test_a_certificate_that_has_expired_is_refused(
    end: EndOfTLS, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with end(files=certificates.issue("old-", expired=True)) as url:
        said = await refusal(f"{url}?ssl_ca_certs={certificates.ca}", caplog)
    assert "was refused: certificate has expired)" in said


async def test_a_server_that_asks_for_a_client_certificate_gets_one(
    end: EndOfTLS, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificates.issue("client-", password=b"open sesame")
    async with end(asks_clients=True) as url:
        trusting = f"{url}?ssl_ca_certs={certificates.ca}"
        await serves(f"{trusting}&ssl_certfile={cert}&ssl_keyfile={key}&ssl_password=open+sesame")
        said = await refusal(trusting, caplog)
    assert "client certificate" in said
    assert "ssl_certfile" in said


async def test_a_client_certificate_that_the_server_does_not_trust_is_named(
    end: EndOfTLS, certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = Certificates(tmp_path).issue("client-")
    async with end(asks_clients=True) as url:
        said = await refusal(f"{url}?ssl_ca_certs={certificates.ca}&ssl_certfile={cert}&ssl_keyfile={key}", caplog)
    assert re.search(r"not trust the client certificate \(ssl_certfile\)", said)


async def test_a_version_that_is_too_old_is_refused(
    valkey: Server, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with by_proxy(valkey, certificates, newest=ssl.TLSVersion.TLSv1_2) as url:
        await serves(f"{url}?ssl_ca_certs={certificates.ca}&ssl_min_version=TLSv1.2")
        said = await refusal(f"{url}?ssl_ca_certs={certificates.ca}&ssl_min_version=1.3", caplog)
    assert "allowed (ssl_min_version)" in said


async def test_a_server_without_tls_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR Protocol error\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await refusal(f"rediss://localhost:{port}", caplog)
    assert f"no TLS with rediss://localhost:{port}/0: the server does not speak TLS there; is it redis://?" in said


async def test_a_server_that_waits_for_more_of_what_is_no_tls_is_named(make_server: MakeServer) -> None:
    plain = make_server(tcp=True)
    async with RedisManager(f"rediss://localhost:{plain.port}", connection_timeout=0.2) as manager:
        with pytest.raises(RedisUnavailable, match=r"within 0\.2 s; does it speak TLS\?"):
            await within(manager.links.lane1.connect())


async def test_tls_is_told_by_the_environment_too(
    end: EndOfTLS, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificates.issue("client-", password=b"p w&")
    told = {"CA_CERTS": str(certificates.ca), "CERTFILE": str(cert), "KEYFILE": str(key), "PASSWORD": "p w&"}
    for name, value in {**told, "MIN_VERSION": "1.3"}.items():
        monkeypatch.setenv(f"REDIS_SSL_{name}", value)
    async with end(asks_clients=True) as url:
        monkeypatch.setenv("REDIS_URL", url)
        async with RedisManager(timeout=PATIENCE) as manager:
            assert await within(manager.execute("PING")) == b"PONG"
            assert "p w&" not in f"{manager!r} {manager.address!r} {manager.settings!r}"


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_a_fault_of_the_configuration(option: str, certificates: Certificates) -> None:
    files = {"ssl_ca_certs": certificates.ca, "ssl_certfile": certificates.cert, "ssl_keyfile": certificates.key}
    query = "&".join(f"{name}={file}" for name, file in {**files, option: "/nowhere/x.pem"}.items())
    with pytest.raises(ConfigurationError, match=rf"{option} .*/nowhere/x\.pem"):
        Address.parse(f"rediss://localhost?{query}")


def test_a_key_that_does_not_open_is_a_fault_of_the_configuration(certificates: Certificates) -> None:
    cert, key = certificates.issue("locked-", password=b"right")
    with pytest.raises(ConfigurationError, match="ssl_password") as caught:
        Address.parse(f"rediss://localhost?ssl_certfile={cert}&ssl_keyfile={key}&ssl_password=Wr0ngOne")
    assert "Wr0ngOne" not in str(caught.value)


def test_an_encrypted_key_without_its_password_asks_nobody(certificates: Certificates) -> None:
    cert, key = certificates.issue("locked-", password=b"right")
    with pytest.raises(ConfigurationError, match="ssl_password"):
        Address.parse(f"rediss://localhost?ssl_certfile={cert}&ssl_keyfile={key}")


async def test_sentinels_may_speak_tls_where_servers_do_not(valkey: Server, certificates: Certificates) -> None:
    with Server(valkey.binary, tcp=True) as primary, Sentinel(primary, quorum=1) as sentinel:
        async with by_proxy(sentinel, certificates) as url:
            where = url.replace("rediss://", "redis+sentinel://")
            await serves(f"{where}/{SERVICE}?sentinel_ssl=yes&ssl_ca_certs={certificates.ca}")


async def all_over_tls(certificates: Certificates, binary: Path) -> None:
    options = tls_options(certificates, None, asks_clients=True)
    with Server(binary, tcp=True, tls_replication="yes", **options) as primary:
        of_sentinel = tls_options(certificates, None, asks_clients=True)
        with Sentinel(primary, quorum=1, port=options["tls_port"], tls_replication="yes", **of_sentinel):
            files = f"ssl_certfile={certificates.cert}&ssl_keyfile={certificates.key}&ssl_ca_certs={certificates.ca}"
            await serves(f"rediss+sentinel://localhost:{of_sentinel['tls_port']}/{SERVICE}?{files}")


if (found := redis_with_tls()) is not None:

    async def test_servers_and_sentinels_speak_tls_alike(certificates: Certificates) -> None:
        assert found is not None
        await all_over_tls(certificates, found)
