"""`RouteLock`: one request at a time, what the others are answered, and what the handler sees."""

import asyncio
import json
from typing import Any

import pytest

from asgi_redis_guard import Answer, ConfigurationError, GuardMiddleware, JWTAuth, RateLimit, RedisManager
from asgi_redis_guard.core.script import Operation, stopping
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.locks.held import HeldLock
from asgi_redis_guard.locks.middleware import RouteLockMiddleware
from tests.drive import App, call, get, http_scope
from tests.guards import asking, count
from tests.locks.work import Work, held, stack
from tests.middleware.calls import Call, TestRedis, http, settled

#: Stops the group that several locks of one request are taken in.
STOPS = Operation(stopping("locks"), ())


def posted(document: Any) -> dict[str, Any]:
    """The scope and the body of a POST."""
    return {"scope": http_scope(method="POST"), "body": json.dumps(document).encode()}


async def test_one_request_at_a_time_and_the_others_are_told_when_to_come_again(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("import", ttl=20))
    first = Call(app).start()
    await work.runs(1)
    refused = await get(app)
    assert (refused.status, refused["content-type"]) == (409, "application/problem+json")
    assert 1 <= int(refused["retry-after"]) <= 20
    assert await held(manager) == 1
    work.open.set()
    await first.task
    assert await held(manager) == 0
    assert (first.status, (await get(app)).status, work.most) == (200, 200, 1)


async def test_retry_after_is_what_is_left_of_the_holder_s_time_and_never_0(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("import"))
    first = Call(app).start()
    await work.runs(1)
    (key,) = await manager.execute("KEYS", "guard:k:*")
    for left, most in ((7_500, 8), (400, 1)):
        await manager.execute("PEXPIRE", key, left)
        assert most // 2 < int((await get(app))["retry-after"]) <= most
    work.open.set()
    await first.task


@pytest.mark.parametrize("status", [409, 423, 429, 503])
async def test_the_refusal_has_the_status_of_choice(memory: TestRedis, status: Any) -> None:
    work = Work()
    app = stack(work, memory, RouteLock("import", on_busy=status))
    first = Call(app).start()
    await work.runs(1)
    assert (await get(app)).status == status
    work.open.set()
    await first.task


async def test_keys_that_differ_do_not_wait_for_each_other(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("import:{address}"))
    calls = [Call(app, http(client=(f"203.0.113.{number}", 1))).start() for number in range(5)]
    await work.runs(5)
    assert await held(manager) == 5
    work.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert await held(manager) == 0


async def test_a_hundred_requests_of_two_processes_never_run_two_at_a_time(backend: str) -> None:
    inside = most = served = 0
    fences: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most, served
        inside += 1
        most = max(most, inside)
        fences.append(scope["lock"].fence)
        await other.execute("PING")
        inside -= 1
        served += 1
        await App()(scope, receive, send)

    async with RedisManager(backend, timeout=20) as one, RedisManager(backend, timeout=20) as two:
        other = one
        managers = (one,) if backend == "memory://" else (one, two)
        apps = [stack(app, manager, RouteLock("import", wait=50)) for manager in managers]
        answers = await asyncio.gather(*(get(apps[number % len(apps)]) for number in range(100)))
        assert {answer.status for answer in answers} == {200}
        assert (served, most) == (100, 1)
        assert fences == sorted(set(fences)), "each holder has a higher fence than all before"
        for manager in managers:
            await settled(manager)
            assert await held(manager) == 0


async def test_it_is_taken_in_the_stack_s_round_trip_and_given_back_in_one_after_the_response(
    memory: TestRedis,
) -> None:
    app = stack(App(), memory, RateLimit("5/minute"), RouteLock("import"), asking(count("behind")))
    assert (await get(app)).status == 200
    await settled(memory)
    assert memory.rounds == [["ratelimit.gcra", "locks.acquire", "test.count"], ["locks.release"]]


async def test_what_is_refused_leaves_no_trace_of_the_guards_behind_it(memory: TestRedis) -> None:
    work = Work()
    app = stack(work, memory, RouteLock("import"), asking(count("behind")))
    first = Call(app).start()
    await work.runs(1)
    assert (await get(app)).status == 409
    assert await memory.value("behind") == b"1"
    work.open.set()
    await first.task


async def test_the_handler_sees_its_lock_and_nothing_of_it_tells_the_token(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("import", ttl=40))
    first = Call(app).start()
    await work.runs(1)
    lock = work.lock
    (key,) = await manager.execute("KEYS", "guard:k:*")
    mark_and_fence, token = (value := (await manager.execute("GET", key)).decode())[:17], value[17:]
    assert (lock.token, lock.fence, lock.ttl) == (token, int(mark_and_fence[1:]), 40)
    assert 20 < lock.remaining() <= 40
    assert not lock.lost.is_set()
    assert token not in repr(lock)
    work.open.set()
    await first.task
    assert lock.remaining() == 0
    assert not lock.lost.is_set(), "it was given back, not lost"


async def test_a_lock_can_be_held_for_longer(manager: RedisManager) -> None:
    work = Work()
    first = Call(stack(work, manager, RouteLock("import", ttl=40))).start()
    await work.runs(1)
    await work.lock.extend(60)
    (key,) = await manager.execute("KEYS", "guard:k:*")
    assert 80_000 < await manager.execute("PTTL", key) <= 100_000
    assert 80 < work.lock.remaining() <= 100
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="seconds"):
            await work.lock.extend(wrong)
    work.open.set()
    await first.task


async def test_a_semaphore_lets_so_many_in(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("import", permits=2))
    calls = [Call(app).start() for _ in range(2)]
    await work.runs(2)
    refused = await get(app)
    assert (refused.status, 1 <= int(refused["retry-after"]) <= 30) == (409, True)
    fences = [lock.fence for lock in work.locks if lock is not None]
    assert len(set(fences)) == 2
    work.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert await held(manager) == 0


async def test_several_locks_are_taken_all_or_none(manager: RedisManager) -> None:
    work = Work()
    both = stack(work, manager, RouteLock(["from:{query:a}", "to:{query:b}"]))
    first = Call(both, http(query_string=b"a=1&b=1")).start()
    await work.runs(1)
    assert await held(manager) == 2
    for query in (b"a=1&b=2", b"a=2&b=1"):
        assert (await get(both, query_string=query)).status == 409
    assert await held(manager) == 2, "nothing of what was refused"
    second = Call(both, http(query_string=b"a=2&b=2")).start()
    await work.runs(2)
    assert await held(manager) == 4
    work.open.set()
    await asyncio.gather(first.task, second.task)
    assert await held(manager) == 0


async def test_several_locks_that_another_guard_holds_back_are_asked_for_again(memory: TestRedis) -> None:
    """Another guard's locks are held: these two are free, and taken by themselves, for the other answers after them."""
    work = Work()
    holder = Call(stack(work, memory, RouteLock(["c", "d"]))).start()
    await work.runs(1)
    app = stack(App(), memory, RouteLock(["a", "b"], name="outer"), RouteLock(["c", "e"], name="inner"))
    assert (await get(app)).status == 409
    assert await held(memory) == 2
    assert memory.rounds[1:3] == [["locks.acquire"] * 4, ["locks.acquire"] * 2]
    work.open.set()
    await holder.task
    assert (await get(app)).status == 200
    assert await held(memory) == 0


async def test_a_key_in_the_body_is_read_first_and_the_app_gets_the_body_all_the_same(manager: RedisManager) -> None:
    bodies = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        await work(scope, receive, send)

    work = Work()
    guarded = stack(app, manager, RouteLock("order:{json:order.id}", max_body=64))
    first = asyncio.ensure_future(call(guarded, **posted({"order": {"id": 7}})))
    await work.runs(1)
    assert (await call(guarded, **posted({"order": {"id": 7}}))).status == 409
    missing = await call(guarded, **posted({"order": {}}))
    assert (missing.status, missing.json()["status"]) == (400, 400)
    large = await call(guarded, **posted({"order": {"id": 8}, "more": "x" * 64}))
    assert (large.status, large.json()["limit"]) == (413, 64)
    work.open.set()
    assert ((await first).status, bodies) == (200, [b'{"order": {"id": 7}}'])
    assert await held(manager) == 0


async def test_a_client_that_leaves_in_the_middle_of_its_body_takes_no_lock(memory: TestRedis) -> None:
    app = App()
    part = {"type": "http.request", "body": b'{"id": ', "more_body": True}
    gone = Call(stack(app, memory, RouteLock("{json:id}")), http(method="POST"), part, {"type": "http.disconnect"})
    await gone.run()
    assert (gone.sent, app.scopes, memory.rounds) == ([], [], [])


async def test_requests_that_do_not_tell_the_key_are_refused_or_run_without(memory: TestRedis) -> None:
    app = App()
    refused = await get(stack(app, memory, RouteLock("{header:x-tenant}")))
    assert (refused.status, refused["content-type"]) == (400, "application/problem+json")
    assert (await get(stack(app, memory, RouteLock("{header:x-tenant}", unidentified="allow")))).status == 200
    assert "lock" not in app.scope
    assert memory.rounds == []


async def test_methods_paths_exemptions_and_preflights_choose_the_requests(memory: TestRedis) -> None:
    app = App()
    guard = RouteLock("x", methods=["post"], paths=["/jobs/*"], exempt=["/jobs/free"])
    guarded = stack(app, memory, guard)
    seen = {}
    meant = [("POST", "/jobs/1"), ("post", "/jobs/2")]  # some routers do not mind the case
    for method, path in (*meant, ("GET", "/jobs/1"), ("POST", "/jobs/free"), ("POST", "/other")):
        await get(guarded, path, method=method)
        seen[method, path] = isinstance(app.scope.get("lock"), HeldLock)
        await settled(memory)
    assert [one for one, is_locked in seen.items() if is_locked] == meant
    preflight = {"origin": "https://example.com", "access-control-request-method": "POST"}
    await get(stack(app, memory, RouteLock("x")), "/jobs/1", preflight, method="OPTIONS")
    assert "lock" not in app.scope


async def test_an_app_may_word_its_refusals(memory: TestRedis) -> None:
    own = Answer(418, [], b"busy", reason="busy")
    work = Work()
    app = stack(work, memory, RouteLock("x", on_refused=lambda exchange, answer: own))
    first = Call(app).start()
    await work.runs(1)
    assert ((await get(app)).status, (await get(app)).body) == (418, b"busy")
    work.open.set()
    await first.task


async def test_a_request_does_not_wait_for_a_lock_that_it_has_already(memory: TestRedis) -> None:
    """Two stacks, one in the other, that are not fused: the inner one asks only for what is missing."""
    inner = stack(App(), memory, RouteLock(["a", "b"]))

    async def between(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    assert (await get(stack(between, memory, RouteLock("a")))).status == 200
    assert await held(memory) == 0
    assert (await get(stack(between, memory, RouteLock(["b", "a"])))).status == 200
    assert await held(memory) == 0
    middle = stack(between, memory, RouteLock("c"))

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await middle(scope, receive, send)

    assert (await get(stack(around, memory, RouteLock("a")))).status == 200
    assert await held(memory) == 0


def test_the_same_lock_twice_and_a_lock_outside_of_authentication_are_refused() -> None:
    def build(*guards: Any) -> GuardMiddleware:
        return GuardMiddleware(App(), guards, redis="memory://")

    for wrong in (
        (RouteLock("a"), RouteLock("a", name="b")),
        (RouteLock("a", permits=1), RouteLock("a", permits=2)),
        (RouteLock("a"), JWTAuth("s" * 32)),
    ):
        with pytest.raises(ConfigurationError):
            build(*wrong)
    build(RouteLock("a"), RouteLock("a", permits=2), RouteLock("b"))
    build(JWTAuth("s" * 32), RouteLock("{user}"))


def test_all_faults_are_told_at_once() -> None:
    wrong: dict[str, Any] = {
        "ttl": 0,
        "wait": -1,
        "permits": 0,
        "max_body": 0,
        "on_busy": 500,
        "unidentified": "maybe",
        "on_outage": "local",
        "methods": ["PO ST"],
        "name": "",
        "on_refused": 1,
    }
    with pytest.raises(ConfigurationError) as told:
        RouteLock("x", **wrong)
    assert [fault.partition(":")[0] for fault in told.value.faults] == list(wrong)
    for key in ([], "", ["a", "a"], list("abcdefghi"), 7, "{json}", ["{nothing"], "user", ["a", "header:x-tenant"]):
        with pytest.raises(ConfigurationError, match="key"):
            RouteLock(key)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'on_busy'"):
        RouteLock("x", on_bussy=409)  # type: ignore[call-arg]


async def test_a_middleware_is_the_same_lock(memory: TestRedis) -> None:
    app = App()
    assert (await get(RouteLockMiddleware(app, "x", ttl=5, redis=memory))).status == 200
    assert app.scope["lock"].ttl == 5
    guarded = RouteLockMiddleware(app, guard=RouteLock(["x", "y"], permits=3), redis=memory)
    assert repr(guarded.guards[0]) == "<RouteLock lock: x, y, 3 at once>"
    for wrong in ({}, {"key": "x", "guard": RouteLock("x")}, {"guard": RouteLock("x"), "ttl": 5}):
        with pytest.raises(ConfigurationError):
            RouteLockMiddleware(App(), redis=memory, **wrong)  # type: ignore[arg-type]
