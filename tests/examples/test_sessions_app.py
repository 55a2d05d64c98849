"""`examples/sessions_app.py`: two browsers of one user, and what each may do to the other."""

import re

import httpx
import pytest

from tests.examples.conftest import Load, Serve, Visitor, stack_of


async def submit(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a form as a browser does, and follow it."""
    origin = {"origin": "http://test", "host": "test", "sec-fetch-site": "same-origin"}
    return await browser.post(path, data=fields, headers=origin, follow_redirects=True)


async def token(browser: httpx.AsyncClient) -> str:
    """The token that stands in the page's forms."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', (await browser.get("/")).text)
    assert found is not None
    return found[1]


def other(visitor: Visitor, agent: str) -> httpx.AsyncClient:
    """Another browser on the same app."""
    return httpx.AsyncClient(transport=visitor._transport, base_url=visitor.base_url, headers={"user-agent": agent})


async def test_a_user_sees_all_devices_and_signs_out_the_others(load: Load, serve: Serve) -> None:
    app = load("sessions_app").app
    async with serve(app) as phone, other(phone, "laptop") as laptop:
        phone.headers["user-agent"] = "phone"
        for browser in (phone, laptop):
            page = await submit(browser, "/login", user="alice")
            assert "Hello alice" in page.text
        page = await laptop.get("/")
        assert [agent in page.text for agent in ("phone", "laptop")] == [True, True]
        assert page.text.count("(this one)") == 1

        assert (await submit(laptop, "/elsewhere", csrf_token=await token(laptop))).status_code == 200
        assert "<form" in (await phone.get("/")).text
        assert "Hello" not in (await phone.get("/")).text
        assert "Hello alice" in (await laptop.get("/")).text

        assert (await submit(laptop, "/logout", csrf_token=await token(laptop))).status_code == 200
        assert "Hello" not in (await laptop.get("/")).text
    assert stack_of(app.middleware_stack) == "<GuardMiddleware [ratelimit + sessions + (csrf)]"


@pytest.mark.parametrize("fields", [{}, {"csrf_token": "A" * 86}])
async def test_a_form_without_the_token_of_the_session_changes_nothing(
    load: Load, serve: Serve, fields: dict[str, str]
) -> None:
    async with serve(load("sessions_app").app) as browser:
        await submit(browser, "/login", user="alice")
        refused = await submit(browser, "/logout", **fields)
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
        assert "Hello alice" in (await browser.get("/")).text


async def test_another_site_cannot_log_anybody_in(load: Load, serve: Serve) -> None:
    async with serve(load("sessions_app").app) as browser:
        elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        refused = await browser.post("/login", data={"user": "mallory"}, headers=elsewhere)
        assert refused.status_code == 403
        assert "set-cookie" not in refused.headers
