"""`examples/limits_app.py`: what counts, what is settled, who waits, and what an admin sees and does."""

import asyncio
import sys
from typing import Any

import httpx

from tests.drive import http_scope
from tests.examples.conftest import Load, Serve, Visitor, stack_of
from tests.middleware.calls import settled

FREE, PRO = 10_000, 200_000


async def log_in(visitor: Visitor, user: str) -> dict[str, str]:
    """Header fields with a new token."""
    answer = await visitor.post("/login", json={"user": user, "password": f"{user}s"})
    assert answer.status_code == 200
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


async def usage(visitor: Visitor, user: str) -> tuple[int, int]:
    """The limit of a user, and how many tokens were taken of it, as an admin sees it when all is settled."""
    await settled(sys.modules["examples.limits_app"].redis)
    told = (await visitor.get(f"/admin/usage/{user}", headers=await log_in(visitor, "root"))).json()
    return told["limit"], told["limit"] - told["remaining"]


async def chat(visitor: Visitor, headers: dict[str, str], prompt: str, max_tokens: int = 50) -> httpx.Response:
    return await visitor.post("/chat", params={"max_tokens": max_tokens}, headers=headers, content=prompt)


class Stream:
    """A request for an answer whose client does not read beyond its first words, until it is told to."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self.status = 0
        self.began, self.reading = asyncio.Event(), asyncio.Event()
        fields = headers | {"content-length": "14"}
        self._scope = http_scope("/chat", fields, method="POST", query_string=b"max_tokens=50")
        self._inbox = [{"type": "http.request", "body": b"one two three ", "more_body": False}]
        self.task = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._inbox:
            return self._inbox.pop()
        return await asyncio.Future()

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        if message["type"] == "http.response.body":
            self.began.set()
            await self.reading.wait()

    async def end(self) -> None:
        """Read the rest."""
        self.reading.set()
        await self.task


async def test_an_answer_is_settled_to_the_tokens_that_it_took(load: Load, serve: Serve) -> None:
    app = load("limits_app").app
    async with serve(app) as visitor:
        ann = await log_in(visitor, "ann")
        answer = await chat(visitor, ann, "a few words to be said again", 4)
        assert (answer.status_code, answer.text) == (200, "a few words to ")
        assert f'"tokens";r={FREE - len("a few words to be said again") - 4};' in answer.headers["ratelimit"]
        assert '"streams";q=2;qu="concurrent-requests", "tokens";q=10000;w=3600' in answer.headers["ratelimit-policy"]
        assert await usage(visitor, "ann") == (FREE, 7 + 4)
        assert await usage(visitor, "bob") == (FREE, 0)
    assert stack_of(app.middleware_stack) == "<GuardMiddleware [login + jwt + streams + tokens]"


async def test_a_request_that_could_take_more_than_is_left_is_refused_and_takes_nothing(
    load: Load, serve: Serve
) -> None:
    async with serve(load("limits_app").app) as visitor:
        ann = await log_in(visitor, "ann")
        for _ in range(3):
            assert (await chat(visitor, ann, "w " * 2000, 1)).status_code == 200
        before = await usage(visitor, "ann")
        assert before == (FREE, 3 * 2001)
        refused = await chat(visitor, ann, "w " * 2000, 1)
        assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["tokens"])
        assert (await chat(visitor, ann, "a short one")).status_code == 200
        assert await usage(visitor, "ann") == (FREE, before[1] + 6)


async def test_another_tier_keeps_what_was_used(load: Load, serve: Serve) -> None:
    async with serve(load("limits_app").app) as visitor:
        ann = await log_in(visitor, "ann")
        await chat(visitor, ann, "one two three")
        assert await usage(visitor, "ann") == (FREE, 6)
        await visitor.post("/upgrade", headers=ann)
        ann = await log_in(visitor, "ann")
        answer = await chat(visitor, ann, "four")
        assert '"tokens";q=200000;w=3600' in answer.headers["ratelimit-policy"]
        assert f'"tokens";r={PRO - 6 - 4 - 50};' in answer.headers["ratelimit"]
        assert await usage(visitor, "ann") == (PRO, 8)


async def test_a_stream_holds_its_slot_until_its_last_byte(load: Load, serve: Serve) -> None:
    module = load("limits_app")
    app = module.app
    async with serve(app) as visitor:
        ann, bob = await log_in(visitor, "ann"), await log_in(visitor, "bob")
        streams = [Stream(app, ann), Stream(app, ann)]
        for stream in streams:
            await stream.began.wait()
        reserved = await usage(visitor, "ann")
        assert reserved == (FREE, 2 * (14 + 50)), "nothing is settled before the end"
        refused = await chat(visitor, ann, "a third")
        assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["streams"])
        assert await usage(visitor, "ann") == reserved, "what one limit refuses is counted by none"
        assert (await chat(visitor, bob, "of another")).status_code == 200
        await streams[0].end()
        await settled(module.redis)
        assert (await chat(visitor, ann, "a third")).status_code == 200
        await streams[1].end()
        assert [stream.status for stream in streams] == [200, 200]
        assert await usage(visitor, "ann") == (FREE, 6 + 6 + 4)


async def test_only_failed_log_ins_count_and_who_goes_on_is_banned(load: Load, serve: Serve) -> None:
    async with serve(load("limits_app").app) as visitor:
        for _ in range(10):
            await log_in(visitor, "ann")
        wrong = {"user": "ann", "password": "guessed"}
        statuses = [(await visitor.post("/login", json=wrong)).status_code for _ in range(5)]
        assert statuses == [401] * 5
        for _ in range(3):
            refused = await visitor.post("/login", json=wrong)
            assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["login"])
        banned = await visitor.post("/login", json={"user": "ann", "password": "anns"})
        assert banned.status_code == 429
        assert banned.json()["type"].endswith("#abnormal-usage-detected")
        assert 300 < int(banned.headers["retry-after"]) <= 3600


async def test_a_decorated_route_has_a_limit_of_its_own(load: Load, serve: Serve) -> None:
    async with serve(load("limits_app").app) as visitor:
        ann, bob = await log_in(visitor, "ann"), await log_in(visitor, "bob")
        statuses = [(await visitor.get("/report", headers=ann)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = await visitor.get("/report", headers=bob)
        assert answer.json() == {"report": "all about bob"}
        assert answer.headers["ratelimit-policy"] == '"report";q=3;w=3600'


async def test_an_admin_gives_the_tokens_back_and_nobody_else_does(load: Load, serve: Serve) -> None:
    async with serve(load("limits_app").app) as visitor:
        ann, root = await log_in(visitor, "ann"), await log_in(visitor, "root")
        await chat(visitor, ann, "one two three")
        assert (await visitor.post("/admin/reset/ann", headers=ann)).status_code == 403
        assert await usage(visitor, "ann") == (FREE, 6)
        assert (await visitor.post("/admin/reset/ann", headers=root)).status_code == 200
        assert await usage(visitor, "ann") == (FREE, 0)
