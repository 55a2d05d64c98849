"""`Idempotency` through the engine: what runs, what is replayed, what is refused."""

import asyncio
import math
from typing import Any

import pytest

from asgi_redis_guard import Answer, ConfigurationError, GuardMiddleware, RedisManager
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.idempotency.guard import Idempotency
from tests.drive import call, handshake
from tests.guards import answering as guard_answering
from tests.idempotency.shop import Shop, answering, attended, guarded, post, posting, record, scope_of
from tests.middleware.calls import TestRedis, settled


async def test_a_request_runs_once_and_its_retries_get_the_same_response(redis: RedisManager) -> None:
    shop = Shop(headers=[(b"x-a", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
    app = guarded(shop, redis)
    first = await post(app)
    again = [await post(app) for _ in range(3)]
    assert (first.status, first.body, len(shop.charges)) == (201, b"charge 1", 1)
    for response in again:
        assert (response.status, response.body) == (first.status, first.body)
        assert response.headers == [*first.headers, (b"idempotent-replayed", b"true")]
    assert not first.all("idempotent-replayed")


async def test_one_round_trip_begins_one_records_and_one_replays(memory: TestRedis) -> None:
    app = guarded(Shop(), memory)
    await post(app)
    assert memory.rounds == [["idempotency.begin"], ["idempotency.complete"]]
    await post(app)
    assert memory.rounds[2:] == [["idempotency.begin"]]


async def test_the_response_is_recorded_before_its_head_is_sent(memory: TestRedis) -> None:
    memory.withhold()
    first = posting(guarded(Shop(), memory))
    await memory.asked.wait()
    memory.give()
    memory.withhold()
    await memory.asked.wait()
    assert memory.rounds[-1] == ["idempotency.complete"]
    assert first.sent == []
    memory.give()
    await first.task
    assert first.status == 201


async def test_the_quoted_and_the_bare_key_are_one(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    for key in ('"k-1"', "k-1", ' "k-1" ', '"k-1";v=1'):
        assert (await post(app, key)).body == b"charge 1"
    assert (await post(app, '"k-2"')).body == b"charge 2"


async def test_requests_without_a_key_or_with_another_method_pass_untouched(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory)
    for _ in range(2):
        await post(app, None)
        await post(app, '"k"', method="PUT")
        await post(app, '"k"', method="GET")
    assert len(shop.charges) == 6
    assert memory.rounds == []


async def test_a_websocket_passes(memory: TestRedis) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    guard = Idempotency(methods=["GET"], required=True)
    assert (
        await handshake(GuardMiddleware(app, [guard], redis=memory), headers={"idempotency-key": "k"})
    ).status == 101
    assert memory.rounds == []


async def test_a_key_that_is_required_and_missing_is_told(memory: TestRedis) -> None:
    shop = Shop()
    response = await post(guarded(shop, memory, required=True), None)
    assert (response.status, shop.charges) == (400, [])
    assert response["content-type"] == "application/problem+json"
    assert "idempotency-key" in response.json()["detail"]


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", '"a b"', "a" * 256, '"a", "b"', '"ä"', "ä", '"a"x'])
async def test_a_malformed_key_is_refused_and_nothing_runs(memory: TestRedis, key: str) -> None:
    shop = Shop()
    assert (await post(guarded(shop, memory), key)).status == 400
    assert shop.charges == []
    assert memory.rounds == []


async def test_a_key_that_stands_there_twice_is_malformed(memory: TestRedis) -> None:
    shop = Shop()
    scope = scope_of("a")
    scope["headers"] *= 2
    assert (await call(guarded(shop, memory), scope)).status == 400
    assert shop.charges == []


async def test_a_key_that_comes_with_another_request_is_refused_done_or_under_way(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis, methods=["POST", "PUT"])
    first = await shop.begins(app)
    for _ in range(2):
        assert (await post(app, body=b"6 EUR")).status == 422
        assert (await post(app, path="/other")).status == 422
        assert (await post(app, query_string=b"a=1")).status == 422
        assert (await post(app, method="PUT")).status == 422
        shop.open.set()
        await first.task
    assert len(shop.charges) == 1
    assert (await post(app)).status == 201


async def test_another_person_s_key_is_another_key(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis)
    one = await post(app, client=("203.0.113.1", 1))
    other = await post(app, client=("203.0.113.2", 1))
    assert (one.body, other.body) == (b"charge 1", b"charge 2")


async def test_guards_with_different_names_have_records_of_their_own(memory: TestRedis) -> None:
    shop = Shop()
    for name in ("a", "b", "a"):
        await post(guarded(shop, memory, name=name))
    assert len(shop.charges) == 2


async def test_while_it_runs_another_is_told_to_come_back(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis, lease=30)
    first = await shop.begins(app)
    busy = await post(app)
    assert busy.status == 409
    assert 1 <= int(busy["retry-after"]) <= 30
    shop.open.set()
    await first.task
    assert first.status == 201
    assert (await post(app)).status == 201
    assert (len(shop.charges), shop.most) == (1, 1)


async def test_who_waits_gets_what_the_first_was_answered(redis: RedisManager) -> None:
    shop = Shop()
    app = guarded(shop, redis, wait=20)
    first = await shop.begins(app)
    waiting = [posting(app) for _ in range(5)]
    await attended(redis)
    shop.open.set()
    await asyncio.gather(first.task, *[one.task for one in waiting])
    assert [one.body for one in waiting] == [b"charge 1"] * 5
    assert len(shop.charges) == 1


async def test_who_waits_runs_it_where_the_first_has_failed(redis: RedisManager) -> None:
    async def failing_once(scope: Any, receive: Any, send: Any) -> None:
        await (answering(503) if len(shop.charges) == 1 else answering(200, b"ok"))(scope, receive, send)

    shop = Shop(failing_once)
    app = guarded(shop, redis, wait=20)
    first = await shop.begins(app)
    second = posting(app)
    shop.open.set()
    await asyncio.gather(first.task, second.task)
    assert (first.status, second.status) == (503, 200)
    assert (len(shop.charges), shop.most) == (2, 1)


async def test_who_has_waited_long_enough_is_told_to_come_back(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory, wait=0.01)
    first = await shop.begins(app)
    busy = await post(app)
    assert (busy.status, int(busy["retry-after"]) >= 1) == (409, True)
    shop.open.set()
    await first.task


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 410, 422])
async def test_answers_that_would_be_the_same_are_recorded(memory: TestRedis, status: int) -> None:
    shop = Shop(answering(status))
    app = guarded(shop, memory)
    assert [(await post(app)).status for _ in range(2)] == [status] * 2
    assert len(shop.charges) == 1


@pytest.mark.parametrize("status", [307, 308, 409, 425, 429, 500, 502, 503])
async def test_answers_that_may_be_others_next_time_are_not_recorded(redis: RedisManager, status: int) -> None:
    shop = Shop(answering(status))
    app = guarded(shop, redis)
    for number in (1, 2):
        assert (await post(app)).status == status
        assert await record(redis) is None
        assert len(shop.charges) == number


async def test_a_handler_that_raises_or_answers_nothing_leaves_the_key_free(redis: RedisManager) -> None:
    async def fails(*asgi: Any) -> None:
        raise RuntimeError("boom")

    shop = Shop(fails)
    with pytest.raises(RuntimeError):
        await post(guarded(shop, redis))
    assert await record(redis) is None

    async def silent(*asgi: Any) -> None:
        return

    await posting(guarded(Shop(silent), redis)).task
    assert await record(redis) is None


async def test_a_large_response_is_replayed_to_the_byte(redis: RedisManager) -> None:
    body = bytes(range(256)) * 1024
    shop = Shop(answering(200, body))
    app = guarded(shop, redis)
    assert [(await post(app)).body for _ in range(2)] == [body] * 2
    assert len(shop.charges) == 1


async def test_a_body_in_many_parts_whose_length_is_known_is_replayed_as_one(memory: TestRedis) -> None:
    shop = Shop(answering(200, b"one", b"two", b"three"))
    app = guarded(shop, memory)
    assert [(await post(app)).body for _ in range(2)] == [b"onetwothree"] * 2
    assert len(shop.charges) == 1


@pytest.mark.parametrize(
    "response",
    [answering(201, b"x" * 17), answering(201, b"a", b"b", length=False), answering(201, b"x" * 9, b"y" * 9)],
)
async def test_what_is_too_long_or_a_stream_is_run_once_and_told_to_be_not_stored(
    redis: RedisManager, response: Any
) -> None:
    shop = Shop(response)
    app = guarded(shop, redis, max_response=16)
    first = await post(app)
    assert (first.status, first["idempotent-stored"]) == (201, "false")
    again = await post(app)
    assert (again.status, again["idempotent-stored"]) == (409, "false")
    assert again.json()["original-status"] == 201
    assert (await post(app, body=b"6 EUR")).status == 422
    assert len(shop.charges) == 1


async def test_a_stream_leaves_as_it_comes(memory: TestRedis) -> None:
    more = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"b", "more_body": False})

    first = posting(guarded(Shop(stream), memory))
    assert (await first.sees("http.response.body"))["body"] == b"a"
    more.set()
    await first.task


async def test_a_body_over_the_limit_is_refused_and_names_it(memory: TestRedis) -> None:
    shop = Shop()
    app = guarded(shop, memory, max_body=4)
    response = await post(app, body=b"12345")
    assert (response.status, shop.charges) == (413, [])
    assert " 4 " in response.json()["detail"]
    assert (await post(app, body=b"1234")).status == 201
    assert len(shop.charges) == 1


async def test_a_record_lives_as_long_as_its_ttl_and_a_lease_as_itself(redis: RedisManager) -> None:
    shop = Shop()
    first = await shop.begins(guarded(shop, redis, ttl=1000, lease=20))
    (key,) = await redis.execute("KEYS", "guard:y:*")
    assert 0 < await redis.execute("PTTL", key) <= 20_000
    shop.open.set()
    await first.task
    assert 20_000 < await redis.execute("PTTL", key) <= 1_000_000


async def test_what_a_guard_behind_answers_is_not_recorded(memory: TestRedis) -> None:
    shop = Shop()
    refusing = guard_answering(Answer(403, [], b"no", reason="no"))
    app = GuardMiddleware(shop, [Idempotency(), refusing], redis=memory)
    assert (await post(app)).status == 403
    assert await record(memory) is None
    assert (await post(guarded(shop, memory))).status == 201


async def test_neither_the_key_nor_the_body_stands_in_redis(memory: TestRedis) -> None:
    await post(guarded(Shop(), memory), '"secret-key"', body=b"secret-body")
    (name,) = await memory.execute("KEYS", "guard:y:*")
    stored = name + await memory.execute("GET", name)
    assert b"secret" not in stored


async def test_the_same_key_space_twice_in_a_stack_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        GuardMiddleware(Shop(), [Idempotency(), Idempotency()], redis="memory://")
    GuardMiddleware(Shop(), [Idempotency(paths=["/a"]), Idempotency(paths=["/b"])], redis="memory://")


async def test_exempt_paths_and_others_than_those_named_are_left_alone(memory: TestRedis) -> None:
    shop = Shop()
    for options in ({"exempt": ["/charges"]}, {"paths": ["/refunds"]}):
        for _ in range(2):
            await post(guarded(shop, memory, **options))
    assert len(shop.charges) == 4
    app = guarded(shop, memory, paths=["/charges"])
    assert [(await post(app)).body for _ in range(2)] == [b"charge 5"] * 2


@pytest.mark.parametrize("garbage", [b"?", b"D-" + b"x" * 36 + b"nonsense", b"P", b"X-" + b"x" * 60])
async def test_a_record_that_cannot_be_read_is_neither_replayed_nor_run_again(
    redis: RedisManager, garbage: bytes
) -> None:
    shop = Shop()
    app = guarded(shop, redis, on_outage="open")
    await post(app)
    (key,) = await redis.execute("KEYS", "guard:y:*")
    stored = await redis.execute("GET", key)
    garbage = stored[:38] + garbage if garbage[:2] == b"D-" else garbage
    await redis.execute("SET", key, garbage, "PX", 60_000)
    response = await post(app)
    assert (response.status, len(shop.charges)) == (503, 1)
    assert math.isfinite(float(response["retry-after"]))
    await settled(redis)


async def test_what_stands_for_the_status_of_a_response_that_was_not_kept_is_told_if_it_is_one(
    memory: TestRedis,
) -> None:
    app = guarded(Shop(answering(201, b"12", b"3", length=False)), memory)
    await post(app)
    (key,) = await memory.execute("KEYS", "guard:y:*")
    stored = await memory.execute("GET", key)
    for status, told in ((b"201", 201), (b"9" * 6000, None), (b"\r\n", None)):
        await memory.execute("SET", key, stored[:38] + status)
        response = await post(app)
        assert (response.status, response.json().get("original-status")) == (409, told)


async def test_a_redirect_that_repeats_the_request_elsewhere_leaves_its_key_for_that(memory: TestRedis) -> None:
    shop = Shop()

    async def slashed(scope: Scope, receive: Receive, send: Send) -> None:
        await (shop if scope["path"] == "/charges" else answering(307))(scope, receive, send)

    app = guarded(slashed, memory)
    assert (await post(app, path="/charges/")).status == 307
    await settled(memory)
    assert [(await post(app, path="/charges")).status for _ in range(2)] == [201, 201]
    assert len(shop.charges) == 1
