"""A server that publishes keys over HTTPS, as well or as badly as a test wants.

Law: it does what it is told and notes who asked; nothing here decides what is right.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.jwt.tokens import jwk
from tests.serving import Serving
from tests.tls import Certificates

KEYS = "/keys"
DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class Reply:
    """What is sent back; `hold` is waited for first, `chunks` are sent instead of `body`, in chunked coding.

    `raw` are the very bytes; then the connection is closed, as it is where `length` says more than there is.
    """

    body: bytes = b""
    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    chunks: Callable[[], AsyncIterator[bytes]] | None = None
    length: int | None = None
    raw: bytes | None = None


@dataclass
class Request:
    """What was asked for."""

    path: str
    fields: dict[str, str]


class Publisher(Serving):
    """Publishes at `url`; `replies` says what, by path."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self._scheme, context = "http", None
        if certificates is not None:
            self._scheme, context = "https", ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates.cert, certificates.key)
        super().__init__(context)
        self.replies: dict[str, Reply | list[Reply]] = {}
        self.requests: list[Request] = []
        self._asked = asyncio.Condition()

    @property
    def issuer(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where its keys are."""
        return self.issuer + KEYS

    def publish(self, *keys: Mapping[str, Any], path: str = KEYS, **fields: str) -> Reply:
        """Publish a set of keys; fields are named with underscores."""
        reply = Reply(json.dumps({"keys": keys}).encode(), fields=named(fields))
        self.replies[path] = reply
        return reply

    def describe(self, **changes: Any) -> Reply:
        """Publish a description that says where the keys are."""
        document = {"issuer": self.issuer, "jwks_uri": self.url, **changes}
        reply = self.replies[DISCOVERY] = Reply(json.dumps(document).encode())
        return reply

    def count(self, path: str = KEYS) -> int:
        """How often that was asked for."""
        return sum(request.path == path for request in self.requests)

    async def asked(self, times: int = 1, path: str = KEYS) -> None:
        """Wait until that was asked for so often."""
        async with self._asked:
            await self._asked.wait_for(lambda: self.count(path) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._exchange(reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        request = Request(first.split(" ")[1], fields)
        async with self._asked:
            self.requests.append(request)
            self._asked.notify_all()
        await self._send(writer, self._reply(request))

    def _reply(self, request: Request) -> Reply:
        reply = self.replies.get(request.path) or Reply(status=404)
        if isinstance(reply, list):
            return reply.pop(0) if len(reply) > 1 else reply[0]
        etag = reply.fields.get("etag")
        if etag is not None and request.fields.get("if-none-match") == etag:
            return Reply(status=304, fields=reply.fields, hold=reply.hold)
        return reply

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        if reply.hold is not None:
            await reply.hold.wait()
        if reply.raw is not None:
            await self._write(writer, reply.raw)
            return
        fields = {"content-type": "application/json", "connection": "close", **reply.fields}
        if reply.chunks is not None:
            fields["transfer-encoding"] = "chunked"
        elif reply.status != 304:
            fields["content-length"] = str(len(reply.body) if reply.length is None else reply.length)
        lines = [f"HTTP/1.1 {reply.status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
        await self._write(writer, "\r\n".join((*lines, "", "")).encode("latin-1"))
        if reply.chunks is None:
            await self._write(writer, reply.body)
            return
        async for chunk in reply.chunks():
            await self._write(writer, b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await self._write(writer, b"0\r\n\r\n")

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()


def named(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields under the names that they have in HTTP."""
    return {name.replace("_", "-"): value for name, value in fields.items()}


def key(kid: str | None = "a", which: int = 0, algorithm: str = "ES256", **members: Any) -> dict[str, Any]:
    """Return a public key as it is published."""
    named_so = {} if kid is None else {"kid": kid}
    return jwk(algorithm, which, use="sig", alg=algorithm, **named_so) | members
