"""Issuers that are asked where their keys are, and several of them beside each other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RevocationList
from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.testing import ManualClock
from tests.drive import App, get
from tests.jwt.conftest import CountingManager
from tests.jwt.jwks.test_source import Site, crowd, settled, token
from tests.jwt.publisher import DISCOVERY, KEYS, Publisher, Reply, key
from tests.tls import Certificates


@pytest.fixture
async def other(certificates: Certificates) -> AsyncIterator[Publisher]:
    """Another issuer, whose key has the same id."""
    async with Publisher(certificates) as publisher:
        publisher.publish(key("a", 1))
        publisher.describe()
        yield publisher


async def test_an_issuer_is_asked_where_its_keys_are_and_only_its_tokens_count(
    site: Site, publisher: Publisher
) -> None:
    publisher.describe()
    app = site(issuer=publisher.issuer)
    assert (await get(app, headers=token(iss=publisher.issuer))).status == 200
    assert (await get(app, headers=token(iss="https://elsewhere.example"))).status == 401
    assert (await get(app, headers=token())).status == 401
    assert [request.path for request in publisher.requests] == [DISCOVERY, KEYS]


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": "https://127.0.0.1/"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user:pass@elsewhere.example/keys"},
        {"jwks_uri": "/keys"},
    ],
)
async def test_a_description_that_is_not_the_issuer_s_own_leads_nowhere(
    site: Site, publisher: Publisher, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    publisher.describe(**changes)
    assert (await get(site(issuer=publisher.issuer), headers=token(iss=publisher.issuer))).status == 503
    assert ("jwks_uri" if "jwks_uri" in changes else "of another issuer") in caplog.text
    assert publisher.count() == 0


async def test_an_issuer_that_is_written_otherwise_is_told_as_it_writes_itself(
    site: Site, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.describe(issuer=f"{publisher.issuer}/" + "x" * 300)
    assert (await get(site(issuer=publisher.issuer), headers=token(iss=publisher.issuer))).status == 503
    (said,) = [one.getMessage() for one in caplog.records if one.name == "asgi_redis_guard.jwt"]
    assert f"it is the description of another issuer, '{publisher.issuer}/xxx" in said
    assert len(said) < 400


async def test_a_description_and_its_keys_come_within_one_timeout(site: Site, publisher: Publisher) -> None:
    publisher.describe().hold = asyncio.Event()
    app = site(issuer=publisher.issuer, timeout=0.2)
    assert (await get(app, headers=token(iss=publisher.issuer))).status == 503
    assert publisher.count() == 0


async def test_keys_that_have_moved_are_found_again(
    site: Site, publisher: Publisher, clock: ManualClock, manager: CountingManager
) -> None:
    publisher.publish(key(), etag='"x"')
    publisher.describe()
    app = site(issuer=publisher.issuer, lifetime=600)
    fields = token(iss=publisher.issuer)
    assert (await get(app, headers=fields)).status == 200
    publisher.replies[KEYS] = Reply(status=410)
    publisher.publish(key("b", 1), path="/moved", etag='"x"')
    publisher.describe(jwks_uri=publisher.issuer + "/moved")
    clock.advance(601)
    assert (await get(app, headers=fields)).status == 200, "the old keys serve on"
    clock.advance(31)
    assert (await get(app, headers=fields)).status == 200, "and while the issuer is asked again"
    await settled(manager)
    assert (await get(app, headers=fields)).status == 401
    assert (await get(app, headers=token("b", 1, iss=publisher.issuer))).status == 200
    assert publisher.count("/moved") == 2, "the second time for the key id that is gone"


async def test_a_url_given_beside_the_issuer_is_where_its_keys_are(site: Site, publisher: Publisher) -> None:
    app = site(publisher.url, issuer="urn:example:idp")
    assert (await get(app, headers=token(iss="urn:example:idp"))).status == 200
    assert (await get(app, headers=token(iss="urn:example:other"))).status == 401
    assert {request.path for request in publisher.requests} == {KEYS}


async def test_every_tenant_s_tokens_are_verified_by_its_own_keys_alone(
    site: Site, publisher: Publisher, other: Publisher, inner: App
) -> None:
    app = site({publisher.issuer: publisher.url, other.issuer: None})
    assert (await get(app, headers=token("a", 0, iss=publisher.issuer))).status == 200
    assert (await get(app, headers=token("a", 1, iss=other.issuer))).status == 200
    assert inner.scope["user"].namespace == other.issuer
    assert (await get(app, headers=token("a", 0, iss=other.issuer))).status == 401
    assert (await get(app, headers=token("a", 1, iss=publisher.issuer))).status == 401
    assert publisher.count() == other.count() == 1


@pytest.mark.parametrize("issuer", ["https://elsewhere.example", "", None, 7, ["x"], {"a": 1}])
async def test_a_token_of_a_stranger_makes_no_fetch(
    site: Site, publisher: Publisher, other: Publisher, issuer: Any
) -> None:
    app = site({publisher.issuer: publisher.url, other.issuer: other.url})
    assert (await get(app, headers=token(iss=issuer))).status == 401
    assert not publisher.requests
    assert not other.requests


async def test_a_tenant_that_is_down_does_not_concern_the_others(
    site: Site, publisher: Publisher, other: Publisher
) -> None:
    reply = other.replies[KEYS] = Reply(hold=asyncio.Event())
    app = site({publisher.issuer: publisher.url, other.issuer: other.url})
    late = asyncio.create_task(get(app, headers=token("a", 1, iss=other.issuer)))
    await other.asked()
    responses = await crowd(app, [token(iss=publisher.issuer)] * 5)
    assert {response.status for response in responses} == {200}
    assert reply.hold is not None
    reply.hold.set()
    assert (await late).status == 503


async def test_a_revocation_names_the_tenant(
    publisher: Publisher,
    other: Publisher,
    clock: ManualClock,
    manager: CountingManager,
    trusting: Callable[..., JWKSKeys],
) -> None:
    keys = trusting({publisher.issuer: publisher.url, other.issuer: other.url})
    app = GuardMiddleware(App(), [JWTAuth(keys=keys)], redis=manager, clock=clock)
    await RevocationList(manager, by_issuer=True).revoke("t-1", ttl=60, issuer=publisher.issuer)
    assert (await get(app, headers=token(iss=publisher.issuer))).status == 401
    assert (await get(app, headers=token("a", 1, iss=other.issuer))).status == 200


async def test_guards_that_share_keys_share_what_was_fetched(
    publisher: Publisher, clock: ManualClock, manager: CountingManager, trusting: Callable[..., JWKSKeys]
) -> None:
    keys = trusting(publisher.url)
    for scopes in ("", "read"):
        app = GuardMiddleware(App(), [JWTAuth(keys=keys, scopes=scopes)], redis=manager, clock=clock)
        assert (await get(app, headers=token(scope="read"))).status == 200
    assert publisher.count() == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"key": "x" * 32}, "key"),
        ({"algorithms": ["RS256"]}, "algorithms"),
        ({"issuer": "https://a.example"}, "issuer"),
    ],
)
def test_what_the_keys_say_is_not_said_twice(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"given together with {word}"):
        JWTAuth(keys=JWKSKeys(issuer="https://a.example"), **options)


def test_the_guard_names_the_issuer_where_the_keys_do_not() -> None:
    assert JWTAuth(keys=JWKSKeys("https://a.example/keys"), issuer="me").verifier.rules.issuers == {"me"}
    assert JWTAuth(keys=JWKSKeys(issuer="https://a.example")).verifier.rules.issuers == {"https://a.example"}
