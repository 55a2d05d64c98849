"""One stream followed by id, over a connection of its own: entries come as they are added, and none is missed unseen.

Every reply tells two things: what has been added, and, where nothing has, that nothing had been when it was asked for.
So a read is answered every `beat` seconds at the latest. With each read goes a look at a hash, whose fields tell
whether this is still the stream that it was.

Law: what entries mean is the follower's business; whoever falls behind is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import hiredis

from ..errors import OperationFailed
from ..redis.credentials import login_words
from ..redis.slots import Place, Redirection
from .memory import open_memory_line
from .wire import Line, Wire

if TYPE_CHECKING:
    from ..redis.manager import RedisManager

_pack: Callable[[Any], bytes] = hiredis.pack_command

#: Entries in one reply; a reply with as many may not be all.
MOST = 500

#: Seconds between two reads of a stream in this process.
_POLL = 0.01

#: An id and its fields, by turns name and value.
Entry = tuple[bytes, Sequence[bytes]]


class StreamFollower(Protocol):
    """Whoever follows."""

    def linked(self) -> None:
        """There is a connection: call `read` once it is known after which id."""

    def unlinked(self) -> None:
        """There is none any more; what was read last is all that is known."""

    def heard(self, asked: float, state: Sequence[Any], entries: Sequence[Entry]) -> bytes | None:
        """Take what was added, and what the state's fields were when it was asked for, by the loop's clock.

        Returns after which id to go on, or None to stop until `read` is called.
        """


class Stream:
    """Follows the stream at `key`; `state` is a hash and the names of its fields that are looked at."""

    longest_pause = float("inf")

    def __init__(
        self,
        manager: RedisManager,
        key: bytes,
        state: tuple[bytes, ...],
        follower: StreamFollower,
        *,
        beat: float,
        what: str,
    ) -> None:
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._key, self._state, self._follower = key, state, follower
        self._beat = max(1, round(beat * 1000))
        timeout = manager.settings.timeout
        self.wire = Wire(
            self._loop,
            self,
            str(manager.address),
            idle=0,
            ping_interval=beat * 2,
            ping_timeout=timeout * 2,
            what=what,
        )
        self._place = Place("", 0)  # of the node that is listened to
        self._asked = 0.0
        self._replies: list[Any] = []
        #: fakeredis leaves a task behind where a client goes that is blocked; so it is asked again and again.
        self._polls = manager.address.scheme == "memory"
        self._poll: asyncio.TimerHandle | None = None
        self.wanted = True
        self.wire.want()

    def read(self, after: bytes) -> None:
        """Ask for what comes after an id, and wait for it."""
        self._asked = self._loop.time()
        self._replies = []
        blocking = () if self._polls else ("BLOCK", self._beat)
        reading = ("XREAD", "COUNT", MOST, *blocking, "STREAMS", self._key, after)
        self.wire.send(_pack(("HMGET", *self._state)) + _pack(reading))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run what belongs to following; it ends with it."""
        return self.wire.spawn(work)

    def stop(self) -> None:
        """Send nothing more."""
        self.wanted = False
        if self._poll is not None:
            self._poll.cancel()

    async def aclose(self) -> None:
        """Follow no more."""
        self.stop()
        await self.wire.aclose()

    def abandon(self) -> Line | None:
        """Let go without I/O; return what must not be finalised yet."""
        self.stop()
        return self.wire.abandon()

    # Owner of the wire.

    @property
    def allowed(self) -> bool:
        return not self._manager.links.breaker.is_open

    async def open(self) -> Line:
        links = self._manager.links
        if links.address.scheme == "memory":
            return await open_memory_line(self._manager._memory, self.wire.spawn)
        link = await links.open("stream", key=self._key, protocol=2)
        self._place = link.place
        return link

    def opened(self) -> None:
        self._replies = []
        self._follower.linked()

    def dropped(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
        self._follower.unlinked()

    def ping(self) -> None:
        self.wire.send(_pack(("PING",)))

    def log_in(self, login: tuple[str, str]) -> None:
        self.wire.send(_pack(login_words(login)))

    def received(self, reply: Any) -> None:
        """Take one reply: the state, then the entries. An error ends the connection; the next one goes by it."""
        if isinstance(reply, OperationFailed):
            if reply.code == "MOVED" and (topology := self._manager.links.topology) is not None:
                topology.moved(Redirection.parse(str(reply), self._place))
            raise reply
        if reply in (b"PONG", b"OK"):
            return
        self._replies.append(reply)
        if len(self._replies) < 2:
            return
        state, found = self._replies
        self._replies = []
        after = self._follower.heard(self._asked, state, _entries(found))
        if after is None:
            return
        if self._polls and not found:
            self._poll = self._loop.call_later(_POLL, self.read, after)
        else:
            self.read(after)

    def __repr__(self) -> str:
        return f"<Stream {self._key!r} over {self.wire!r}>"


def _entries(found: Any) -> list[Entry]:
    """Read what XREAD says of one stream; fakeredis may give a dictionary."""
    if not found:
        return []
    (told,) = found.values() if isinstance(found, dict) else [stream[1] for stream in found]
    return [(entry[0], entry[1] or ()) for entry in told]
