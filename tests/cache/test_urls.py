"""Responses that are invalidated by their URL: as clients send it, wherever the app is served."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_redis_guard import Cache
from tests.cache.site import Page, routes, site


async def under(root_path: str, scope_path: str, here: Any) -> bytes:
    """What an app answers that its server serves below `root_path`."""
    return (await here.get(scope_path, root_path=root_path, raw_path=scope_path.encode())).body


@pytest.mark.parametrize("root_path", ["", "/api"])
async def test_a_url_names_the_response_also_below_a_root_path(redis_url: str, root_path: str) -> None:
    page = Page()
    path = f"{root_path}/page"
    app = routes(page=page, api=page)
    async with site(app, redis_url) as here:
        cache = Cache(here.redis, root_path=root_path)
        assert [await under(root_path, path, here) for _ in range(2)] == [b"page 1"] * 2
        await cache.invalidate(url=f"http://test{path}?other=1")
        assert await under(root_path, path, here) == b"page 1", "the query counts"
        await cache.invalidate(url=f"http://test{path}")
        assert await under(root_path, path, here) == b"page 2"


@pytest.mark.parametrize("url", [5, None, "/page", "ftp://test/page", "test/page", "https://", b"http://test/page"])
async def test_what_is_no_url_of_a_request_is_told(redis_url: str, url: Any) -> None:
    async with site(routes(page=Page()), redis_url) as here:
        with pytest.raises(ValueError, match=r"url: .* given; allowed are absolute ones"):
            await Cache(here.redis).invalidate(url=[url])
