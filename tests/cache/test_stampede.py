"""Many requests for what is not there: the app makes it once, and whatever becomes of that, nobody waits in vain."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import PASS, Answer, Ask, Exchange, GuardMiddleware, RedisManager
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.testing import RoundTripCounter
from tests.cache.site import Page, Site, eventually, routes, site, writing
from tests.drive import http_scope
from tests.guards import Does, count
from tests.middleware.calls import Call, http, settled
from tests.redis.tools import PATIENCE, within

HOST = [(b"host", b"test")]


async def waiting(here: Site, number: int) -> None:
    """Wait until so many wait for somebody else's fill."""
    await eventually(lambda: sum(f.waiting for f in here.redis.flights._flights.values()) >= number)


async def test_200_at_once_run_the_handler_once(backend: str) -> None:
    page = Page()
    page.close()
    async with site(page, backend) as here:
        task = asyncio.ensure_future(here.many(200))
        await page.running.wait()
        await waiting(here, 199)
        page.gate.set()
        assert {response.body for response in await within(task)} == {b"page 1"}
        assert page.runs == 1
        assert here.outcomes().count("joined") == 199


async def test_two_caches_on_one_redis_run_it_once_and_wake_by_word(redis_url: str) -> None:
    """What a process asks while it waits does not grow with the time or with those who wait: no polling."""
    page = Page()
    page.close()
    async with (
        RoundTripCounter(redis_url) as proxy,
        RedisManager(proxy.url, timeout=PATIENCE) as other,
        site(page, redis_url) as here,
    ):
        first = asyncio.ensure_future(here.many(100))
        await page.running.wait()
        there = Site(page, other)
        second = asyncio.ensure_future(there.many(100))
        await waiting(there, 99)
        await eventually(lambda: proxy.commands.count(b"PTTL") == 1)
        proxy.reset()
        await asyncio.wait((second,), timeout=0.3)
        assert proxy.commands == []
        page.gate.set()
        bodies = {response.body for response in [*await within(first), *await within(second)]}
        assert (bodies, page.runs) == ({b"page 1"}, 1)
        assert proxy.commands.count(b"EVALSHA") == 1, "one looks again for all"
        assert b"PTTL" not in proxy.commands
        assert await there.is_clean()


@pytest.mark.parametrize("where", ["before the head", "between chunks", "at the end"])
async def test_a_client_that_leaves_changes_nothing_for_the_others(backend: str, where: str) -> None:
    page = Page()
    page.chunks = lambda number: [b"one ", b"two"]
    between = asyncio.Event()

    async def pause(place: int) -> None:
        await between.wait()

    page.between = pause
    page.close()
    async with site(page, backend) as here:
        leader = here.call()
        await page.running.wait()
        others = asyncio.ensure_future(here.many(20))
        await waiting(here, 20)
        if where != "before the head":
            page.gate.set()
            await leader.sees("http.response.body")
        if where == "at the end":
            between.set()
            await leader.sees("http.response.body", 2)
        leader.task.cancel()
        await asyncio.wait((leader.task,))
        page.gate.set()
        between.set()
        assert {response.body for response in await within(others)} == {b"one two"}
        assert page.runs == 1
        assert "; hit" in (await here.get())["cache-status"]


@pytest.mark.parametrize("where", ["looking", "following", "watching"])
async def test_who_waits_and_is_cancelled_holds_nobody_up(redis_url: str, where: str) -> None:
    page = Page()
    page.close()
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(page, redis_url) as here:
        there = Site(page, other)
        calls = [here.call()]
        if where != "looking":
            await page.running.wait()
            calls = [(there if where == "watching" else here).call() for _ in range(3)]
            if where == "watching":
                await waiting(there, 2)
            else:
                await waiting(here, 3)
        rest = asyncio.ensure_future((there if where == "watching" else here).many(5))
        await asyncio.sleep(0)
        for call in calls:
            call.task.cancel()
        page.gate.set()
        bodies = {response.body for response in await within(rest)}
        assert bodies <= {b"page 1", b"page 2"}
        assert len(bodies) == 1
        await asyncio.wait([call.task for call in calls])
        assert await there.is_clean()


async def test_an_exception_lets_everybody_go(backend: str) -> None:
    page = Page()

    async def fail(number: int) -> None:
        if number == 1:
            raise LookupError("the first")

    page.before = fail
    page.close()
    async with site(page, backend) as here:
        leader = here.call()
        await page.running.wait()
        others = asyncio.ensure_future(here.many(5))
        await waiting(here, 5)
        page.gate.set()
        with pytest.raises(LookupError):
            await leader.task
        assert {response.status for response in await within(others)} == {200}
        await settled(here.redis)
        runs = page.runs
        again = await here.get()
        assert again.body == b"page %d" % int(again.body.split()[1])
        assert page.runs <= runs + 1


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ({"status": 500}, False),
        ({"headers": [(b"set-cookie", b"a=b")]}, False),
        ({"headers": [(b"cache-control", b"no-store")]}, False),
        ({"headers": [(b"vary", b"*")]}, False),
        ({"headers": [(b"content-length", b"99")]}, False),
        ({"chunks": lambda number: [b"x" * 100] * 30}, False),
        ({"headers": [(b"x-other", b"y")]}, True),
    ],
)
async def test_what_cannot_be_kept_is_everybodys_own_and_serialises_nobody(
    backend: str, said: dict[str, Any], stored: bool
) -> None:
    page = Page(max_body=2000)
    for name, value in said.items():
        setattr(page, name, value)
    page.close()
    async with site(page, backend) as here:
        first = [here.call(headers=HOST) for _ in range(20)]
        await page.running.wait()
        await waiting(here, 19)
        page.gate.set()
        for call in first:
            await within(call.task)
        assert page.runs == (1 if stored else 20)
        assert {call.status for call in first} == {page.status}
        await settled(here.redis)
        page.close()
        runs = page.runs
        second = [here.call(headers=HOST) for _ in range(100)]
        if stored:
            await asyncio.gather(*(call.task for call in second))
            return
        if b"99" not in dict(page.headers).values():  # what was cut short may be whole the next time
            await eventually(lambda: page.runs == runs + 100)
        page.gate.set()
        await within(asyncio.gather(*(call.task for call in second)))


async def test_a_stream_of_events_is_nobody_elses_to_wait_for(backend: str) -> None:
    page, ends = Page(), asyncio.Event()
    page.headers = [(b"content-type", b"text/event-stream")]
    page.chunks = lambda number: [b"data: %d\n\n" % number, b""]

    async def forever(place: int) -> None:
        await ends.wait()

    page.between = forever
    page.close()
    async with site(page, backend) as here:
        calls = [here.call() for _ in range(10)]
        await page.running.wait()
        await waiting(here, 9)
        page.gate.set()
        for call in calls:
            await within(call.sees("http.response.body"))
        assert page.runs == 10
        late = here.call()
        await within(late.sees("http.response.body"))
        for call in [*calls, late]:
            call.task.cancel()
        await asyncio.wait([call.task for call in [*calls, late]])
        assert await here.is_clean(), "the client's leaving counts for what is not kept"


async def test_hit_for_miss_ends_at_once_when_something_may_be_kept(backend: str) -> None:
    page = Page()
    page.headers = [(b"set-cookie", b"a=b")]
    async with site(page, backend) as here:
        assert "stored" not in (await here.get())["cache-status"]
        assert "stored" not in (await here.get())["cache-status"]
        page.headers = []
        assert "; stored" in (await here.get())["cache-status"]
        assert "; hit" in (await here.get())["cache-status"]
        assert page.runs == 3


async def test_hit_for_miss_ends_by_its_time(backend: str) -> None:
    page = Page(tags=("t",))
    page.headers = [(b"set-cookie", b"a=b")]
    async with site(page, backend, pass_for=1) as here:
        await here.get()
        await here.get()
        left = max(
            [await here.redis.client.pttl(key) async for key in here.redis.client.scan_iter(match="guard:r:*}?*")]
        )
        assert 0 < left <= 1000
        await asyncio.sleep(left / 1000 + 0.01)
        page.close()
        runs = page.runs
        calls = [here.call() for _ in range(10)]
        await waiting(here, 9)
        await within(page.running.wait())
        assert page.runs == runs + 1
        page.gate.set()
        await within(asyncio.gather(*(call.task for call in calls)))


async def test_who_waits_too_long_goes_for_himself(redis_url: str) -> None:
    page = Page()
    page.close()
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(page, redis_url, wait=0.2) as here:
        there = Site(page, other, wait=0.2)
        leader = here.call()
        await page.running.wait()
        waits = [here.call(), there.call(), there.call()]
        await eventually(lambda: page.runs == 4)
        page.gate.set()
        await within(asyncio.gather(*(call.task for call in [leader, *waits])))
        await settled(other)
        assert await there.is_clean()


async def test_a_fill_whose_process_has_died_is_taken_over_when_its_time_is_up(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page()
    monkeypatch.setattr("asgi_redis_guard.cache.operations.LEASE", 0.3)
    monkeypatch.setattr("asgi_redis_guard.cache.deposit.LEASE", 0.3)
    async with site(page, redis_url) as here:
        page.close()
        async with RedisManager(redis_url, timeout=PATIENCE) as dead:
            call = Site(page, dead).call()
            await page.running.wait()
            dead.links.leases.abandon()
            rest = asyncio.ensure_future(here.many(20))
            await waiting(here, 19)
            page.running.clear()
            await within(page.running.wait())
            page.gate.set()
            assert len({response.body for response in await within(rest)}) == 1
            assert page.runs == 2
            await call.task
            await settled(dead)


async def test_a_fill_that_is_longer_than_its_lease_stays_one(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page()
    monkeypatch.setattr("asgi_redis_guard.cache.operations.LEASE", 0.3)
    monkeypatch.setattr("asgi_redis_guard.cache.deposit.LEASE", 0.3)
    page.close()
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(page, redis_url) as here:
        first = here.call()
        await page.running.wait()
        rest = asyncio.ensure_future(Site(page, other).many(10))
        await asyncio.wait((rest,), timeout=0.9)
        page.gate.set()
        assert {response.body for response in await within(rest)} == {b"page 1"}
        await first.task
        assert page.runs == 1


@pytest.mark.parametrize("how", ["tag", "url"])
async def test_what_is_invalidated_while_it_is_made_is_neither_kept_nor_shared(backend: str, how: str) -> None:
    page = Page(tags=("t",))
    app = routes(page=page, w=writing("t"))

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (writing() if scope["method"] == "POST" else app)(scope, receive, send)

    async with site(either if how == "url" else app, backend) as here:
        for made in (False, True):  # not there, and stale by an invalidation
            page.close()
            leader = here.call("/page")
            await page.running.wait()
            runs = page.runs
            early = asyncio.ensure_future(here.many(5, "/page"))
            await waiting(here, 5)
            await Call(here.app, http(method="POST", path="/page" if how == "url" else "/w")).run()
            late = asyncio.ensure_future(here.many(5, "/page"))
            await asyncio.sleep(0.02)
            page.gate.set()
            await leader.task
            assert leader.body == b"page %d" % runs
            assert {response.body for response in await within(late)} == {b"page %d" % (runs + 1)}, made
            assert {response.body for response in await within(early)} <= {b"page %d" % (runs + 1)}
            assert page.runs == runs + 1
            assert (await here.get("/page")).body == b"page %d" % (runs + 1)
            await here.post("/page" if how == "url" else "/w")


async def test_whoever_has_seen_the_answer_to_a_write_reads_it_in_every_process(redis_url: str) -> None:
    value = 0

    async def write(scope: Any, receive: Any, send: Any) -> None:
        nonlocal value
        value += 1
        await writing("t")(scope, receive, send)

    page = Page(tags=("t",))
    page.chunks = lambda number: [b"%d" % value]
    app = routes(page=page, w=write)
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(app, redis_url) as here:
        sites = [here, Site(app, other)]
        for round in range(30):
            readers = [asyncio.ensure_future(one.many(3, "/page")) for one in sites]
            await Call(sites[round % 2].app, http(method="POST", path="/w")).run()
            for one in sites:
                for response in await one.many(3, "/page"):
                    assert int(response.body) == value
            await asyncio.gather(*readers)
        await settled(other)


@pytest.mark.parametrize("policy", [{"swr": 300}, {"early": 100.0}])
async def test_what_is_refreshed_behind_its_answer_is_made_once(redis_url: str, policy: dict[str, Any]) -> None:
    early = policy.pop("early", 0.0)
    page = Page(ttl=1 if policy else 300, **policy)
    async with (
        RedisManager(redis_url, timeout=PATIENCE) as other,
        site(page, redis_url, early=early, jitter=0.0, remembered=0) as here,
    ):
        if early:

            async def slow(number: int) -> None:
                if number == 1:
                    await asyncio.sleep(0.1)

            page.before = slow
        there = Site(page, other, early=early, jitter=0.0, remembered=0)
        await here.get()
        if early:
            (entry,) = [key async for key in here.redis.client.scan_iter(match="guard:r:*}?*")]
            data = await here.redis.execute("GET", entry)
            await here.redis.client.set(entry, data[:33] + b"9" * 10 + data[43:], keepttl=True)
        else:
            await asyncio.sleep(1.05)
        page.close()
        responses = [*await here.many(20), *await there.many(20)]
        assert {response.body for response in responses} == {b"page 1"}
        await page.running.wait()
        assert page.runs == 2
        page.gate.set()
        await settled(here.redis)
        await settled(other)
        assert page.runs == 2
        if not early:
            assert (await there.get()).body == b"page 2"


async def test_a_guard_behind_that_answers_gives_the_fill_back(backend: str) -> None:
    def refuse(exchange: Exchange) -> Admission:
        if refusing:
            return Answer(409, [], b"locked", reason="locked")
        yield Ask([count("behind")])
        return PASS

    refusing, page = True, Page()
    async with site(page, backend) as here:
        app = GuardMiddleware(page, [here.guard, Does(refuse, name="lock")], redis=here.redis)
        for _ in range(3):
            assert (await Call(app, http_scope("/", HOST)).run()).status == 409
            assert await here.is_clean()
        refusing = False
        assert (await Call(app, http_scope("/", HOST)).run()).status == 200


@pytest.mark.parametrize("where", ["encode", "grown"])
async def test_a_fault_of_our_own_while_it_is_stored_wakes_everybody(
    backend: str, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page()
    page.close()
    async with site(page, backend) as here:

        def fail(*args: Any, **options: Any) -> Any:
            raise LookupError("our own")

        owner = type(here.guard.codec) if where == "encode" else type(here.guard.variants)
        monkeypatch.setattr(owner, where, fail)
        leader = here.call()
        await page.running.wait()
        others = asyncio.ensure_future(here.many(5))
        await waiting(here, 5)
        page.gate.set()
        await leader.task
        assert {response.status for response in await within(others)} == {200}
        assert await here.is_clean()
        assert "our own" in caplog.text
        monkeypatch.undo()
        await here.get()
        assert "; hit" in (await here.get())["cache-status"]


async def test_who_turns_out_to_want_another_variant_leads_nobody_else(redis_url: str) -> None:
    """A request that others wait for learns, when it looks again, what the variants go by: its own is not theirs."""
    page = Page(vary=("accept-language",))
    page.chunks = lambda number: [dict(page.scopes[number - 1]["headers"])[b"accept-language"]]
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(page, redis_url) as here:
        page.close()
        first = here.call(headers=[*HOST, (b"accept-language", b"de")])
        await page.running.wait()
        there = Site(page, other)
        calls = {
            language: [there.call(headers=[*HOST, (b"accept-language", language)]) for _ in range(3)]
            for language in (b"en", b"fr", b"it")
        }
        await waiting(there, 8)
        page.gate.set()
        await first.task
        for language, some in calls.items():
            for call in some:
                await within(call.task)
                assert call.body == language
        await settled(other)
        assert await there.is_clean()
