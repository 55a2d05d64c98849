"""The README's code blocks run as they are written, on a real server."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

import asgi_redis_guard
from asgi_redis_guard import (
    CookieTransport,
    GuardMiddleware,
    Idempotency,
    JWKSKeys,
    RedisManager,
    RevocationList,
    TokenRoutes,
    TokenService,
    cached,
)
from asgi_redis_guard.cache.options import ResponseCacheOptions
from asgi_redis_guard.locks.options import RouteLockOptions
from asgi_redis_guard.ratelimit.concurrency_middleware import ConcurrencyLimitOptions
from asgi_redis_guard.ratelimit.options import RateLimitOptions
from tests.drive import websocket_scope
from tests.middleware.calls import settled
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
    quick_starts, sessions, limits = (
        {"fastapi", "starlette", "quart", "services"},
        {"sessions", "store", "sockets", "csrf", "both"},
        {"limits", "tiers", "logins", "tokens", "router", "limiter", "messages", "refusals", "admin"},
    )
    tokens = {"foreign", "mirror", "issued"}
    assert set(BLOCKS) == quick_starts | sessions | limits | tokens | {"cached", "locked", "lock", "idempotent"}
    assert README.read_text("utf-8").count("```python") == len(BLOCKS)


@pytest.mark.parametrize(
    ("room", "least"), [("jwt", 18), ("ratelimit", 10), ("cache", 7), ("locks", 6), ("idempotency", 3)]
)
def test_everything_public_of_a_room_is_in_the_readme_or_an_example(room, least):
    told = "".join(path.read_text("utf-8") for path in (README, *README.parent.glob("examples/*.py")))
    public = [getattr(asgi_redis_guard, name) for name in asgi_redis_guard.__all__]
    found = [one.__name__ for one in public if f".{room}." in getattr(one, "__module__", "")]
    assert len(found) >= least
    assert [name for name in found if not re.search(rf"\b{name}\b", told)] == []


def test_every_option_of_a_limit_is_in_the_readme():
    told = README.read_text("utf-8")
    options = {*RateLimitOptions.__annotations__, *ConcurrencyLimitOptions.__annotations__}
    assert [name for name in options if f"{name}=" not in told and f"`{name}`" not in told] == []


def test_every_option_of_a_cache_is_in_the_readme():
    told = README.read_text("utf-8")
    options = {*ResponseCacheOptions.__annotations__, *inspect.signature(cached).parameters} - {"exempt", "name"}
    assert [name for name in options if f"{name}=" not in told and f"`{name}`" not in told] == []


def test_every_option_of_a_lock_and_of_idempotency_is_in_the_readme():
    told = README.read_text("utf-8")
    options = {*RouteLockOptions.__annotations__, *inspect.signature(Idempotency).parameters}
    assert [name for name in options if f"{name}=" not in told and f"`{name}`" not in told] == []


def test_every_option_of_tokens_is_in_the_readme_or_the_docstring_of_its_class():
    told = README.read_text("utf-8")
    for kind in (TokenService, TokenRoutes, CookieTransport, JWKSKeys, RevocationList):
        own = told + (kind.__doc__ or "")
        options = inspect.signature(kind).parameters
        assert [name for name in options if f"{name}=" not in own and f"`{name}`" not in own] == [], kind


def test_every_named_warning_has_its_place_in_the_readme():
    sources = (README.parent / "asgi_redis_guard").rglob("*.py")
    told = {word for path in sources for word in re.findall(r'\.tell\(\s*"([a-z-]+)"', path.read_text("utf-8"))}
    assert "untrusted-proxy" in told
    _, _, warnings = README.read_text("utf-8").partition("\n## Warnings\n")
    assert set(re.findall(r"^### ([a-z-]+)$", warnings, re.M)) == told
    assert set(re.findall(r"^`\[([a-z-]+)\]`: ", warnings, re.M)) == told


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


@pytest.mark.parametrize("client", ["foreign"], indirect=True)
async def test_tokens_of_another_issuer_cannot_be_told_while_nobody_knows_its_keys(client: httpx.AsyncClient):
    assert (await client.get("/", headers=token())).status_code in (401, 503), "it is not of that issuer"


@pytest.mark.parametrize("client", ["mirror"], indirect=True)
async def test_a_mirror_is_there_when_it_is_waited_for(client: httpx.AsyncClient):
    assert (await client.get("/mirror", headers=token())).json()["state"] == "fresh"


@pytest.mark.parametrize("client", ["issued"], indirect=True)
async def test_a_login_refreshes_and_ends_everywhere(client: httpx.AsyncClient):
    asked = {"user": "ann", "password": "right", "device": "phone"}
    assert (await client.post("/login", params={**asked, "password": "wrong"})).status_code == 401
    pair = (await client.post("/login", params=asked)).json()
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    tabs = [(await client.post("/auth/token", data=form)).json() for _ in range(2)]
    assert tabs[0]["refresh_token"] == tabs[1]["refresh_token"] != pair["refresh_token"]
    own = {"authorization": f"Bearer {tabs[0]['access_token']}"}
    assert (await client.get("/me", headers=own)).json() == {"user": "ann", "scopes": ["read", "write"]}
    assert (await client.post("/log-out-everywhere", headers=own)).json() == {"logins": 1}
    assert (await client.get("/me", headers=own)).status_code == 401
    assert (await client.post("/auth/token", data=form)).json()["error"] == "invalid_grant"
    assert (await client.get("/auth/jwks.json")).json() == {"keys": []}, "a secret is not published"


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


async def talk(client: httpx.AsyncClient, path: str, texts: list[str]) -> list[Any]:
    """Open a WebSocket, say all of that, and leave; what the app has sent."""
    app = client._transport.app  # type: ignore[attr-defined]
    heard = [{"type": "websocket.connect"}]
    heard += [{"type": "websocket.receive", "text": text} for text in texts]
    inbox, sent = [*heard, {"type": "websocket.disconnect", "code": 1000}], []

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(websocket_scope(path, scheme="wss"), receive, send)
    return sent


@pytest.mark.parametrize("client", ["sockets"], indirect=True)
async def test_a_socket_saves_its_session(client: httpx.AsyncClient):
    accepted, *answers = await talk(client, "/chat", ["one", "two"])
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


def manager_of(client: httpx.AsyncClient) -> RedisManager:
    """The Redis of the app that a client is of."""
    app = client._transport.app  # type: ignore[attr-defined]
    while not isinstance(app, GuardMiddleware):
        app = app.app
    return app.manager


def policies(answer: httpx.Response) -> list[str]:
    """The limits that an answer names, each with its quota."""
    return [";".join(one.split(";")[:2]) for one in answer.headers["ratelimit-policy"].split(", ")]


@pytest.mark.parametrize("client", ["limits"], indirect=True)
async def test_limits_rules_and_a_decorated_route_are_told_together(client: httpx.AsyncClient):
    always = '"concurrency";q=20'
    assert policies(await client.get("/else")) == [always, '"minute";q=100', '"hour";q=1000']
    assert policies(await client.get("/search/here")) == [always, '"minute";q=10']
    assert policies(await client.post("/login")) == [always, '"login";q=5', '"minute";q=100', '"hour";q=1000']
    assert "ratelimit" not in (await client.get("/health")).headers
    answer = await client.get("/report")
    assert (answer.status_code, policies(answer)[-1]) == (200, '"report";q=3')


@pytest.mark.parametrize("client", ["tiers"], indirect=True)
async def test_a_tier_in_the_token_tells_the_limits_and_keeps_what_was_used(client: httpx.AsyncClient):
    answers = [await client.get("/", headers=token(**tier)) for tier in ({}, {"tier": "pro"}, {"tier": "internal"})]
    assert [policies(answer) for answer in answers[:2]] == [['"minute";q=60'], ['"minute";q=1000', '"hour";q=10000']]
    assert '"minute";r=998' in answers[1].headers["ratelimit"]
    assert (answers[2].status_code, "ratelimit" in answers[2].headers) == (200, False)


@pytest.mark.parametrize("client", ["tiers"], indirect=True)
async def test_an_unknown_tier_and_nobody_in_particular_have_the_smallest(client: httpx.AsyncClient):
    for answer in (await client.get("/", headers=token(tier="gold")), await client.get("/prices")):
        assert (answer.status_code, policies(answer)) == (200, ['"minute";q=60'])


@pytest.mark.parametrize("client", ["router"], indirect=True)
async def test_a_decorated_dependency_limits_a_whole_router(client: httpx.AsyncClient):
    pace = Pace(burst=2, every=2.5)
    answer = await client.get("/reports/sales")
    assert pace.lets_through(answer.status_code)
    assert policies(answer) == ['"minute";q=100', '"reports";q=2']
    while pace.lets_through((refused := await client.get("/reports/stock")).status_code):
        pass
    assert refused.json()["violated-policies"] == ["reports"]


@pytest.mark.parametrize("client", ["refusals"], indirect=True)
async def test_a_refusal_in_the_app_s_own_words_keeps_its_fields(client: httpx.AsyncClient):
    assert (await client.get("/tea")).json() == "a cup of it"
    refused = await client.get("/tea")
    assert (refused.status_code, refused.json()["detail"]) == (429, "Enough of /tea for now.")
    assert refused.headers.get_list("content-length") == [str(len(refused.content))]
    assert policies(refused) == ['"minute";q=1']
    assert 1 <= int(refused.headers["retry-after"]) <= 60


@pytest.mark.parametrize("client", ["logins"], indirect=True)
async def test_only_failed_log_ins_count(client: httpx.AsyncClient):
    right, wrong = ({"user": "ann", "password": word} for word in ("her password", "guessed"))
    for _ in range(7):
        assert (await client.post("/login", json=right)).status_code == 200
    statuses = [(await client.post("/login", json=wrong)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert (await client.post("/login", json=right)).status_code == 429


@pytest.mark.parametrize("client", ["tokens"], indirect=True)
async def test_tokens_are_reserved_and_settled(client: httpx.AsyncClient):
    answer = await client.post("/chat", json="a few words")
    assert answer.json() == "A FEW WORDS"
    assert '"tokens";r=18000;' in answer.headers["ratelimit"]
    await settled(manager_of(client))
    again = await client.post("/chat", json="a few words")
    assert f'"tokens";r={20_000 - 3 - 2_000};' in again.headers["ratelimit"]


@pytest.mark.parametrize("client", ["limiter"], indirect=True)
async def test_a_limit_of_the_app_s_own(client: httpx.AsyncClient):
    assert (await client.post("/invite", params={"team": "blue", "people": 3})).json() == 2
    refused = await client.post("/invite", params={"team": "blue", "people": 3})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert (await client.post("/invite", params={"team": "red", "people": 5})).json() == 0


@pytest.mark.parametrize("client", ["messages"], indirect=True)
async def test_messages_beyond_their_limit_close_the_socket(client: httpx.AsyncClient):
    accepted, *echoes, closed = await talk(client, "/echo", ["one"] * 200)
    assert accepted["type"] == "websocket.accept"
    assert 60 <= len(echoes) < 200
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize("client", ["admin"], indirect=True)
async def test_an_admin_looks_at_a_limit_resets_and_changes_it(client: httpx.AsyncClient):
    told = (await client.get("/usage/192.0.2.1")).json()
    assert told == {"remaining": 100, "blocked": False}
    assert policies(await client.get("/else")) == ['"minute";q=100']
    assert (await client.post("/reset/127.0.0.1")).status_code == 200
    assert (await client.post("/limit", params={"limits": "50/minute"})).status_code == 200
    while policies(await client.get("/else")) != ['"minute";q=50']:
        await client.post("/reset/127.0.0.1")  # the word is on its way
    assert (await client.get("/busiest")).json()[0] >= 4
    faulty = await client.post("/limit", params={"limits": "many"})
    assert faulty.status_code == 422
    assert "'many'" in faulty.json()["detail"][0]


@pytest.mark.parametrize("client", ["cached"], indirect=True)
async def test_what_is_cached_is_a_hit_until_a_write_and_a_user_has_his_own(client: httpx.AsyncClient):
    async def said(path: str, **options: Any) -> str:
        response = await client.get(path, **options)
        assert response.status_code == 200
        return response.headers["cache-status"]

    assert await said("/items/1") == "guard; fwd=uri-miss; stored"
    await eventually(lambda: said("/items/1"), "; hit")
    assert (await client.put("/items/1")).status_code == 200
    assert "; stored" in await said("/items/1")
    await eventually(lambda: said("/items/1"), "; hit")
    assert (await client.post("/import")).status_code == 200
    assert "; stored" in await said("/items/1")
    assert (await client.get("/mine", headers=token())).json() == {"user": "ann"}
    await eventually(lambda: said("/mine", headers=token()), "; hit")
    bob = await client.get("/mine", headers=token(sub="bob"))
    assert (bob.json(), bob.headers["cache-control"]) == ({"user": "bob"}, "private, no-cache")


async def eventually(asked: Callable[[], Awaitable[str]], word: str) -> None:
    """Ask until it is stored, which is done behind a response."""
    while word not in await asked():
        pass


@pytest.mark.parametrize("client", ["locked"], indirect=True)
async def test_a_route_is_locked_for_each_user(client: httpx.AsyncClient):
    first, second = [(await client.post("/import", headers=token())).json() for _ in range(2)]
    assert first["fence"] < second["fence"]
    assert 0 < first["seconds"] <= 30
    assert (await client.post("/orders/7/ship", headers=token())).json() == "shipped 7"


async def test_locks_of_your_own_have_fences_and_say_who_is_busy(redis_url: str, capsys: pytest.CaptureFixture[str]):
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(BLOCKS["lock"], "README:lock", "exec"), names)
    async with RedisManager(redis_url, timeout=20) as manager:
        fences = await names["main"](manager) + await names["main"](manager)
    assert fences == sorted(set(fences))
    assert "held for 30 seconds more" in capsys.readouterr().out


@pytest.mark.parametrize("client", ["idempotent"], indirect=True)
async def test_a_payment_is_made_once(client: httpx.AsyncClient):
    assert (await client.post("/payments?amount=5", headers=token())).status_code == 400
    keyed = token() | {"idempotency-key": '"order-7"'}
    first, again = [await client.post("/payments?amount=5", headers=keyed) for _ in range(2)]
    assert (first.status_code, first.json()) == (201, {"number": 1})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await client.post("/payments?amount=6", headers=keyed)).status_code == 422
    other = token(sub="bob") | {"idempotency-key": '"order-7"'}
    assert (await client.post("/payments?amount=5", headers=other)).json() == {"number": 2}
