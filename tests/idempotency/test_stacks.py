"""`Idempotency` among other guards: in front, behind, and while they make it wait."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Answer, ConfigurationError, Exchange, GuardMiddleware, JWTAuth, RedisManager
from asgi_redis_guard.core.steps import PASS, Admission, Pass, Wait
from asgi_redis_guard.idempotency.guard import Idempotency
from asgi_redis_guard.idempotency.middleware import IdempotencyMiddleware
from asgi_redis_guard.middleware.waits import Fetch
from asgi_redis_guard.ratelimit.guard import RateLimit
from tests.conftest import MakeServer
from tests.drive import call, http_scope
from tests.guards import Does, Watches, asking, count, passing
from tests.idempotency.shop import Shop, answering, guarded, post, posting, record, scope_of
from tests.middleware.calls import TestRedis, settled
from tests.redis.tools import PATIENCE, eventually, within


class Stands:
    """Something that a guard waits for until the test says so."""

    def __init__(self) -> None:
        self.reached, self.may_go = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.may_go.wait()

    def guard(self) -> Does:
        """A guard that waits for it."""

        def admit(exchange: Exchange) -> Admission:
            yield Wait(self, PATIENCE)
            return PASS

        return Does(admit)


async def test_a_replay_and_a_refusal_pass_the_guards_outside(memory: TestRedis) -> None:
    outer = Watches("outer")
    app = GuardMiddleware(Shop(), [passing(outer), Idempotency()], redis=memory)
    first, again, other = await post(app), await post(app), await post(app, body=b"else")
    assert [response["x-seen-by"] for response in (first, again, other)] == ["outer"] * 3
    assert [status for status, _ in outer.heads] == [201, 201, 422]


async def test_a_limit_in_front_counts_replays_and_what_it_adds_is_not_recorded(memory: TestRedis) -> None:
    app = GuardMiddleware(Shop(), [RateLimit("2/minute"), Idempotency()], redis=memory)
    first, again, refused = [await post(app) for _ in range(3)]
    assert (first.status, again.status, refused.status) == (201, 201, 429)
    assert len(again.all("ratelimit")) == 1
    assert first["ratelimit"] != again["ratelimit"]


async def test_a_limit_behind_does_not_count_replays_and_what_it_refuses_may_come_again(memory: TestRedis) -> None:
    shop = Shop()
    app = GuardMiddleware(shop, [Idempotency(), RateLimit("1/minute")], redis=memory)
    assert [(await post(app, "a")).status for _ in range(3)] == [201] * 3
    for _ in range(2):
        assert (await post(app, "b")).status == 429
    await settled(memory)
    assert len(await memory.execute("KEYS", "guard:y:*")) == 1


async def test_it_begins_in_the_round_of_the_guards_behind_it(memory: TestRedis) -> None:
    app = GuardMiddleware(Shop(), [Idempotency(), RateLimit("9/minute")], redis=memory)
    await post(app)
    assert memory.rounds[0][0] == "idempotency.begin"
    assert len(memory.rounds[0]) > 1
    assert len(memory.rounds) == 2


async def test_a_record_that_is_lost_while_a_guard_behind_waits_ends_the_request_before_it_begins(
    memory: TestRedis,
) -> None:
    shop, stands = Shop(), Stands()
    app = GuardMiddleware(shop, [Idempotency(lease=1), stands.guard()], redis=memory)
    first = posting(app)
    await within(stands.reached.wait())
    await memory.execute("FLUSHALL")
    await eventually(lambda: len(memory.leases) == 0)
    stands.may_go.set()
    await within(first.task)
    assert (first.status, shop.charges) == (503, [])


async def test_a_lease_that_was_over_before_it_was_heard_of_is_given_back(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause of the whole process."""
    shop = Shop()
    memory.withhold()
    first = posting(guarded(shop, memory, lease=10))
    await memory.asked.wait()
    now = memory.leases.time()
    monkeypatch.setattr(memory.leases, "time", lambda: now + 10)
    memory.give()
    await within(first.task)
    assert (first.status, shop.charges) == (503, [])
    assert await record(memory) is None


async def test_a_lease_that_is_over_when_the_app_would_start_starts_nothing(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, stands = Shop(), Stands()
    first = posting(GuardMiddleware(shop, [Idempotency(lease=10), stands.guard()], redis=memory))
    await within(stands.reached.wait())
    now = memory.leases.time()
    monkeypatch.setattr(memory.leases, "time", lambda: now + 10)
    stands.may_go.set()
    await within(first.task)
    assert (first.status, shop.charges) == (503, [])


async def test_a_failure_holds_back_what_stands_behind(memory: TestRedis) -> None:
    await post(guarded(Shop(), memory))
    (key,) = await memory.execute("KEYS", "guard:y:*")
    await memory.execute("DEL", key)
    await memory.execute("RPUSH", key, "a")
    app = GuardMiddleware(Shop(), [Idempotency(), asking(count("behind"))], redis=memory)
    assert (await post(app)).status == 503
    assert await memory.value("behind") is None


async def test_a_body_that_somebody_else_has_held_back_is_recorded_up_to_its_own_limit(memory: TestRedis) -> None:
    class Holds(Watches):
        hold = 100

    shop = Shop(answering(200, b"x" * 50))
    app = GuardMiddleware(shop, [Idempotency(max_response=10), passing(Holds())], redis=memory)
    assert (await post(app))["idempotent-stored"] == "false"
    assert ((await post(app)).status, len(shop.charges)) == (409, 1)


async def test_authentication_behind_it_is_refused(redis_url: str) -> None:
    with pytest.raises(ConfigurationError):
        GuardMiddleware(Shop(), [Idempotency(), JWTAuth("k" * 32, algorithms=["HS256"])], redis=redis_url)


async def test_keys_of_users_are_their_own_and_the_address_does_not_matter(memory: TestRedis) -> None:
    class User:
        is_authenticated = True
        identity = ""

    def admit(exchange: Exchange) -> Any:
        user = User()
        user.identity = (exchange.header(b"x-user") or b"").decode()
        return Pass({"user": user})
        yield

    shop = Shop()
    app = GuardMiddleware(shop, [Does(admit, provides=frozenset(["user"])), Idempotency()], redis=memory)

    async def by(user: bytes, address: str) -> bytes:
        scope = scope_of(client=(address, 1))
        scope["headers"].append((b"x-user", user))
        return (await call(app, scope, b"5 EUR")).body

    assert await by(b"ann", "203.0.113.1") == await by(b"ann", "203.0.113.2") == b"charge 1"
    assert await by(b"bob", "203.0.113.1") == b"charge 2"


async def test_who_cannot_be_told_is_refused_or_passes_unguarded(memory: TestRedis) -> None:
    shop = Shop()
    assert (await post(guarded(shop, memory, key="header:x-account"))).status == 400
    for _ in range(2):
        assert (await post(guarded(shop, memory, key="header:x-account", unidentified="allow"))).status == 201
    assert len(shop.charges) == 2


async def test_the_field_and_the_methods_may_be_others(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory, header="X-Request-Id", methods="put", required=True)
    assert (await post(app, method="PUT")).status == 400
    assert (await post(app)).status == 201
    scope = http_scope("/charges", {"x-request-id": "a"}, method="PUT")
    assert [(await call(app, dict(scope), b"")).body for _ in range(2)] == [b"charge 2"] * 2


@pytest.mark.parametrize("on_outage", ["closed", "open"])
async def test_full_memory_is_an_outage_for_what_has_not_begun_and_no_matter_for_what_has(
    make_server: MakeServer, on_outage: str
) -> None:
    server = make_server("redis62")
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        shop = Shop()
        app = guarded(shop, redis, on_outage=on_outage)
        shop.close()
        first = posting(app, "a")
        await shop.runs(1)
        server.command("CONFIG", "SET", "maxmemory", "1")
        shop.open.set()
        await within(first.task)
        assert (first.status, first.body) == (201, b"charge 1")
        assert (await post(app, "a")).body == b"charge 1"
        assert (await post(app, "b")).status == (503 if on_outage == "closed" else 201)
        server.command("CONFIG", "SET", "maxmemory", "0")


async def test_a_large_record_that_cannot_be_fetched_is_not_run_again(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(answering(200, b"x" * 20_000))
    app = guarded(shop, memory)
    await post(app)

    async def nothing(_: Fetch) -> None:
        return None

    monkeypatch.setattr(Fetch, "wait", nothing)
    assert (await post(app)).status == 503
    monkeypatch.undo()
    assert (await post(app)).body == b"x" * 20_000
    assert len(shop.charges) == 1


async def test_the_middleware_is_the_engine_with_one_guard(memory: TestRedis) -> None:
    shop = Shop()
    app = IdempotencyMiddleware(shop, redis=memory, ttl=60)
    assert [(await post(app)).body for _ in range(2)] == [b"charge 1"] * 2
    assert repr(app.guards[0]) == "<Idempotency idempotency: PATCH, POST by user>"
    named = IdempotencyMiddleware(shop, guard=Idempotency(name="own"), redis=memory)
    assert (await post(named)).body == b"charge 2"
    with pytest.raises(ConfigurationError, match="ttl"):
        IdempotencyMiddleware(shop, guard=Idempotency(), redis=memory, ttl=60)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("methods", ()),
        ("methods", ["P OST"]),
        ("methods", [1]),
        ("ttl", 0),
        ("ttl", "day"),
        ("lease", 0.5),
        ("lease", float("nan")),
        ("wait", -1),
        ("wait", 601),
        ("max_body", -1),
        ("max_body", 1.5),
        ("max_response", True),
        ("max_response", 1 << 30),
        ("on_outage", "local"),
        ("unidentified", "maybe"),
        ("name", ""),
        ("name", "a\nb"),
        ("header", ""),
        ("header", "a b"),
        ("key", "nonsense"),
        ("paths", ["charges"]),
    ],
)
def test_an_option_that_cannot_work_is_named_with_what_is_allowed(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?s){option}.*(allowed|starts with)"):
        Idempotency(**{option: value})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        Idempotency(ttl=0, lease=0, wait=-1)
    assert len(told.value.faults) == 3


async def test_an_answer_of_the_app_s_own_stands_for_every_refusal(memory: TestRedis) -> None:
    reasons: list[str] = []

    def own(exchange: Exchange, answer: Answer) -> Answer:
        reasons.append(answer.reason)
        return Answer(418, [], b"own")

    shop = Shop(answering(201, b"x" * 100))
    app = guarded(shop, memory, required=True, max_body=9, max_response=9, on_refused=own)
    for key, body in (("a", b""), (None, b""), ("a b", b""), ("a", b"other"), ("a", b""), ("b", b"x" * 10)):
        await post(app, key, body)
    assert reasons == [
        "idempotency_key_missing",
        "idempotency_key_malformed",
        "idempotency_key_reused",
        "idempotency_response_not_kept",
        "body_too_large",
    ]
