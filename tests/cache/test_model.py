"""Random schedules against what must hold whatever happens: nobody gets what began before a change that he knows of.

Requests, writes, cancellations and all that handlers may do run into each other in two caches on one server.
Every response tells when its handler began; every write is noted when its own response was there. A request that began
after that must not get a response from before it, nor one that was cut short, nor another language's.
"""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.cache.decorator import cached
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.site import Site, writing
from tests.drive import get, http_scope
from tests.middleware.calls import Call, settled
from tests.redis.tools import PATIENCE, within

PAGES = {"/a": ("one",), "/b": ("one", "two"), "/c": ("two",), "/d": ()}
LANGUAGES = (b"de", b"en")
ACTORS, TURNS = 12, 25


class World:
    """The app, and what is known of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ticks = count(1)
        #: When the last write was made that concerns a page and is known to be done.
        self.written = dict.fromkeys(PAGES, 0)
        self.seen: Counter[str] = Counter()
        self.pages = {path: cached(300, tags=tags)(self.page) for path, tags in PAGES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "GET":
            await self.pages[path](scope, receive, send)
        else:
            await self.idle()
            scope["state"]["tick"] = next(self.ticks)
            await writing(*([path[1:]] if path not in PAGES else []))(scope, receive, send)

    async def idle(self) -> None:
        """Take some time, or none."""
        turns = self.chance.choice([0, 0, 1, 5, -1])
        if turns < 0:
            await asyncio.sleep(self.chance.random() * 0.004)
        for _ in range(turns):
            await asyncio.sleep(0)

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the moment at which this began, in two pieces, or fail in one of many ways."""
        began, (language,) = next(self.ticks), [v for k, v in scope["headers"] if k == b"accept-language"]
        await self.idle()
        how = self.chance.choice(["well"] * 8 + ["raises", "500", "no-store", "short", "breaks"])
        if how == "raises":
            raise LookupError("the handler")
        headers = [(b"vary", b"accept-language")]
        if how == "no-store":
            headers.append((b"cache-control", b"no-store"))
        if how == "short":
            headers.append((b"content-length", b"999"))
        await send({"type": "http.response.start", "status": 500 if how == "500" else 200, "headers": headers})
        await self.idle()
        await send({"type": "http.response.body", "body": b"%d %b " % (began, language), "more_body": True})
        await self.idle()
        if how == "breaks":
            raise LookupError("the handler, in the middle")
        end = b"%d" % began if how != "short" else b""
        await send({"type": "http.response.body", "body": end, "more_body": False})

    async def act(self, here: Site) -> None:
        """Do something, and hold what comes of it to what is known."""
        what = self.chance.random()
        if what < 0.75:
            await self.read(here, self.chance.choice(list(PAGES)), cancelled=self.chance.random() < 0.2)
        else:
            await self.write(here, self.chance.choice(["/one", "/two", *PAGES]))

    async def read(self, here: Site, path: str, *, cancelled: bool) -> None:
        """Ask for a page."""
        known, language = self.written[path], self.chance.choice(LANGUAGES)
        headers = [(b"host", b"test"), (b"accept-language", language)]
        call = Call(here.app, http_scope(path, headers)).start()
        if cancelled:
            await self.idle()
            call.task.cancel()
        with suppress(LookupError, asyncio.CancelledError):
            await within(call.task)
        if len(call.sent) < 2 or call.status != 200 or call.sent[-1].get("more_body", False):
            self.seen["failed"] += 1
            return
        said = dict(call.headers)
        short = (b"content-length", b"999") in call.headers
        words = call.body.split()
        assert short or (len(words) == 3 and words[0] == words[2]), (call.body, said)
        assert words[1] == language, (call.body, language)
        assert int(words[0]) > known, f"{path} of {int(words[0])}, changed at {known}: {said}"
        self.seen["hit" if b"; hit" in said[b"cache-status"] else "miss"] += 1
        assert not (short and b"; hit" in said[b"cache-status"]), "what was cut short was kept"

    async def write(self, here: Site, path: str) -> None:
        """Change something; once that is answered it is known."""
        state: dict[str, int] = {}
        response = await get(here.app, path, [(b"host", b"test")], method="POST", state=state)
        assert response.status == 204
        now = state["tick"]
        for page, tags in PAGES.items():
            if page == path or path[1:] in tags:
                self.written[page] = max(now, self.written[page])
        self.seen["write"] += 1


async def actor(world: World, sites: list[Site]) -> None:
    for _ in range(TURNS):
        await world.act(world.chance.choice(sites))
        await world.idle()


async def play(world: World, url: str, **options: Any) -> None:
    async with AsyncExitStack() as ends:
        managers = [
            await ends.enter_async_context(RedisManager(url, timeout=PATIENCE))
            for _ in range(1 if url.startswith("memory") else 2)
        ]
        sites = [Site(world, manager, **options) for manager in managers]
        await asyncio.gather(*(actor(world, sites) for _ in range(ACTORS)))
        for manager in managers:
            await settled(manager)
        for here in sites:
            assert await here.is_clean(), (here.flights, here.leases, await here.fills())
    assert world.seen["write"]
    assert world.seen["miss"]


@pytest.mark.parametrize("remembered", [0, 1 << 20])
@pytest.mark.parametrize("seed", range(3))
async def test_nobody_gets_what_began_before_a_change_that_he_knows_of(
    backend: str, seed: int, remembered: int
) -> None:
    world = World(seed)
    await play(world, backend, remembered=remembered, early=[0.0, 1.0, 100.0][seed % 3], wait=2.0)
    assert world.seen["hit"]
