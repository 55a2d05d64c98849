"""Requests of any bytes before a whole stack: never a 500, and never a command to Redis for what fails locally."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit
from tests.drive import App, Response, call, http_scope, websocket_scope
from tests.jwt.conftest import CountingManager
from tests.jwt.tokens import NOW, SECRET, sign

GOOD = sign()
#: Bytes that a server lets through in a header field.
field_bytes = st.binary(max_size=60).map(lambda value: value.translate(None, b"\0\r\n"))
mutants = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 9), field_bytes).map(
    lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
)
credentials = st.one_of(
    field_bytes,
    field_bytes.map(lambda value: b"Bearer " + value),
    mutants.map(lambda value: b"bearer  " + value),
    mutants,
)
names = st.sampled_from([b"authorization", b"cookie", b"origin", b"host", b"sec-fetch-site", b"sec-websocket-protocol"])
values = st.one_of(credentials, credentials.map(lambda value: b"token=" + value), st.just(b"same-origin"))
header_lists = st.lists(st.tuples(names, values), max_size=6)
paths = st.text(max_size=20).map(lambda text: "/" + text)


class Stack:
    """A guard with every source of tokens switched on, then a limit by user; both would ask Redis."""

    def __init__(self, **options: Any) -> None:
        self.manager, self.app = CountingManager(), App()
        options = {"cookie": "token", "query": "token", "subprotocol": "token", "exempt": ["/open/*"], **options}
        guards = [JWTAuth(SECRET, **options), RateLimit("1/hour", key="user")]
        self.guarded = GuardMiddleware(self.app, guards, redis=self.manager, clock=lambda: NOW)

    async def send(self, scope: Any) -> Response:
        before, behind = self.manager.round_trips, len(self.app.scopes)
        response = await call(self.guarded, scope)
        let_in = len(self.app.scopes) > behind
        if not let_in and response.status != 429:
            assert response.status in (400, 401, 403), response
            assert self.manager.round_trips == before, "a refusal that needed no Redis"
        if response.status == 401:
            assert response["www-authenticate"].startswith('Bearer realm="api"')
        if let_in and self.app.scope["user"].is_authenticated:
            assert self.app.scope["user"].identity == "alice"
        return response


def has_good(scope: Any) -> bool:
    """Whether the good token stands anywhere in the request."""
    parts = [*(value for _, value in scope["headers"]), scope["query_string"]]
    parts += [name.encode("utf-8", "replace") for name in scope.get("subprotocols", ())]
    return any(GOOD in part for part in parts)


@settings(max_examples=400, deadline=None)
@given(headers=header_lists, path=paths, method=st.sampled_from(["GET", "POST", "OPTIONS", "get", "HEAD"]))
def test_no_header_list_gets_a_request_in(headers: Any, path: str, method: str) -> None:
    with asyncio.Runner() as runner:
        stack, scope = Stack(), http_scope(path, headers, method=method)
        response = runner.run(stack.send(scope))
        assert has_good(scope) or not stack.app.scopes or stack.guarded.guards[0].exempt.match(path), response
        runner.run(stack.manager.aclose())


@settings(max_examples=200, deadline=None)
@given(
    headers=header_lists,
    query=st.binary(max_size=60) | field_bytes.map(lambda value: b"token=" + value),
    offered=st.lists(st.text(max_size=10) | st.text(max_size=20).map(lambda text: f"token.{text}"), max_size=3),
    denial=st.booleans(),
)
def test_no_handshake_gets_a_websocket_in(headers: Any, query: bytes, offered: list[str], denial: bool) -> None:
    with asyncio.Runner() as runner:
        stack = Stack()
        scope = websocket_scope("/", headers, query_string=query, subprotocols=offered, denial=denial)
        response = runner.run(stack.send(scope))
        assert has_good(scope) or response.status != 101
        runner.run(stack.manager.aclose())


async def test_a_flood_of_fields_is_refused_in_order() -> None:
    stack = Stack()
    async with stack.manager:
        for headers in (
            [(b"authorization", b"Bearer x")] * 5_000,
            [(b"cookie", b"token=x")] * 5_000,
            [(b"cookie", b"; ".join([b"token=x"] * 20_000))],
            [(b"authorization", b"Bearer " + b"x" * 1_000_000)],
            [(b"authorization", b"Bearer " + b"." * 8_000)],
            [(b"cookie", b"a" * 1_000_000)],
        ):
            assert (await stack.send(http_scope("/", headers))).status in (400, 401)
        assert stack.manager.round_trips == 0
