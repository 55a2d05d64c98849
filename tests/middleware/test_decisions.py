"""`middleware/decisions.py`: a `Decision` for each guard of each exchange, in their order."""

from contextlib import suppress
from typing import Any

import pytest

from asgi_redis_guard import PASS, Answer, Ask, Decision, Exchange, GuardMiddleware, RedisUnavailable
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.observability import events
from tests.guards import Does, answering, asking, count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, websocket


def open_while_away(exchange: Exchange) -> Admission:
    with suppress(RedisUnavailable):
        yield Ask([count("a")])
    return PASS


async def decisions(redis: TestRedis, *guards: Any, scope: Any = None) -> list[Decision]:
    """What hooks are told about one exchange."""
    told: list[Decision] = []
    await Call(GuardMiddleware(responding(), guards, redis=redis, hooks=[told.append]), scope).run()
    return told


async def test_every_guard_has_its_word(redis: TestRedis) -> None:
    told = await decisions(
        redis,
        passing(name="first", kind="jwt"),
        answering(Answer(403, [], reason="not_you"), name="second", kind="acl"),
        passing(name="third", kind="cache"),
        scope=http(path="/api/items", root_path="/api", method="PUT"),
    )
    assert told == [
        Decision("first", "jwt", "passed", "", None, False, "http", "PUT", "/items"),
        Decision("second", "acl", "refused", "not_you", 403, False, "http", "PUT", "/items"),
        Decision("third", "cache", "undecided", "", None, False, "http", "PUT", "/items"),
    ]


async def test_a_stored_response_is_an_answer_and_no_refusal(redis: TestRedis) -> None:
    (told,) = await decisions(redis, answering(Answer(304, [], reason="fresh")))
    assert (told.outcome, told.reason, told.status) == ("answered", "fresh", 304)


async def test_a_decision_without_redis_is_degraded(redis: TestRedis) -> None:
    redis.away = RedisUnavailable()
    told = await decisions(redis, passing(), Does(open_while_away), asking(count("b")))
    assert [(one.outcome, one.degraded) for one in told] == [("passed", False), ("passed", True), ("refused", True)]


async def test_handshakes_are_told_apart(redis: TestRedis) -> None:
    (told,) = await decisions(redis, answering(Answer(401, [])), scope=websocket())
    assert (told.scope, told.method) == ("websocket", "GET")


async def test_hooks_hear_before_the_app_runs(redis: TestRedis) -> None:
    notes: list[str] = []

    async def app(*args: Any) -> None:
        notes.append("app")
        await responding()(*args)

    def hook(event: Decision) -> None:
        notes.append("hook")

    await Call(GuardMiddleware(app, [passing()], redis=redis, hooks=[hook])).run()
    assert notes == ["hook", "app"]


async def test_a_hook_that_raises_harms_neither_the_request_nor_the_other_hooks(
    redis: TestRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "_quiet_until", 0.0)
    told: list[Decision] = []

    def fail(event: Decision) -> None:
        raise LookupError

    for _ in range(3):
        call = Call(GuardMiddleware(responding(), [passing(), passing()], redis=redis, hooks=[fail, told.append]))
        assert (await call.run()).status == 200
    assert len(told) == 6
    assert [record.message for record in caplog.records] == ["an event hook failed"]
