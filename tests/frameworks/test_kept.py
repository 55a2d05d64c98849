"""`@cached` and `@invalidates` on route functions of every framework: what runs, what is sent, what is invalidated."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from quart import Quart

from asgi_redis_guard import RedisManager, cached, invalidates
from asgi_redis_guard.core.asgi import ASGIApp
from tests.frameworks import kept
from tests.frameworks.apps import lifespan
from tests.frameworks.kept import APPS, fastapi_app, ran
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE

FRAMEWORKS = pytest.mark.parametrize("make", APPS.values(), ids=APPS)
KINDS = pytest.mark.parametrize("kind", ["items", "plain", "view", "stream"])
WRITES = pytest.mark.parametrize("write", ["write", "write-plain", "view"])
Make = Callable[[RedisManager], ASGIApp]


class Visitor:
    """A client of an app that has been started; waits until all is stored."""

    def __init__(self, client: httpx.AsyncClient, redis: RedisManager) -> None:
        self.client, self.redis = client, redis

    async def __call__(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        response = await self.client.request(method, path, headers=headers)
        await settled(self.redis)
        return response


@asynccontextmanager
async def visiting(make: Make, url: str) -> AsyncIterator[Visitor]:
    ran.clear()
    redis = RedisManager(url, timeout=PATIENCE)
    app = make(redis)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Visitor(client, redis)


def is_hit(response: httpx.Response) -> bool:
    return "guard; hit" in response.headers["cache-status"]


@FRAMEWORKS
@KINDS
async def test_a_function_runs_once_and_its_answer_is_sent_as_it_was(make: Make, kind: str, redis_url: str) -> None:
    async with visiting(make, redis_url) as visit:
        first, again, head = [await visit(f"/{kind}/7", method) for method in ("GET", "GET", "HEAD")]
        assert len(ran) == 1
        assert [is_hit(one) for one in (first, again, head)] == [False, True, True]
        assert (first.status_code, again.content) == (200, first.content)
        assert head.content == b""
        said = {"content-type", "x-own"}
        fields = [[field for field in one.headers.multi_items() if field[0] in said] for one in (first, again, head)]
        assert fields[0] == fields[1] == fields[2]
        if kind != "stream":
            assert first.json()["number"] == 7
        if kind == "items":
            assert "secret" not in first.text, "what a response model leaves out is not kept either"


@FRAMEWORKS
@KINDS
async def test_another_parameter_of_the_path_or_the_query_is_another_answer(
    make: Make, kind: str, redis_url: str
) -> None:
    async with visiting(make, redis_url) as visit:
        for path in (f"/{kind}/7", f"/{kind}/8", f"/{kind}/7?words=y"):
            for _ in range(2):
                await visit(path)
        assert len(ran) == 3


@FRAMEWORKS
@KINDS
@WRITES
async def test_a_write_invalidates_what_has_the_tag_of_its_argument_and_nothing_else(
    make: Make, kind: str, write: str, redis_url: str
) -> None:
    async with visiting(make, redis_url) as visit:
        for number in (7, 8):
            await visit(f"/{kind}/{number}")
        ran.clear()
        assert (await visit(f"/{write}/7", "POST")).status_code in (200, 201, 204)
        assert not is_hit(await visit(f"/{kind}/7"))
        assert is_hit(await visit(f"/{kind}/8"))
        assert is_hit(await visit(f"/{kind}/7"))
        assert len(ran) == 2


@FRAMEWORKS
async def test_a_route_that_is_not_there_and_one_that_fails_take_nothing_away(make: Make, redis_url: str) -> None:
    async with visiting(make, redis_url) as visit:
        assert (await visit("/items/x")).status_code in (400, 404, 422)
        assert (await visit("/nowhere")).status_code == 404
        assert [is_hit(await visit("/items/7")) for _ in range(2)] == [False, True]


@FRAMEWORKS
async def test_requests_at_once_run_the_function_once(make: Make, redis_url: str) -> None:
    async with visiting(make, redis_url) as visit:
        for kind in ("items", "plain"):
            ran.clear()
            responses = await asyncio.gather(*(visit(f"/{kind}/9") for _ in range(20)))
            assert len({one.content for one in responses}) == 1
            assert len(ran) == 1


async def test_a_fastapi_app_says_the_same_of_itself_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    decorated = fastapi_app().openapi()
    monkeypatch.setattr(kept, "kept", lambda function: function)
    monkeypatch.setattr(kept, "written", lambda function: function)
    assert decorated == fastapi_app().openapi()
    operation = decorated["paths"]["/items/{number}"]["get"]
    assert operation["description"] == "An item."
    assert [one["name"] for one in operation["parameters"]] == ["number", "words"]


@pytest.mark.parametrize("decorate", [cached(60), invalidates("a")])
def test_a_function_keeps_its_kind_its_signature_and_its_name(decorate: Callable[..., Callable[..., object]]) -> None:
    async def waits(number: int, words: str = "x") -> str:
        """Say something."""
        return words

    def does(number: int, *, words: str = "x") -> str:
        return words

    for function in (waits, does):
        decorated = decorate(function)
        assert inspect.signature(decorated) == inspect.signature(function)
        assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(function)
        assert (decorated.__name__, decorated.__doc__) == (function.__name__, function.__doc__)


def fastapi_lines(redis: RedisManager) -> ASGIApp:
    """FastAPI sends what they yield as lines of JSON."""
    app = FastAPI()

    @app.get("/waits")
    @cached(60)
    async def waits() -> AsyncIterator[dict[str, int]]:
        kept.note("lines")
        for number in range(3):
            yield {"number": number}

    @app.get("/does")
    @cached(60)
    def does() -> Iterator[dict[str, int]]:
        kept.note("lines")
        for number in range(3):
            yield {"number": number}

    return kept.around(app, redis)


def quart_lines(redis: RedisManager) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/waits")
    @cached(60)
    async def waits() -> AsyncIterator[str]:
        kept.note("lines")
        for number in range(3):
            yield f'{{"number":{number}}}\n'

    @app.get("/does")
    @cached(60)
    def does() -> Iterator[str]:
        kept.note("lines")
        for number in range(3):
            yield f'{{"number":{number}}}\n'

    return kept.around(app, redis)


@pytest.mark.parametrize("make", [fastapi_lines, quart_lines])
@pytest.mark.parametrize("path", ["/waits", "/does"])
async def test_generators_as_route_functions(make: Make, path: str, redis_url: str) -> None:
    async with visiting(make, redis_url) as visit:
        first, again = await visit(path), await visit(path)
        assert (first.status_code, again.content) == (200, first.content)
        assert first.text.split() == ['{"number":0}', '{"number":1}', '{"number":2}']
        assert is_hit(again)
        assert len(ran) == 1
