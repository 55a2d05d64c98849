"""`examples/cached_dashboard.py`: what is made once, for whom, and what a write makes anew."""

import asyncio

from tests.examples.conftest import Load, Serve, stack_of
from tests.middleware.calls import settled


async def test_the_dashboard_is_made_once_and_anew_after_a_write(load: Load, serve: Serve) -> None:
    module = load("cached_dashboard")
    async with serve(module.app) as visitor:
        assert module.queries == {"rate": 2}, "warm before the first request"
        ann, bob = await visitor.log_in("ann"), await visitor.log_in("bob")
        answers = await asyncio.gather(*(visitor.get("/dashboard", headers=who) for who in (ann, bob) * 10))
        assert {answer.text for answer in answers} == {'{"total":0.0}'}
        assert module.queries["dashboard"] == 1
        await settled(module.redis)
        hit = await visitor.get("/dashboard?utm_source=mail", headers=bob)
        assert "guard; hit" in hit.headers["cache-status"]
        assert (await visitor.post("/sales?amount=5", headers=ann)).status_code == 200
        assert (await visitor.get("/dashboard", headers=bob)).json() == {"total": 5.0}
        await settled(module.redis)
        assert (await visitor.get("/dashboard", headers=ann)).json() == {"total": 5.0}
        assert (await visitor.get("/dashboard?currency=USD", headers=ann)).json() == {"total": 6.25}
        assert module.queries["dashboard"] == 3
        refused = await visitor.get("/dashboard")
        assert refused.status_code == 401, "a hit has passed the guards in front"
    assert stack_of(module.app.middleware_stack) == "<GuardMiddleware [jwt + cache]"


async def test_each_user_has_a_page_that_only_own_sales_make_anew(load: Load, serve: Serve) -> None:
    module = load("cached_dashboard")
    async with serve(module.app) as visitor:
        ann, bob = await visitor.log_in("ann"), await visitor.log_in("bob")

        async def mine() -> list[int]:
            answers = [await visitor.get("/mine", headers=who) for who in (ann, bob)]
            assert [answer.json()["user"] for answer in answers] == ["ann", "bob"]
            assert all("private" in answer.headers["cache-control"] for answer in answers)
            await settled(module.redis)
            return [answer.json()["total"] for answer in answers]

        assert [await mine(), await mine()] == [[0, 0]] * 2
        assert module.queries["mine"] == 2
        await visitor.post("/sales?amount=7", headers=bob)
        assert [await mine(), await mine()] == [[0, 7]] * 2
        assert module.queries["mine"] == 3


async def test_invalidating_a_tag_reaches_values_and_responses_alike_and_a_url_its_responses(
    load: Load, serve: Serve
) -> None:
    module = load("cached_dashboard")
    async with serve(module.app) as visitor:
        ann = await visitor.log_in("ann")

        async def look() -> None:
            await visitor.get("/dashboard?utm_source=mail", headers=ann)
            await settled(module.redis)

        await look()
        await look()
        assert module.queries == {"rate": 2, "dashboard": 1}
        await visitor.post("/rates", headers=ann)
        await look()
        await look()
        assert module.queries == {"rate": 3, "dashboard": 2}
        await module.values.invalidate(url="http://test/dashboard?utm_source=elsewhere")
        await look()
        assert module.queries == {"rate": 3, "dashboard": 3}
