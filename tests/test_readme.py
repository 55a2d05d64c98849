"""The README's code blocks run as they are written, on a real server."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.pace import Pace

README = Path(__file__).parent.parent / "README.md"
SECRET = "a secret of at least 32 bytes, from the environment"
BLOCKS: dict[str, str] = dict(re.findall(r"<!-- run: (\w+) -->\n```python\n(.*?)```", README.read_text("utf-8"), re.S))


def token(**claims: Any) -> dict[str, str]:
    now = int(time.time())
    encoded = jwt.encode({"sub": "ann", "jti": "t1", "iat": now, "exp": now + 60, **claims}, SECRET)
    return {"authorization": f"Bearer {encoded}"}


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_TIMEOUT", "20")  # nothing here is about a server that is slow
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(BLOCKS[request.param], f"README:{request.param}", "exec"), names)
    app = names["app"]
    stack = app
    if request.param in ("fastapi", "starlette", "services"):
        stack = app.middleware_stack = app.build_middleware_stack()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(stack), base_url="http://test") as http:
        yield http
    while stack is not None:
        if hasattr(stack, "manager"):
            await stack.manager.aclose()
        stack = getattr(stack, "app", None) or getattr(stack, "asgi_app", None)


def test_every_block_of_python_in_the_readme_is_run():
    assert set(BLOCKS) == {"fastapi", "starlette", "quart", "services"}
    assert README.read_text("utf-8").count("```python") == len(BLOCKS)


@pytest.mark.parametrize("client", ["fastapi", "starlette", "quart"], indirect=True)
async def test_a_quick_start_verifies_and_limits(client: httpx.AsyncClient):
    assert (await client.get("/me")).status_code == 401
    answer = await client.get("/me", headers=token())
    assert (answer.status_code, answer.json()) == (200, {"user": "ann"})
    assert '"minute";q=100;w=60' in answer.headers["ratelimit-policy"]
    pace = Pace(burst=100, every=0.6)
    while pace.lets_through((refused := await client.get("/me", headers=token(sub="bob"))).status_code):
        pass
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("client", ["starlette"], indirect=True)
async def test_requires_knows_the_scopes_of_the_token(client: httpx.AsyncClient):
    assert (await client.get("/reports", headers=token())).status_code == 403
    assert (await client.get("/reports", headers=token(scope="reports"))).status_code == 200


@pytest.mark.parametrize("client", ["services"], indirect=True)
async def test_a_log_out_ends_the_token_and_the_client_is_shared(client: httpx.AsyncClient):
    assert (await client.get("/visits", headers=token())).json() == {"visits": 1}
    assert (await client.post("/logout", headers=token())).status_code == 200
    refused = await client.get("/visits", headers=token())
    assert refused.status_code == 401
    assert "revoked" in refused.headers["www-authenticate"]
