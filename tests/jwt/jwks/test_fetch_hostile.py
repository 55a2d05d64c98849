"""A server of keys that is slow, down, huge, hostile, or somebody else: nothing of it gets in, and nobody hangs."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager
from asgi_redis_guard.errors import KeysUnavailable
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.testing import ManualClock
from tests.drive import App, get
from tests.jwt.conftest import CountingManager
from tests.jwt.jwks.test_source import LATER, Site, crowd, settled, token
from tests.jwt.publisher import KEYS, Publisher, Reply, key
from tests.jwt.tokens import NOW, SECRET, b64, bearer, sign

GOOD = b'{"keys": []}'


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


async def drip() -> AsyncIterator[bytes]:
    """One byte at a time, for ever: no single read takes long."""
    while True:
        yield b" "
        await asyncio.sleep(0.01)


def raw(text: bytes) -> Reply:
    return Reply(raw=text)


def keys_of(count: int) -> list[dict[str, Any]]:
    return [key(f"k{i}") for i in range(count)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b"", 500), "status is 500"),
        (Reply(GOOD, 203), "status is 203"),
        (Reply(b"", 301, {"location": "http://169.254.169.254/latest"}), "status is 301"),
        (Reply(b"", 307, {"location": "/other"}), "status is 307"),
        (Reply(b"", 204), "status is 204"),
        (Reply(b"<html>log in</html>"), "no JSON object"),
        (Reply(b""), "no JSON object"),
        (Reply(b"[]"), "no JSON object"),
        (Reply(b"[" * 100_000), "no JSON object"),
        (Reply(b'{"keys": {}}'), "no list of keys"),
        (Reply(b"{}"), "no list of keys"),
        (Reply(GOOD), "no key in it"),
        (Reply(b'{"keys": [1, null, "x", [], {}, {"kty": "???"}]}'), "no key in it"),
        (Reply(b'{"keys": [' + b"{}," * 100 + b"{}]}"), "101 keys"),
        (Reply(gzip.compress(GOOD), fields={"content-encoding": "gzip"}), "compressed"),
        (Reply(b"{" + b" " * 524_288), "524289 bytes"),
        (Reply(chunks=endless), "more than 524288 bytes"),
        (Reply(GOOD, length=10**12), "are the most that are taken"),
        (Reply(GOOD, length=500), "RemoteProtocolError"),
        (raw(b"SSH-2.0-OpenSSH_9.9\r\n"), "RemoteProtocolError"),
        (raw(b""), "RemoteProtocolError"),
        (raw(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000), "RemoteProtocolError"),
        (raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "RemoteProtocolError"),
    ],
)
async def test_what_is_no_set_of_keys_is_refused_with_a_reason_and_the_token_with_503(
    site: Site, publisher: Publisher, reply: Reply, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.replies[KEYS] = reply
    app = site()
    with caplog.at_level(logging.WARNING, "asgi_redis_guard.jwt"):
        response = await get(app, headers=token())
        assert (response.status, response["retry-after"]) == (503, "1")
        assert (await get(app, headers=token())).status == 503
    (record,) = caplog.records
    assert reason in record.message
    assert len(record.message) < 400, "whatever the other side has put into it"
    assert publisher.count() == 1, "who comes next does not wait for the same"
    assert publisher.requests[0].fields["accept-encoding"] == "identity"


@pytest.mark.parametrize("chunks", [None, drip])
async def test_a_server_that_takes_too_long_is_given_up(
    site: Site, publisher: Publisher, chunks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.replies[KEYS] = Reply(hold=asyncio.Event() if chunks is None else None, chunks=chunks)
    app = site(timeout=1)
    assert {response.status for response in await crowd(app, [token()] * 20)} == {503}
    assert publisher.count() <= 1
    assert "longer than 1 s" in caplog.text


async def test_a_server_that_is_down_is_asked_ever_less_often_and_again_once_it_is_back(
    site: Site, publisher: Publisher, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.replies[KEYS] = [Reply(status=503)]
    app = site(cooldown=30)
    with caplog.at_level(logging.INFO, "asgi_redis_guard.jwt"):
        for _ in range(120):
            response = await get(app, headers=token())
            assert response.status == 503
            assert 1 <= int(response["retry-after"]) <= 30
            clock.advance(1)
        assert publisher.count() == 8, "after 0, 1, 3, 7, 15, 31, 61, 91 s"
        publisher.publish(key())
        clock.advance(30)
        assert (await get(app, headers=token())).status == 200
    first, second = [one.getMessage() for one in caplog.records if one.name == "asgi_redis_guard.jwt"]
    assert "not to be had, none are known: the status is 503" in first
    assert "fetched again" in second


async def test_keys_that_are_known_serve_on_while_no_newer_ones_can_be_had_and_not_for_ever(
    site: Site, publisher: Publisher, clock: ManualClock, manager: CountingManager
) -> None:
    app = site(lifetime=600, stale_if_error=3600)
    assert (await get(app, headers=token())).status == 200
    publisher.replies[KEYS] = Reply(status=500)
    for _ in range(69):
        clock.advance(60)
        assert (await get(app, headers=token())).status == 200
        await settled(manager)
    clock.advance(61)
    assert (await get(app, headers=token())).status == 503, "although the token is remembered"
    publisher.publish(key())
    clock.advance(31)
    assert (await get(app, headers=token())).status == 200


async def test_who_comes_after_a_failure_does_not_wait_for_the_next_one(
    site: Site, publisher: Publisher, clock: ManualClock, manager: CountingManager
) -> None:
    app = site(lifetime=600)
    assert (await get(app, headers=token())).status == 200
    reply = publisher.replies[KEYS] = Reply(status=500)
    clock.advance(601)
    assert (await get(app, headers=token())).status == 200
    assert publisher.count() == 2
    reply.hold = asyncio.Event()
    for count in (2, 3):  # in the pause, and when the server is asked again
        assert {response.status for response in await crowd(app, [token()] * 20)} == {200}
        clock.advance(1)
        assert publisher.count() <= count
    reply.hold.set()
    await settled(manager)
    assert publisher.count() == 3


async def test_a_certificate_of_an_unknown_authority_is_refused(
    publisher: Publisher, manager: CountingManager, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = GuardMiddleware(App(), [JWTAuth(keys=JWKSKeys(publisher.url))], redis=manager, clock=clock)
    assert (await get(app, headers=token())).status == 503
    assert "certificate verify failed" in caplog.text.lower()
    assert not publisher.requests


async def test_a_certificate_for_another_name_is_refused(
    publisher: Publisher, manager: CountingManager, clock: ManualClock, trusting: Callable[..., JWKSKeys]
) -> None:
    elsewhere = publisher.url.replace("127.0.0.1", "127.0.0.2")
    app = GuardMiddleware(App(), [JWTAuth(keys=trusting(elsewhere))], redis=manager, clock=clock)
    assert (await get(app, headers=token())).status == 503


async def test_no_proxy_stands_between_keys_on_this_host(
    site: Site, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await get(site(), headers=token())).status == 200


async def test_plain_http_is_for_tests_on_this_host(manager: CountingManager, clock: ManualClock) -> None:
    async with Publisher() as plain:
        plain.publish(key())
        keys = JWKSKeys(plain.url, loopback_http=True)
        app = GuardMiddleware(App(), [JWTAuth(keys=keys)], redis=manager, clock=clock)
        assert (await get(app, headers=token())).status == 200


async def test_a_hundred_keys_are_taken_and_the_last_of_them_verifies(site: Site, publisher: Publisher) -> None:
    publisher.publish(*keys_of(99), key("last", 1))
    assert (await get(site(), headers=token("last", 1))).status == 200


async def test_nothing_of_a_hostile_set_lets_anybody_sign(site: Site, publisher: Publisher) -> None:
    """Secrets, private parts, keys for encryption: none of them verifies a token."""
    secret = {"kty": "oct", "kid": "s", "alg": "HS256", "k": b64(SECRET).decode()}
    publisher.publish(secret, {**key("p"), "d": "AAAA"}, key("e", use="enc"), key("a", 1))
    app = site()
    for fields in (token("s", algorithm="HS256"), token("p"), token("e")):
        assert (await get(app, headers=fields)).status == 401
    assert (await get(app, headers=token("a", 1))).status == 200


async def test_a_token_s_own_pointers_to_keys_are_not_followed(site: Site, publisher: Publisher) -> None:
    other = publisher.publish(key("mine", 1), path="/mine")
    app = site()
    header = {"kid": "mine", "jku": publisher.issuer + "/mine", "jwk": key("mine", 1), "x5u": publisher.issuer + "/x"}
    response = await get(app, headers=bearer(sign(algorithm="ES256", which=1, header=header, exp=LATER)))
    assert response.status == 401
    assert other.body
    assert {request.path for request in publisher.requests} == {KEYS}


async def test_a_set_that_comes_byte_by_byte_is_taken(site: Site, publisher: Publisher) -> None:
    document = json.dumps({"keys": [key()]}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for byte in document:
            yield bytes((byte,))

    publisher.replies[KEYS] = Reply(chunks=pieces)
    assert (await get(site(), headers=token())).status == 200


async def test_a_server_that_speaks_no_tls_is_refused(
    manager: CountingManager, clock: ManualClock, trusting: Callable[..., JWKSKeys]
) -> None:
    async with Publisher() as plain:
        plain.publish(key())
        keys = trusting(plain.url.replace("http:", "https:"), timeout=1)
        app = GuardMiddleware(App(), [JWTAuth(keys=keys)], redis=manager, clock=clock)
        assert (await get(app, headers=token())).status == 503
        assert plain.count() == 0


async def test_no_redirect_is_followed(site: Site, publisher: Publisher) -> None:
    publisher.publish(key(), path="/moved")
    publisher.replies[KEYS] = Reply(status=302, fields={"location": "/moved"})
    assert (await get(site(), headers=token())).status == 503
    assert publisher.count("/moved") == 0


@pytest.mark.parametrize("etag", ['"a', "a", "*", '"\xe9"', '"' + "a" * 300 + '"', '"a", "b"', ""])
async def test_what_is_no_entity_tag_is_not_sent_back(
    site: Site, publisher: Publisher, clock: ManualClock, etag: str
) -> None:
    publisher.replies[KEYS] = [Reply(json.dumps({"keys": [key()]}).encode(), fields={"etag": etag})]
    app = site(lifetime=600)
    assert (await get(app, headers=token())).status == 200
    clock.advance(601)
    assert (await get(app, headers=token())).status == 200
    assert [request.fields.get("if-none-match") for request in publisher.requests] == [None, None]


async def test_keys_are_loaded_at_startup_and_what_fails_is_told(
    publisher: Publisher, trusting: Callable[..., JWKSKeys]
) -> None:
    keys = trusting(publisher.url)
    await keys.load()
    (status,) = keys.status()
    assert (status.keys, status.failures, status.url) == (1, 0, publisher.url)
    assert status.age is not None
    publisher.replies[KEYS] = Reply(status=404)
    with pytest.raises(KeysUnavailable, match=r"/keys: the status is 404"):
        await keys.load()
    assert keys.status()[0].reason == "the status is 404"


async def test_keys_are_fetched_while_redis_is_away(
    fresh_redis: RedisManager, fresh_server: Any, publisher: Publisher, trusting: Callable[..., JWKSKeys]
) -> None:
    fresh_server.kill()
    guard = JWTAuth(keys=trusting(publisher.url), on_outage="open")
    app = GuardMiddleware(App(), [guard], redis=fresh_redis, clock=lambda: NOW)
    assert (await get(app, headers=token())).status == 200
    assert (await get(app, headers=token(which=1))).status == 401


async def test_a_manager_that_closes_lets_go_who_waits(publisher: Publisher, trusting: Callable[..., JWKSKeys]) -> None:
    publisher.replies[KEYS] = Reply(hold=asyncio.Event())
    async with RedisManager("memory://", timeout=0.05) as manager:
        app = GuardMiddleware(App(), [JWTAuth(keys=trusting(publisher.url))], redis=manager, clock=lambda: NOW)
        waiting = asyncio.create_task(get(app, headers=token()))
        await publisher.asked()
    assert (await waiting).status == 503
