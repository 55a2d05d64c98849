"""A response is told whole or not at all, and what is no whole response is never stored."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from asgi_redis_guard.middleware.engine import GuardMiddleware
from tests.cache.cases import Reply, Stage, Step
from tests.cache.origin import Lab
from tests.drive import call, http_scope
from tests.middleware.calls import settled

FRESH = "cache-control: max-age=100"
START = {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]}
BODY = {"type": "http.response.body"}


class Broken(Exception):
    """The app ends in the middle."""


def _app(messages: Iterable[Message | Exception]) -> Any:
    calls: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope)
        for message in messages:
            if isinstance(message, Exception):
                raise type(message)(*message.args)  # that of the table would hold the frames that it has passed
            await send(message)

    app.calls = calls  # type: ignore[attr-defined]
    return app


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([START, {**BODY, "body": b"half", "more_body": True}, Broken()], id="it raises in the middle"),
        pytest.param([START, Broken()], id="it raises behind the head"),
        pytest.param([START, {**BODY, "body": b"half", "more_body": True}], id="it ends in the middle"),
        pytest.param([START], id="it ends behind the head"),
        pytest.param(
            [{**START, "headers": [*START["headers"], (b"content-length", b"9")]}, {**BODY, "body": b"half"}],
            id="it is shorter than it said",
        ),
        pytest.param(
            [{**START, "trailers": True}, {**BODY, "body": b"all"}, {"type": "http.response.trailers", "headers": []}],
            id="it has trailers",
        ),
        pytest.param(
            [
                {**START, "headers": [*START["headers"], (b"content-type", b"text/event-stream")]},
                {**BODY, "body": b"x"},
            ],
            id="it is a stream of events",
        ),
        pytest.param(
            [START, {"type": "http.response.pathsend", "path": "/etc/hostname"}], id="the server sends a file"
        ),
        pytest.param([START, {"type": "http.response.zerocopysend", "file": 0}], id="the server sends from a file"),
        pytest.param([START, {**BODY, "body": b"x" * 70_000}], id="it is too large"),
    ],
)
async def test_what_is_not_whole_is_never_stored(messages: list[Message | Exception]) -> None:
    async with Lab(max_body=65_536) as lab:
        app = _app(messages)
        stack = GuardMiddleware(app, [lab.cache], redis=lab.redis, clock=lab.clock)
        for number in (1, 2):
            sent: list[Message] = []
            with suppress(Broken):
                await asyncio.wait_for(stack(http_scope("/", {"host": "a"}), _receive, _kept(sent)), 5)
            await settled(lab.redis)
            assert len(app.calls) == number
            assert [one["type"] for one in sent] == [one["type"] for one in messages if isinstance(one, dict)]


def _kept(sent: list[Message]) -> Send:
    async def send(message: Message) -> None:
        sent.append(message)

    return send


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_informational_messages_pass_and_are_not_stored() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    async with Lab() as lab:
        app = _app([hint, START, {**BODY, "body": b"all"}])
        stack = GuardMiddleware(app, [lab.cache], redis=lab.redis, clock=lab.clock)
        sent: list[Message] = []
        await stack(http_scope("/", {"host": "a"}), _receive, _kept(sent))
        await settled(lab.redis)
        assert [one["type"] for one in sent] == [hint["type"], START["type"], BODY["type"]]
        response = await call(stack, http_scope("/", {"host": "a"}))
        assert (response.status, response.body, len(app.calls)) == (200, b"all", 1)


@pytest.mark.parametrize("size", [0, 1, 4095, 8191, 8192, 8193, 20_000, 300_000])
async def test_a_body_is_what_it_was(size: int) -> None:
    body = bytes(n * n % 251 for n in range(size))
    async with Stage() as stage:
        await stage.play(Step("miss", says=Reply(FRESH, body=body), body=body))
        for _ in range(3):
            response = await stage.play(Step("hit", body=body))
            assert response["content-length"] == str(size)


async def test_a_204_has_no_length() -> None:
    async with Stage() as stage:
        await stage.play(Step("miss", says=Reply(FRESH, 204), status=204))
        await stage.play(Step("hit", status=204, lacks="content-length"))
