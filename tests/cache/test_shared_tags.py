"""Entries that share a tag: each is made anew once after an invalidation, whatever a process has learnt from others."""

import pytest

from tests.cache.site import Page, routes, site, writing


@pytest.mark.parametrize("remembered", [0, 1 << 20])
async def test_what_another_entry_has_told_of_a_tag_keeps_nothing_from_being_filled(
    backend: str, remembered: int
) -> None:
    one, two = Page(tags=("t",)), Page(tags=("t",))
    async with site(routes(one=one, two=two, w=writing("t")), backend, remembered=remembered) as here:
        for path in ("/one", "/two", "/one", "/two"):
            await here.get(path)
        await here.post("/w")
        said = [(await here.get(path))["cache-status"].split(";")[1] for path in ("/one", "/two", "/one", "/two")]
        assert said == [" fwd=uri-miss", " fwd=uri-miss", " hit", " hit"]
        assert (one.runs, two.runs) == (2, 2)
