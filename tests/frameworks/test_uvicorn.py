"""Under a real server: refused handshakes, streams, HEAD, and clients that hang up."""

import asyncio
import time
from typing import Any

import httpx
import jwt
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

from asgi_redis_guard import (
    PASS,
    Answer,
    Body,
    Control,
    Exchange,
    GuardMiddleware,
    JWTAuth,
    RateLimit,
    RedisManager,
    RevocationList,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import Admission
from tests.frameworks.uvicorns import listening, served, server_of
from tests.guards import Does, Ends, Lock, Watches, passing
from tests.redis.tools import PATIENCE
from tests.servers import Server

KEY = "a secret of at least 32 bytes, for tests alone"
HTTP = pytest.mark.parametrize("http", ["h11", "httptools"])


def bearer() -> dict[str, str]:
    """Header fields with a token."""
    now = int(time.time())
    return {"authorization": f"Bearer {jwt.encode({'sub': 'alice', 'jti': '1', 'iat': now, 'exp': now + 900}, KEY)}"}


class App:
    """Answers, or echoes over a WebSocket; on `/stream` it goes on until it is told to stop or the client has gone."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ran = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._echo(receive, send)
        else:
            self.ran = True
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            if scope["path"] == "/stream":
                await self._stream(receive, send)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"last"})

    async def _live(self, receive: Receive, send: Send) -> None:
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            await send({"type": f"lifespan.{kind}.complete"})

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": message["text"]})

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        leaving = asyncio.ensure_future(_gone(receive))
        told = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait((leaving, told), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        told.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Ended(Ends):
    """Lets a test wait for the end."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def end(self, outcome: Any) -> None:
        super().end(outcome)
        self.event.set()


async def test_a_handshake_is_refused_with_a_real_401_and_429_and_an_accepted_one_has_its_limits_on_it(
    redis_url: str,
) -> None:
    guards = [JWTAuth(KEY), RateLimit("2/hour", key="user")]
    app = GuardMiddleware(App(), guards, redis=RedisManager(redis_url, timeout=PATIENCE))
    async with served(app) as client:
        with pytest.raises(InvalidStatus) as caught:
            await unix_connect(client.path)
        refused = caught.value.response
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
        assert b'"status":401' in (refused.body or b"")

        for left in (1, 0):
            async with unix_connect(client.path, additional_headers=bearer()) as socket:
                assert socket.response is not None
                assert socket.response.headers["ratelimit"].startswith(f'"hour";r={left};')
                await socket.send("hello")
                assert await socket.recv() == "hello"

        with pytest.raises(InvalidStatus) as caught:
            await unix_connect(client.path, additional_headers=bearer())
        limited = caught.value.response
        assert (limited.status_code, limited.headers["content-type"]) == (429, "application/problem+json")
        assert int(limited.headers["retry-after"]) > 0


@HTTP
async def test_a_stream_reaches_the_client_while_it_is_being_made(redis_url: str, http: str) -> None:
    app, watches = App(), Watches()
    limit = RateLimit("9/hour", key=lambda exchange: "all")
    stack = GuardMiddleware(app, [passing(watches), limit], redis=RedisManager(redis_url, timeout=PATIENCE))
    async with served(stack, http=http) as client, client.stream("GET", "/stream") as response:
        chunks = response.aiter_bytes()
        assert await anext(chunks) == b"first "
        assert response.headers["x-seen-by"] == "watches"
        assert not app.go_on.is_set()
        app.go_on.set()
        assert await anext(chunks) == b"last"
        assert response.headers["ratelimit"].startswith('"hour";r=8;')
    assert watches.chunks == [(b"first ", True), (b"last", False)]
    assert watches.kinds == ["complete"]


@HTTP
async def test_head_is_answered_and_refused_without_a_body_on_a_connection_that_lives_on(
    redis_url: str, http: str
) -> None:
    stack = GuardMiddleware(App(), [passing(Watches()), JWTAuth(KEY)], redis=RedisManager(redis_url, timeout=PATIENCE))
    async with served(stack, http=http) as client:
        for headers, status in ((bearer(), 200), ({}, 401), (bearer(), 200)):
            response = await client.head("/", headers=headers)
            assert (response.status_code, response.content) == (status, b"")
            assert ("content-length" in response.headers) == (status == 401)
        assert (await client.get("/", headers=bearer())).text == "last"


@HTTP
async def test_a_client_that_hangs_up_in_the_middle_of_a_stream_leaves_no_lock_behind(
    redis_url: str, valkey: Server, http: str
) -> None:
    ended = Ended()
    redis = RedisManager(redis_url, timeout=PATIENCE)
    async with served(GuardMiddleware(App(), [passing(ended), Lock("lock")], redis=redis), http=http) as client:
        async with client.stream("GET", "/stream") as response:
            assert await anext(response.aiter_bytes()) == b"first "
            assert valkey.command("EXISTS", "lock") == 1
        await ended.event.wait()
    assert ended.kinds == ["disconnect"]
    assert valkey.command("EXISTS", "lock") == 0


@HTTP
async def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_never_served(
    redis_url: str, valkey: Server, http: str
) -> None:
    def read(exchange: Exchange) -> Admission:
        reading.set()
        yield Body(1000)
        return PASS

    app, ended, reading = App(), Ended(), asyncio.Event()
    stack = GuardMiddleware(
        app, [passing(ended), Lock("lock"), Does(read)], redis=RedisManager(redis_url, timeout=PATIENCE)
    )
    async with served(stack, http=http) as client:
        _, writer = await asyncio.open_unix_connection(client.path)
        writer.write(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nhalf of it")
        await reading.wait()
        writer.close()
        await writer.wait_closed()
        await ended.event.wait()
    assert (ended.kinds, app.ran) == (["disconnect"], False)
    assert valkey.command("EXISTS", "lock") == 0


@HTTP
async def test_a_body_that_a_guard_has_read_reaches_the_app(redis_url: str, http: str) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body + message["body"]})

    def read(exchange: Exchange) -> Admission:
        assert len((yield Body(1_000_000))) == 500_000
        return PASS

    async with served(
        GuardMiddleware(echo, [Does(read)], redis=RedisManager(redis_url, timeout=PATIENCE)), http=http
    ) as client:
        assert (await client.post("/", content=b"x" * 500_000)).content == b"x" * 500_000


@HTTP
async def test_a_response_that_must_not_be_finished_ends_with_its_connection(redis_url: str, http: str) -> None:
    class Fails(Watches):
        def body(self, chunk: bytes, more: bool) -> None:
            if not more:
                raise LookupError

    app = App()
    app.go_on.set()
    stack = GuardMiddleware(app, [passing(Fails())], redis=RedisManager(redis_url, timeout=PATIENCE))
    async with served(stack, http=http) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/stream")


@HTTP
async def test_a_handler_that_was_cancelled_is_answered_for(redis_url: str, http: str) -> None:
    class Cancels(Ends):
        def bind(self, control: Control) -> None:
            asyncio.get_running_loop().call_soon(control.cancel, Answer(423, [(b"content-length", b"4")], b"lost"))

    async def forever(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.Event().wait()

    async with served(
        GuardMiddleware(forever, [passing(Cancels())], redis=RedisManager(redis_url, timeout=PATIENCE)), http=http
    ) as client:
        for _ in range(3):
            response = await client.get("/")
            assert (response.status_code, response.text) == (423, "lost")


async def test_the_server_does_not_start_without_a_redis_that_is_required_and_says_why(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    fresh_server.kill()
    redis = RedisManager(fresh_server.url, require_redis=True)
    server = server_of(GuardMiddleware(App(), [passing()], redis=redis))
    async with listening() as (sock, _):
        with pytest.raises(SystemExit):
            await server.serve([sock])
    assert not server.started
    assert [
        record for record in caplog.records if record.name == "uvicorn.error" and str(redis.address) in record.message
    ]


async def test_a_socket_whose_token_is_revoked_or_over_is_closed_and_its_client_is_told_why(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as other:
        app = GuardMiddleware(App(), [JWTAuth(KEY)], redis=RedisManager(redis_url, timeout=PATIENCE))
        async with served(app) as client:
            async with unix_connect(client.path, additional_headers=bearer()) as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"
                await RevocationList(other).revoke("1", ttl=900)
                with pytest.raises(ConnectionClosed) as caught:
                    await socket.recv()
            assert caught.value.rcvd == Close(4401, "token revoked")

            brief = {"authorization": f"Bearer {jwt.encode({'sub': 'alice', 'jti': '2', 'exp': time.time() + 1}, KEY)}"}
            async with unix_connect(client.path, additional_headers=brief) as socket:
                with pytest.raises(ConnectionClosed) as caught:
                    await socket.recv()
            assert caught.value.rcvd == Close(4401, "token expired")
