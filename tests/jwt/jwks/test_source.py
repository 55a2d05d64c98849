"""Tokens of others in front of an app: their keys are fetched once, kept, renewed and forgotten as they should be."""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.testing import ManualClock
from tests.drive import App, Response, get, handshake
from tests.jwt.conftest import CountingManager
from tests.jwt.publisher import KEYS, Publisher, Reply, key
from tests.jwt.tokens import NOW, bearer, claims, forge, public_pem, sign
from tests.tls import Certificates

Site = Callable[..., GuardMiddleware]

#: Far enough for every test, and no further than a token may live.
LATER = NOW + 20 * 86_400


def token(kid: Any = "a", which: int = 0, algorithm: str = "ES256", **claims: Any) -> dict[str, bytes]:
    """The field with a token of the publisher's."""
    header = None if kid is None else {"kid": kid}
    return bearer(sign(algorithm=algorithm, which=which, header=header, **{"exp": LATER, **claims}))


async def crowd(app: GuardMiddleware, fields: list[dict[str, bytes]]) -> list[Response]:
    return await asyncio.gather(*[get(app, headers=one) for one in fields])


async def settled(manager: CountingManager) -> None:
    """Wait until no fetch is under way."""
    await manager.links.drain()


async def test_a_token_is_verified_by_a_key_that_was_fetched_once(
    site: Site, publisher: Publisher, inner: App, manager: CountingManager
) -> None:
    app = site()
    for _ in range(3):
        assert (await get(app, headers=token())).status == 200
    assert inner.scope["user"].identity == "alice"
    assert publisher.count() == 1
    assert manager.round_trips == 3, "the fetch is none of Redis's"
    assert (await get(app, headers=token(which=1))).status == 401, "signed by another, under a name that is known"
    assert publisher.count() == 1


async def test_fifty_requests_at_once_make_one_fetch(site: Site, publisher: Publisher) -> None:
    reply = publisher.publish(key())
    reply.hold = asyncio.Event()
    requests = asyncio.create_task(crowd(site(), [token(jti=str(i)) for i in range(50)]))
    await publisher.asked()
    reply.hold.set()
    assert {response.status for response in await requests} == {200}
    assert publisher.count() == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_fifty_made_up_key_ids_make_two_fetches_at_the_most(
    site: Site, publisher: Publisher, at_once: bool
) -> None:
    app = site()
    fields = [token(f"made-up-{i}", which=1) for i in range(50)]
    responses = await crowd(app, fields) if at_once else [await get(app, headers=one) for one in fields]
    assert {response.status for response in responses} == {401}
    assert publisher.count() <= 2
    assert (await get(app, headers=token())).status == 200


async def test_a_new_key_is_found_at_once_by_all_who_come_with_it(site: Site, publisher: Publisher) -> None:
    app = site()
    assert (await get(app, headers=token())).status == 200
    reply = publisher.publish(key(), key("b", 1))
    reply.hold = asyncio.Event()
    requests = asyncio.create_task(crowd(app, [token("b", 1, jti=str(i)) for i in range(50)]))
    await publisher.asked(2)
    assert (await get(app, headers=token())).status == 200, "who has a known key does not wait"
    reply.hold.set()
    assert {response.status for response in await requests} == {200}
    assert publisher.count() == 2


async def test_the_cool_down_is_taken_before_the_fetch_and_whatever_comes_of_it(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    app = site(cooldown=30)
    assert (await get(app, headers=token())).status == 200
    publisher.replies[KEYS].status = 500  # type: ignore[union-attr]
    assert (await get(app, headers=token("b", 1))).status == 503, "there may be such a key: nobody can tell"
    assert publisher.count() == 2
    publisher.publish(key(), key("b", 1))
    for _ in range(5):
        clock.advance(5)
        assert (await get(app, headers=token("b", 1))).status in (401, 503)
    assert publisher.count() == 2
    clock.advance(5)
    assert (await get(app, headers=token("b", 1))).status == 200
    assert publisher.count() == 3


async def test_a_key_id_that_was_looked_for_in_vain_is_not_looked_for_again_for_minutes(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    app = site(lifetime=10_000)
    assert (await get(app, headers=token())).status == 200
    for _ in range(9):
        assert (await get(app, headers=token("retired", 1))).status == 401
        clock.advance(31)
    assert publisher.count() == 2
    clock.advance(31)
    assert (await get(app, headers=token("retired", 1))).status == 401
    assert publisher.count() == 3


@pytest.mark.parametrize(
    ("kid", "claims"),
    [
        ("b", {"exp": NOW - 1}),
        ("b", {"iss": "https://elsewhere.example"}),
        ("b", {"aud": "others"}),
        ("b" * 600, {}),
        ({"a": 1}, {}),
        (["a"], {}),
        (7, {}),
    ],
)
async def test_a_token_that_no_key_could_save_makes_no_fetch(
    site: Site, publisher: Publisher, kid: Any, claims: dict[str, Any]
) -> None:
    app = site(jwt={"issuer": "https://idp.example"})
    good = {"iss": "https://idp.example"}
    assert (await get(app, headers=token(**good))).status == 200
    fields = token(kid, 1, **{**good, **claims}) if isinstance(kid, str) else forged(kid, **good)
    assert (await get(app, headers=fields)).status == 401
    assert publisher.count() == 1


def forged(kid: Any, **claims: Any) -> dict[str, bytes]:
    return bearer(forge({"alg": "ES256", "kid": kid}, {"exp": LATER, **claims}, b"whatever"))


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1", ""])
async def test_an_algorithm_that_is_not_on_the_list_makes_no_fetch(
    site: Site, publisher: Publisher, algorithm: str
) -> None:
    app = site()
    fields = bearer(forge({"alg": algorithm, "kid": "a"}, claims(), b"secret"))
    assert (await get(app, headers=fields)).status == 401
    assert publisher.count() == 0


async def test_a_public_key_is_no_secret(site: Site, publisher: Publisher) -> None:
    """The confusion of algorithms: an HMAC with the published key as its secret."""
    app = site()
    assert (await get(app, headers=token())).status == 200
    for secret in (public_pem("p256").encode(), json.dumps(key()).encode()):
        assert (await get(app, headers=bearer(forge({"alg": "HS256", "kid": "a"}, claims(), secret)))).status == 401


async def test_keys_are_fetched_anew_after_four_fifths_of_their_life_while_the_old_ones_serve(
    site: Site, publisher: Publisher, clock: ManualClock, manager: CountingManager
) -> None:
    publisher.publish(key(), cache_control="public, max-age=1000")
    app = site()
    assert (await get(app, headers=token())).status == 200
    clock.advance(799)
    assert (await get(app, headers=token())).status == 200
    assert publisher.count() == 1
    reply = publisher.publish(key(), key("b", 1), cache_control="public, max-age=1000")
    reply.hold = asyncio.Event()
    clock.advance(2)
    assert (await crowd(app, [token()] * 20))[-1].status == 200, "nobody waits"
    await publisher.asked(2)
    reply.hold.set()
    await settled(manager)
    assert (await get(app, headers=token("b", 1))).status == 200
    assert publisher.count() == 2


async def test_a_key_that_was_taken_back_verifies_nothing_more(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    app = site(lifetime=600)
    assert (await get(app, headers=token())).status == 200
    publisher.publish(key("b", 1))
    clock.advance(601)
    assert (await get(app, headers=token())).status == 401, "although the token is remembered"
    assert (await get(app, headers=token("b", 1))).status == 200
    assert publisher.count() <= 3


@pytest.mark.parametrize(
    ("control", "held", "gone"),
    [
        ("max-age=3600", 3599, 3601),
        ("public, MAX-AGE = 120 , must-revalidate", 119, 121),
        ("max-age=1", 59, 61),
        ("no-store", 59, 61),
        ("no-cache, max-age=5000", 59, 61),
        ("max-age=99999999", 86_399, 86_401),
        ("private", 599, 601),
        ("x-max-age=5", 599, 601),
    ],
)
async def test_keys_are_kept_as_long_as_their_server_says_within_bounds(
    site: Site, publisher: Publisher, clock: ManualClock, control: str, held: int, gone: int
) -> None:
    publisher.publish(key(), cache_control=control)
    app = site()
    assert (await get(app, headers=token())).status == 200
    reply = publisher.publish(key("b", 1))
    reply.hold = asyncio.Event()
    clock.advance(held)
    assert (await get(app, headers=token())).status == 200
    clock.advance(gone - held)
    late = asyncio.create_task(get(app, headers=token()))
    await publisher.asked(2)
    reply.hold.set()
    assert (await late).status == 401


async def test_the_age_of_what_comes_out_of_a_cache_counts(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    publisher.publish(key(), cache_control="max-age=1000", age="800")
    app = site()
    assert (await get(app, headers=token())).status == 200
    clock.advance(201)
    publisher.publish(key("b", 1))
    assert (await get(app, headers=token())).status == 401
    assert publisher.count() == 2


async def test_a_set_that_has_not_changed_is_not_sent_again(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    publisher.publish(key(), etag='"one"', cache_control="max-age=100")
    app = site()
    for _ in range(4):
        assert (await get(app, headers=token())).status == 200
        clock.advance(101)
    assert [request.fields.get("if-none-match") for request in publisher.requests] == [None, *['"one"'] * 3]
    publisher.publish(key("b", 1), etag='"two"')
    assert (await get(app, headers=token())).status == 401
    assert (await get(app, headers=token("b", 1))).status == 200


async def test_a_304_that_nobody_asked_for_is_no_answer(
    site: Site, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.replies[KEYS] = Reply(status=304)
    assert (await get(site(), headers=token())).status == 503
    assert "the status is 304" in caplog.text


async def test_who_comes_with_a_new_key_into_a_fetch_that_began_before_waits_for_another_one(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    app = site(lifetime=600)
    assert (await get(app, headers=token())).status == 200
    clock.advance(500)
    old = publisher.publish(key())
    old.hold = asyncio.Event()
    assert (await get(app, headers=token())).status == 200
    await publisher.asked(2)
    publisher.publish(key(), key("b", 1))
    requests = asyncio.create_task(crowd(app, [token("b", 1, jti=str(i)) for i in range(20)]))
    await asyncio.sleep(0)
    old.hold.set()
    assert {response.status for response in await requests} == {200}
    assert publisher.count() == 3


async def test_a_clock_that_was_put_back_has_keys_fetched_anew(
    site: Site, publisher: Publisher, clock: ManualClock
) -> None:
    app = site()
    assert (await get(app, headers=token())).status == 200
    clock.set(NOW - 5)
    assert (await get(app, headers=token(iat=None))).status == 200
    assert publisher.count() == 2


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES384", "EdDSA"])
async def test_every_family_is_verified(site: Site, publisher: Publisher, algorithm: str) -> None:
    publisher.publish(key("k", algorithm=algorithm), key())
    app = site()
    assert (await get(app, headers=token("k", algorithm=algorithm))).status == 200
    assert (await get(app, headers=token("k"))).status == 401


async def test_a_key_without_id_serves_all_who_name_none_or_an_unknown_one(site: Site, publisher: Publisher) -> None:
    publisher.publish(key(None))
    app = site()
    assert (await get(app, headers=token(None))).status == 200
    assert (await get(app, headers=token("some"))).status == 200
    assert (await get(app, headers=token(None, 1))).status == 401
    assert publisher.count() == 2, "it may have been signed by a new key"
    assert (await get(app, headers=token(None, 1, jti="2"))).status == 401
    assert publisher.count() == 2


async def test_the_guard_s_algorithms_bind_what_the_keys_are_for(site: Site, publisher: Publisher) -> None:
    publisher.publish(key("r", algorithm="RS256"), key("e"))
    app = site(algorithms=["RS256", "RS512"])
    assert (await get(app, headers=token("r", algorithm="RS256"))).status == 200
    assert (await get(app, headers=token("r", algorithm="RS512"))).status == 401, "the key says what it is for"
    assert (await get(app, headers=token("e"))).status == 401


async def test_the_blacklist_and_the_guards_behind_go_on_after_a_fetch(
    publisher: Publisher, clock: ManualClock, manager: CountingManager, trusting: Callable[..., JWKSKeys]
) -> None:
    await RevocationList(manager).revoke("t-1", ttl=60)
    guards = [JWTAuth(keys=trusting(publisher.url)), RateLimit("2/hour", key="user")]
    app = GuardMiddleware(App(), guards, redis=manager, clock=clock)
    assert (await get(app, headers=token())).status == 401
    assert [(await get(app, headers=token(jti=str(i)))).status for i in range(3)] == [200, 200, 429]


async def test_a_websocket_waits_for_keys_too(site: Site, publisher: Publisher) -> None:
    assert (await handshake(site(), headers=token())).status == 101
    assert (await handshake(site(), headers=token(which=1))).status == 401


async def test_a_client_that_leaves_does_not_end_the_fetch_of_the_others(site: Site, publisher: Publisher) -> None:
    reply = publisher.publish(key())
    reply.hold = asyncio.Event()
    app = site()
    first = asyncio.create_task(get(app, headers=token()))
    await publisher.asked()
    second = asyncio.create_task(get(app, headers=token()))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    reply.hold.set()
    assert (await second).status == 200
    assert publisher.count() == 1


async def test_keys_change_again_and_again_under_load_without_one_request_that_fails(
    site: Site, publisher: Publisher, clock: ManualClock, manager: CountingManager
) -> None:
    """The issuer publishes a key and signs with it in the same moment; tokens of the one before still go about."""
    app = site(cooldown=30)
    for i in range(1, 8):
        publisher.publish(key(f"k{i - 1}", i - 1), key(f"k{i}", i))
        fields = [token(f"k{i - n % 2}", i - n % 2, jti=f"{i}-{n}") for n in range(20)]
        assert {response.status for response in await crowd(app, fields)} == {200}
        clock.advance(30)
    await settled(manager)
    assert publisher.count() <= 8


def test_keys_that_were_fetched_in_one_loop_serve_in_the_next(certificates: Certificates) -> None:
    keys = JWKSKeys("https://127.0.0.1:1/keys", context=ssl.create_default_context(cafile=certificates.ca))

    async def visit(fetched: bool) -> int:
        async with Publisher(certificates) as publisher, RedisManager("memory://") as manager:
            publisher.publish(key())
            if fetched:
                (remote,) = keys.remotes.values()
                remote.moved(publisher.url)
            app = GuardMiddleware(App(), [JWTAuth(keys=keys)], redis=manager, clock=lambda: NOW)
            assert (await get(app, headers=token())).status == 200
            return publisher.count()

    assert [asyncio.run(visit(fetched)) for fetched in (True, False)] == [1, 0]
