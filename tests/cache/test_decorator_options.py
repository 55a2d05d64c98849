"""What `@cached`, `@invalidates` and `Cache.cached` say to what they cannot take, and what they take as a list."""

from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import Cache, ConfigurationError, RedisManager, cached, invalidates


async def view() -> str:
    return "view"


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: cached(view), r"^@cached: given without parentheses; .*@cached\(300\)$"),  # type: ignore[arg-type]
        (lambda: invalidates(view), r'^@invalidates: given without parentheses; .*@invalidates\("items"\)$'),  # type: ignore[arg-type]
        (lambda: Cache("memory://").cached(view), "^@cached: given without parentheses"),  # type: ignore[arg-type]
        (lambda: cached(60, tags=5), "^tags: 5 given"),  # type: ignore[arg-type]
        (lambda: cached(60, vary=5), "^vary: 5 given"),  # type: ignore[arg-type]
        (lambda: cached(60, statuses=[200, "x"]), "^statuses: 'x' given"),  # type: ignore[list-item]
        (lambda: cached(60, methods=["GET", "POST"]), "^methods: 'POST' given; allowed are GET and HEAD$"),
        (lambda: cached(60, methods=[["GET"]]), "^methods: "),  # type: ignore[list-item]
        (lambda: invalidates(["a", "b"]), r"^tags: \['a', 'b'\] given"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_taken_is_named(decorate: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        decorate()


def test_one_of_something_stands_for_a_list_of_it() -> None:
    one: Any = cached(60, tags="items", vary="Accept", statuses=404, methods="get")  # type: ignore[arg-type]
    assert one(view).__wrapped__ is view


async def test_a_url_that_no_request_has_is_answered_with_one_that_has() -> None:
    cache = Cache(RedisManager("memory://"))
    with pytest.raises(ValueError, match=r"'/items/1' given; .* 'https://a\.test/items/1'"):
        await cache.invalidate(url="/items/1")


async def test_one_key_is_not_taken_for_its_letters(backend: str) -> None:
    async with RedisManager(backend) as redis:
        cache = Cache(redis)
        for key in ("key", "k"):
            await cache.set(key, 1)
        await cache.invalidate(keys="key")
        assert await cache.get_many(["key", "k"]) == {"k": 1}
