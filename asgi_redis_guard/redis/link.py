"""One socket to one Redis node, connected and greeted: bytes in, replies out.

A link knows nothing of commands in flight: what is read is handed to its `Receiver`, and a link that broke tells it
once. It is never reused after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import hiredis

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .credentials import login_words
from .slots import Place
from .tls import explain

#: What `Link.next` returns when no whole reply has arrived yet.
NOTHING = object()

Push = hiredis.PushNotification

#: Refusals of the greeting's PING by a server that serves: the account may not ask, or only writes are refused.
_SERVES = ("NOPERM", "MISCONF")


class AuthenticationFailed(RedisUnavailable):
    """The server refused the credentials; trying again soon would only lock the account."""


class CertificateRefused(AuthenticationFailed):
    """There is no TLS with the server: one end refuses the other, and will again."""


class Receiver(Protocol):
    """Whoever owns a link."""

    def readable(self, link: Link) -> None:
        """Bytes have arrived: call `link.next()` until it returns `NOTHING`."""

    def writable(self, link: Link) -> None:
        """The socket takes bytes again after it was full."""

    def lost(self, link: Link, error: Exception | None) -> None:
        """The link is gone; called once."""

    def log_in(self, login: tuple[str, str]) -> asyncio.Future[Any] | None:
        """Send AUTH once more, for credentials that changed; return the future of the reply if somebody reads it."""


class Link(asyncio.Protocol):
    """A connection in the state that `open_link` left it in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader(replyError=OperationFailed, notEnoughData=NOTHING)
        self.next: Callable[..., Any] = self._reader.gets
        self.transport: asyncio.Transport | None = None
        self.receiver: Receiver | None = None
        self.last_byte = loop.time()
        self.made = False  # there was a connection, with TLS if that is asked for
        self.paused = False
        self.place = Place("", 0)  # where it leads; nowhere for a unix socket
        self.server: dict[str, Any] = {}  # what HELLO told; empty where the link speaks RESP2
        self._greeting: asyncio.Future[list[Any]] | None = None
        self._expected = 0
        self._replies: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made = True
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self.last_byte = self._loop.time()
        self._reader.feed(data)
        if self.receiver is not None:
            self.receiver.readable(self)
        else:
            self._collect()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.receiver is not None:
            self.receiver.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail_greeting(exc or ConnectionResetError("closed by the server"))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.lost(self, exc)

    def write(self, data: bytes) -> None:
        """Send bytes; what does not fit in the socket is kept by the transport."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Close at once and silently: the receiver is not told."""
        self.receiver = None
        transport, self.transport = self.transport, None
        if transport is not None:
            with contextlib.suppress(RuntimeError):  # its loop may be closed already
                transport.abort()

    def lose(self, error: Exception) -> None:
        """Close at once, and tell the receiver as if the server had done it."""
        receiver = self.receiver
        self.abort()
        if receiver is not None:
            receiver.lost(self, error)

    def bury(self) -> None:
        """Close the socket after its loop has closed, which the transport cannot do by itself any more."""
        self.receiver = None
        transport, self.transport = self.transport, None
        close = getattr(transport, "_call_connection_lost", None)  # asyncio's; uvloop closes everything with the loop
        if close is not None:
            close(None)

    async def converse(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Write `commands` in one go and return their replies; errors are values. Only before there is a receiver."""
        self._greeting = self._loop.create_future()
        self._expected, self._replies = len(commands), []
        self.write(b"".join(hiredis.pack_command(command) for command in commands))
        return await self._greeting

    def _collect(self) -> None:
        try:
            while (reply := self.next()) is not NOTHING:
                if not isinstance(reply, Push):
                    self._replies.append(reply)
        except Exception as error:  # hiredis: not RESP
            self._fail_greeting(error)
            return
        if self._greeting is not None and not self._greeting.done() and len(self._replies) >= self._expected:
            self._greeting.set_result(self._replies)

    def _fail_greeting(self, error: Exception) -> None:
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(error)


async def open_link(
    address: Address,
    *,
    timeout: float,
    name: str,
    protocol: int = 3,
) -> Link:
    """Connect and greet within `timeout` seconds: HELLO with credentials, name, SELECT, PING.

    All of it is one write. A server that does not know HELLO is greeted again in RESP2. Raises `RedisUnavailable`.
    """
    loop = asyncio.get_running_loop()
    link = Link(loop)
    link.place = Place(address.host, address.port)
    try:
        async with asyncio.timeout(timeout):
            await _connect(loop, address, link)
            await _greet(link, address, name, protocol)
    except RedisUnavailable:
        link.abort()
        raise
    except TimeoutError:
        link.abort()
        hint = "; does it speak TLS?" if address.tls and not link.made else ""
        raise RedisUnavailable(f"no connection to {address} within {timeout:.3g} s{hint}") from None
    except Exception as error:
        link.abort()
        told = explain(error, address, link.made)
        if told is not None and isinstance(error, ssl.SSLError):
            raise CertificateRefused(told) from error
        raise RedisUnavailable(told or f"no connection to {address}: {type(error).__name__}: {error}") from error
    except BaseException:
        link.abort()
        raise
    return link


def _connect(loop: asyncio.AbstractEventLoop, address: Address, link: Link) -> Awaitable[Any]:
    if address.path is not None:
        return loop.create_unix_connection(lambda: link, address.path)
    context = address.ssl_context()
    return loop.create_connection(
        lambda: link, address.host, address.port, ssl=context, server_hostname=address.host if context else None
    )


async def _greet(link: Link, address: Address, name: str, protocol: int) -> None:
    rest = [*([("SELECT", address.db)] if address.db else []), ("PING",)]
    credentials = await address.login()
    if protocol == 3:
        auth = ("AUTH", *credentials) if credentials else ()
        hello, *replies = await link.converse([("HELLO", 3, *auth), ("CLIENT", "SETNAME", name), *rest])
        if not isinstance(hello, OperationFailed):
            link.server = _info(hello)
            _check(replies[1:], address)
            return
        # A server without HELLO may answer NOAUTH to what it does not know: whether the password is right, AUTH tells.
        if hello.code == "WRONGPASS" or (hello.code == "NOAUTH" and not credentials):
            raise AuthenticationFailed(f"{address} refused the credentials ({hello.code})")
    auth2 = [login_words(credentials)] if credentials else []
    replies = await link.converse([*auth2, ("CLIENT", "SETNAME", name), *rest])
    if auth2 and isinstance(replies[0], OperationFailed):
        raise AuthenticationFailed(f"{address} refused the credentials ({replies[0].code})")
    _check(replies[len(auth2) + 1 :], address)


def _check(replies: Sequence[Any], address: Address) -> None:
    """Raise if the server greets but cannot serve (LOADING, an unknown database …); the last reply is PING's."""
    for place, reply in enumerate(replies, start=1):
        if isinstance(reply, OperationFailed) and not (place == len(replies) and reply.code in _SERVES):
            if reply.code == "NOAUTH":
                raise AuthenticationFailed(f"{address} asks for a password (NOAUTH)")
            raise RedisUnavailable(f"{address} does not serve: {reply}")


def _info(hello: Any) -> dict[str, Any]:
    """The HELLO reply as text keys; RESP3 gives a map."""
    if not isinstance(hello, dict):
        return {}
    text = {key.decode() if isinstance(key, bytes) else key: value for key, value in hello.items()}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in text.items()}
