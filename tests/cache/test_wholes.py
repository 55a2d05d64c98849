"""Only a whole response is kept, and it is sent as what it is: HEAD, ranges, files that the server sends, trailers."""

from typing import Any

import pytest

from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.shops import PROFILES, cache, fresh, header, page, shop_at
from tests.cache.site import Page, routes, site
from tests.drive import http_scope

BOTH = pytest.mark.parametrize("profile", PROFILES)


@BOTH
async def test_a_head_request_gets_the_length_of_the_get_and_no_body(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = page(b"x" * 100, *fresh(profile))
        await shop.get()
        head = await shop.get(method="HEAD")
        assert (head.status, head.body, head["x-made"]) == (200, b"", "1")
        assert head.all("content-length") == ["100"]
        assert (await shop.get()).body == b"x" * 100


@BOTH
async def test_the_answer_to_a_head_request_is_never_that_to_a_get(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            body = b"" if scope["method"] == "HEAD" else b"body"
            await page(body, (b"content-length", b"4"), *fresh(profile))(scope, receive, send)

        shop.pages["*"] = answer
        assert (await shop.get(method="HEAD")).body == b""
        assert (await shop.get()).body == b"body"
        assert (await shop.get()).body == b"body"


@BOTH
async def test_a_part_is_never_kept_as_the_whole(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:

        async def ranged(scope: Scope, receive: Receive, send: Send) -> None:
            if header(scope, b"range") == "-":
                await page(b"0123456789", *fresh(profile))(scope, receive, send)
            else:
                part = (b"content-range", b"bytes 0-3/10")
                await page(b"0123", *fresh(profile, part), status=206)(scope, receive, send)

        shop.pages["*"] = ranged
        first = await shop.get("/", {"range": "bytes=0-3"})
        assert (first.status, first.body) == (206, b"0123")
        assert ((await shop.get()).status, (await shop.get()).body) == (200, b"0123456789")
        again = await shop.get("/", {"range": "bytes=0-3"})
        assert (again.status, again.body, len(shop.made)) == (206, b"0123", 2)


@BOTH
async def test_a_200_that_says_it_is_a_part_is_not_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"0123", *fresh(profile, (b"content-range", b"bytes 0-3/10")))
        assert [(await shop.get())["x-made"] for _ in range(2)] == ["1", "2"]


@BOTH
@pytest.mark.parametrize("extension", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_a_file_that_the_server_sends_by_itself_is_not_kept_as_an_empty_body(
    redis_url: str, profile: str, extension: str
) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:

        async def file(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": fresh(profile)})
            if extension in scope["extensions"]:
                await send({"type": extension, "path": "/etc/hostname", "file": 3})
            else:
                await send({"type": "http.response.body", "body": b"by hand"})

        shop.pages["*"] = file
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        for _ in range(2):
            await shop.stack(http_scope("/", [(b"host", b"test")], extensions={extension: {}}), receive, send)
        heads = [one for one in sent if one["type"] == "http.response.start"]
        assert len(heads) == 2
        assert len(sent) == 4, "each head has what it announces: the file, or its bytes"
        for value in await shop.stored():
            assert b"by hand" in value
        plain = await shop.get()
        assert plain.body == b"by hand"


@BOTH
async def test_a_body_that_is_shorter_than_it_said_is_not_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"short", (b"content-length", b"50"), *fresh(profile))
        for _ in range(2):
            with pytest.raises(AssertionError):
                await shop.get()
        assert shop.made == ["/", "/"]
        assert await shop.stored() == []


@BOTH
async def test_trailers_and_streams_of_events_are_not_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"data: 1\n\n", (b"content-type", b"Text/Event-Stream; charset=utf-8"), *fresh(profile))
        assert [(await shop.get())["x-made"] for _ in range(2)] == ["1", "2"]
        assert await shop.stored() == []


@BOTH
async def test_what_a_server_sends_in_part_by_itself_is_not_kept_without_that_part(
    redis_url: str, profile: str
) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:

        async def mixed(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": fresh(profile)})
            await send({"type": "http.response.zerocopysend", "file": 3, "more_body": True})
            await send({"type": "http.response.body", "body": b"the end"})

        shop.pages["*"] = mixed

        async def drop(message: Any) -> None:
            pass

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        await shop.stack(http_scope("/", [(b"host", b"test")]), receive, drop)
        assert await shop.stored() == []


@BOTH
async def test_a_response_with_trailers_is_not_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:

        async def trailing(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": fresh(profile), "trailers": True})
            await send({"type": "http.response.body", "body": b"body"})
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

        shop.pages["*"] = trailing
        kinds: list[str] = []

        async def note(message: Any) -> None:
            kinds.append(message["type"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        for _ in range(2):
            await shop.stack(http_scope("/", [(b"host", b"test")]), receive, note)
        assert kinds.count("http.response.trailers") == 2
        assert await shop.stored() == []


async def test_a_route_may_keep_a_larger_body_than_the_cache_does_by_itself(redis_url: str) -> None:
    large = b"x" * 3_000_000
    one = Page(max_body=4_000_000)
    one.chunks = lambda number: [large]
    async with site(routes(one=one), redis_url, max_body=1000) as here:
        for _ in range(3):
            assert (await here.get("/one")).body == large
        assert one.runs == 1
