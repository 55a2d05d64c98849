"""Tags that cannot be made of a request: what is kept then, what is invalidated all the same, and what is told."""

import logging

import pytest

from asgi_redis_guard import invalidates
from asgi_redis_guard.cache import telling, unsafe
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.warnings import Warnings
from tests.cache.shops import Page, Shop, cache, declared, outcomes, page, shop_at


@pytest.fixture(autouse=True)
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is told in this test."""
    for module in (telling, unsafe):
        monkeypatch.setattr(module, "_warnings", Warnings(logging.getLogger("asgi_redis_guard.cache")))
    return caplog


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [text for record in caplog.records if (text := record.getMessage()).startswith(f"[{name}]")]


def writing(*tags: str) -> Page:
    return invalidates(*tags)(page())


async def write(shop: Shop) -> int:
    return (await shop.get("/write", method="POST")).status


async def test_a_write_by_nobody_invalidates_the_tags_that_have_no_place_for_a_user(
    redis_url: str, warnings: pytest.LogCaptureFixture
) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        shop.pages["/list"] = declared(page(), tags=["items"])
        shop.pages["/write"] = writing("of {user}", "items")
        for _ in range(2):
            assert outcomes([await shop.get("/list") for _ in range(2)]) == ["fwd=uri-miss", "hit"]
            assert await write(shop) == 200
        assert outcomes([await shop.get("/list")]) == ["fwd=uri-miss"]
    (text,) = told(warnings, "not-invalidated")
    assert "its tags have no text for {user};" in text


async def test_a_tag_without_a_value_names_what_it_wants(redis_url: str, warnings: pytest.LogCaptureFixture) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        shop.pages["/list"] = declared(page(), tags=["items", "item:{nope}", "{other}{nope}"])
        assert outcomes([await shop.get("/list") for _ in range(2)]) == ["fwd=uri-miss"] * 2
    (text,) = told(warnings, "not-cached")
    assert "its tags have no text for {nope}, {other};" in text


async def test_what_a_client_has_sent_for_a_tag_is_not_repeated_in_the_log(
    redis_url: str, warnings: pytest.LogCaptureFixture
) -> None:
    @invalidates("item:{id}", "of {shop} {id}")
    async def change(scope: Scope, receive: Receive, send: Send, id: str = "") -> None:
        await page()(scope, receive, send)

    async with shop_at(redis_url, cache(ttl=None)) as shop:
        for letter in ("x", "y{user}"):

            async def write_it(scope: Scope, receive: Receive, send: Send, id: str = letter * 300) -> None:
                await change(scope, receive, send, id=id)

            shop.pages["/write"] = write_it
            assert await write(shop) == 200
    (text,) = told(warnings, "not-invalidated")
    assert "no text for {shop};" in text
