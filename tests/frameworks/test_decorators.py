"""`@rate_limit` on route functions of every framework: what a request costs, what it gets, and that nothing is left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar.exceptions import LitestarWarning

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.testing import RoundTripCounter
from tests.frameworks.apps import lifespan
from tests.frameworks.decorated import APPS, litestar, ran
from tests.redis.tools import PATIENCE

FRAMEWORKS = pytest.mark.parametrize("make", APPS.values(), ids=APPS)
Make = Callable[[RedisManager], ASGIApp]


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)


class Visit:
    """An app that has been started, a client of it, and the count of what crosses to its Redis."""

    def __init__(self, counter: RoundTripCounter, client: httpx.AsyncClient, redis: RedisManager) -> None:
        self.counter, self.client, self.redis = counter, client, redis

    async def get(self, path: str) -> tuple[httpx.Response, int]:
        """Send a request; return the response and how many round trips it has cost."""
        self.counter.reset()
        response = await self.client.get(path)
        return response, self.counter.round_trips


@asynccontextmanager
async def visit(make: Make, redis_url: str) -> AsyncIterator[Visit]:
    """Start the app that `make` makes."""
    ran.clear()
    async with RoundTripCounter(redis_url) as counter:
        redis = RedisManager(counter.url, timeout=PATIENCE)
        app = make(redis)
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Visit(counter, client, redis)


@FRAMEWORKS
async def test_a_decorated_route_costs_one_round_trip_more_however_many_decorators_it_has(
    make: Make, redis_url: str
) -> None:
    async with visit(make, redis_url) as visitor:
        for path, expected in (("/free", 1), ("/items/7", 2), ("/twice", 2), ("/stream", 2)):
            response, round_trips = await visitor.get(path)
            assert (response.status_code, round_trips) == (200, expected), path


@FRAMEWORKS
@pytest.mark.parametrize("kind", ["items", "plain"])
async def test_a_function_gets_its_arguments_and_beyond_its_limit_it_does_not_run(
    make: Make, redis_url: str, kind: str
) -> None:
    async with visit(make, redis_url) as visitor:
        for number in (7, 8):
            response, _ = await visitor.get(f"/{kind}/{number}")
            assert (response.status_code, response.json()["number"]) == (200, number)
        function = "item" if kind == "items" else "plain"
        assert ran.count(function) == 2
        response, round_trips = await visitor.get(f"/{kind}/9")
        assert (response.status_code, response.headers["content-type"]) == (429, "application/problem+json")
        assert response.json()["violated-policies"][0].endswith(function)
        assert int(response.headers["retry-after"]) > 0
        assert ran.count(function) == 2
        # The first refusal subscribes to changes as well, in the background: its handshake may be among them.
        subscribes = any(command in (b"HELLO", b"SUBSCRIBE") for command in visitor.counter.commands)
        assert 3 <= round_trips <= 3 + subscribes, "the middleware's, the route's, to give back"
        while background := visitor.redis.links._tasks:
            await asyncio.wait(background)  # what it looks at then may forget the refusals so far
        await visitor.get(f"/{kind}/9")
        _, round_trips = await visitor.get(f"/{kind}/9")
        assert round_trips == 2, "the route's refusal is remembered"
        assert (await visitor.get("/items/1" if kind == "plain" else "/plain/1"))[0].status_code == 200


@FRAMEWORKS
async def test_headers_of_the_route_s_limits_join_those_of_the_middleware_s(make: Make, redis_url: str) -> None:
    async with visit(make, redis_url) as visitor:
        for status in (200, 200, 429):
            response, _ = await visitor.get("/twice")
            assert response.status_code == status
            policies = [policy.split(";")[0].strip('" ') for policy in response.headers["ratelimit-policy"].split(",")]
            there = sorted(name.rpartition(".")[2] for name in policies)
            assert there == (["all", "twice", "upper"] if status == 200 else ["all", "upper"])
            assert len(response.headers.get_list("ratelimit-policy")) == 1


@FRAMEWORKS
async def test_streams_are_sent_whole_and_refused_before_they_begin(make: Make, redis_url: str) -> None:
    async with visit(make, redis_url) as visitor:
        for status, body in ((200, b"one, two"), (200, b"one, two"), (429, None)):
            response, _ = await visitor.get("/stream")
            assert response.status_code == status
            assert body is None or response.content == body


@FRAMEWORKS
async def test_requests_at_once_are_admitted_up_to_the_limit_exactly(make: Make, redis_url: str) -> None:
    async with visit(make, redis_url) as visitor:
        responses = await asyncio.gather(*(visitor.client.get(f"/items/{number}") for number in range(10)))
        passed = {number: one.json() for number, one in enumerate(responses) if one.status_code == 200}
        assert len(passed) == 2
        assert all(body == {"number": number} for number, body in passed.items())
        assert {one.status_code for one in responses} == {200, 429}


@FRAMEWORKS
@pytest.mark.parametrize("path", ["/items/1", "/plain/1", "/stream"])
async def test_no_task_is_left_by_a_refusal(make: Make, redis_url: str, path: str) -> None:
    async with visit(make, redis_url) as visitor:
        for _ in range(3):
            await visitor.get(path)  # the first refusal listens for changes, for good
        before = asyncio.all_tasks()
        for _ in range(5):
            response, _ = await visitor.get(path)
        assert response.status_code == 429
        while background := visitor.redis.links._tasks:
            await asyncio.wait(background)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before


async def test_fastapi_closes_the_dependencies_of_a_refused_request(redis_url: str) -> None:
    async with visit(APPS["fastapi"], redis_url) as visitor:
        for _ in range(3):
            await visitor.get("/plain/1")
        assert (ran.count("plain"), ran.count("closed")) == (2, 2)


async def test_fastapi_documents_a_decorated_route_as_the_function_stands_there(redis_url: str) -> None:
    async with visit(APPS["fastapi"], redis_url) as visitor:
        document = (await visitor.client.get("/openapi.json")).json()
        operation = document["paths"]["/items/{number}"]["get"]
        assert [parameter["name"] for parameter in operation["parameters"]] == ["number", "words"]
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Item")


@pytest.mark.parametrize("to_thread", [True, False])
async def test_litestar_says_that_a_decorated_function_needs_no_sync_to_thread(redis_url: str, to_thread: bool) -> None:
    def make(redis: RedisManager) -> ASGIApp:
        with pytest.warns(LitestarWarning, match="sync_to_thread"):
            return litestar(redis, to_thread)

    async with visit(make, redis_url) as visitor:
        for status in (200, 200, 429):
            assert (await visitor.get("/plain/1"))[0].status_code == status
