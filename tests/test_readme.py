"""The README's code blocks run as they are written, on a real server."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.drive import websocket_scope
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
    if request.param != "quart":
        stack = app.middleware_stack = app.build_middleware_stack()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(stack), base_url="https://test") as http:
        yield http
    while stack is not None:
        if hasattr(stack, "manager"):
            await stack.manager.aclose()
        stack = getattr(stack, "app", None) or getattr(stack, "asgi_app", None)


def test_every_block_of_python_in_the_readme_is_run():
    quick_starts, sessions = (
        {"fastapi", "starlette", "quart", "services"},
        {"sessions", "store", "sockets", "csrf", "both"},
    )
    assert set(BLOCKS) == quick_starts | sessions
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


@pytest.mark.parametrize("client", ["sessions"], indirect=True)
async def test_a_login_makes_a_session_and_a_log_out_ends_it(client: httpx.AsyncClient):
    assert (await client.get("/me")).status_code == 403
    wrong = {"user": "ann", "password": "wrong"}
    assert (await client.post("/login", json=wrong)).status_code == 401
    assert not client.cookies
    assert (await client.post("/login", json=wrong | {"password": "her password"})).status_code == 200
    assert [*client.cookies] == ["__Host-session"]
    assert (await client.get("/me")).json() == {"user": "ann"}
    assert (await client.post("/logout")).status_code == 200
    assert (await client.get("/me")).status_code == 403


@pytest.mark.parametrize("client", ["store"], indirect=True)
async def test_a_user_lists_devices_and_signs_out_elsewhere(client: httpx.AsyncClient):
    name = f"ann{time.time_ns()}"
    first = (await client.post("/register", params={"name": name})).cookies
    client.cookies.clear()
    await client.post("/register", params={"name": name})
    (newer, older) = (await client.get("/devices")).json()
    assert newer["id"] != older["id"]
    assert (await client.post("/elsewhere")).json() == 1
    assert len((await client.get("/devices")).json()) == 1
    client.cookies = first
    assert (await client.get("/devices")).status_code == 403


@pytest.mark.parametrize("client", ["sockets"], indirect=True)
async def test_a_socket_saves_its_session(client: httpx.AsyncClient):
    app = client._transport.app  # type: ignore[attr-defined]
    heard = [{"type": "websocket.connect"}]
    heard += [{"type": "websocket.receive", "text": text} for text in ("one", "two")]
    heard += [{"type": "websocket.disconnect", "code": 1000}]
    inbox, sent = iter(heard), []

    async def receive() -> Any:
        return next(inbox)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(websocket_scope("/chat", scheme="wss"), receive, send)
    accepted, *answers = sent
    assert b"__Host-session=" in dict(accepted["headers"])[b"set-cookie"]
    assert [json.loads(one["text"]) for one in answers] == [{"said": 1, "text": "one"}, {"said": 2, "text": "two"}]


@pytest.mark.parametrize("client", ["csrf"], indirect=True)
async def test_a_form_and_a_script_show_their_token(client: httpx.AsyncClient):
    assert (await client.post("/form")).status_code == 200  # nobody's: there is no session to misuse
    page = await client.get("/form")
    token = re.search(r'value="([\w-]{86})"', page.text)[1]
    assert (await client.post("/form")).status_code == 403
    assert (await client.post("/form", data={"csrf_token": token})).status_code == 200
    fetched = (await client.get("/csrf")).json()["token"]
    assert (await client.post("/form", headers={"x-csrf-token": fetched})).status_code == 200


@pytest.mark.parametrize("client", ["both"], indirect=True)
async def test_a_session_opens_pages_and_a_token_the_api(client: httpx.AsyncClient):
    await client.post("/login", params={"user": "bob"})
    assert (await client.post("/page")).status_code == 403  # without a token against forgery
    answer = await client.post("/api", headers=token())
    assert (answer.status_code, answer.json()) == (200, "ann")
    assert (await client.post("/page", headers=token())).json() == "ann"
    client.cookies.clear()
    assert (await client.post("/api")).status_code == 401
