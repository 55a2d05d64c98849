"""Notices a server that came back without its data, and knows for its event loop whether anything is missing.

Each server has a record (`incarnation.lua`) from the first revocation on. Who knows it, and finds another or none, has
found a server without its data; the script that looks writes that down in the same step, so that all processes agree.
It is looked at whenever a link is opened, before that serves anybody, and by a beat: a server may be emptied, or
another take over, while links stay open. Nothing is missing any more when somebody has written it
again who knew all (`mend`), an operator says so (`accept`), or all has ended that was lost.

Law: who has not asked for it pays nothing. What it means that something is missing is not judged here.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from os import urandom
from typing import TYPE_CHECKING, Any

from ..core.keys import Keys
from ..core.lua import read_lua
from ..errors import OperationFailed, RedisUnavailable
from .breaker import SERVER_DOWN
from .incarnation import FOR_ALL, Records, anchors
from .link import Link
from .program import Script
from .slots import Place, slot_of

if TYPE_CHECKING:
    from .address import Address
    from .lane import Lane
    from .topology import Topology
    from .whereabouts import Whereabouts

logger = logging.getLogger("asgi_redis_guard.redis")

_LOOK, _WHOLE = (Script(read_lua(__package__, f"{name}.lua")) for name in ("incarnation", "incarnation_whole"))

#: Seconds between two looks, and while something is missing.
_BEAT, _BEAT_LOST = 2.0, 0.5

#: A record is made to last for so much longer than is needed (ms): it is written about once an hour for that.
_AHEAD = 3_600_000

_FORBIDDEN = "whether the server has lost data cannot be told: the account may not look (asgi-redis-guard acl)"


class Losses:
    """What one event loop knows of it; `lost` is true while a server has not all that it should have."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, keys: Keys, lane: Lane, where: Whereabouts, topology: Topology | None
    ) -> None:
        self._loop, self._keys, self._lane = loop, keys, lane
        self._where, self._topology = where, topology
        self._records = Records()
        self._identity = urandom(8).hex().encode()
        self._anchors: tuple[int, dict[Place | None, bytes]] = (-1, {})
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._forbidden = self._closed = False
        #: True once somebody has asked for it.
        self.heeded = False
        self.lost = False
        #: Whoever is to know that data was lost, each time.
        self.listeners: list[Callable[[], None]] = []

    def heed(self) -> bool:
        """Look from now on; return whether something is missing. What is sent afterwards comes after the first look."""
        if not self.heeded and not self._closed:
            self.heeded = True
            if self._topology is None:
                self._where.inspect = self.inspect
            else:
                self._topology.inspected_by(self.inspect)
                self._topology.listeners.insert(0, self._moved)  # before calls that wait for the map go out
            _beat(weakref.ref(self))
        return self.lost

    def warnings(self) -> dict[str, str]:
        """What `health()` is to say."""
        found = {"losses_unseen": _FORBIDDEN} if self._forbidden else {}
        if self.lost:
            found["data_lost"] = self._told()
        return found

    # Looking.

    async def inspect(self, link: Link, address: Address) -> None:
        """Look over a link that serves nobody yet; raises `RedisUnavailable`."""
        place = None if self._topology is None else Place(address.host, address.port)
        keys = [key for there, key in self._places().items() if there == place]
        if not keys:
            return
        number = self._next()
        try:
            replies = await link.converse([("EVAL", _LOOK.source, 1, key, *self._words(key)) for key in keys])
        except Exception as error:
            raise RedisUnavailable(f"no connection to {address}: {type(error).__name__}: {error}") from error
        for key, reply in zip(keys, replies, strict=True):
            if not isinstance(reply, OperationFailed):
                self._judge(key, number, reply)
            elif reply.code in SERVER_DOWN - {"READONLY"}:
                raise RedisUnavailable(f"{address} does not serve: {reply}")
            else:
                self._refused(reply)

    async def look(self) -> Mapping[bytes, tuple[bytes, bool]]:
        """Look now; return the incarnations, and which of them have not all that they should have.

        Raises `RedisUnavailable`; of a cluster those count that answer.
        """
        self.heed()
        await self._look_at(self._keys_now())
        return {key: (known.id, known.lost > 0) for key, known in self._records.known.items()}

    async def ensure(self, life: int, till: int = 0, *, apart: bool = False) -> None:
        """See to it that a loss is noticed of what is written after this: it ends in `life` ms, or at `till` (ms).

        `apart`: nobody holds it in memory, so that what gives back all the rest makes nothing whole.
        Costs nothing but about once an hour. Raises `RedisUnavailable`.
        """
        self.heed()
        keys = self._keys_now()
        if not keys or not self._records.covers(keys, life, till, self._loop.time(), apart):
            if not keys and self._topology is not None:
                await self._topology.connect()
                keys = self._keys_now()
            await self._look_at(keys, life + _AHEAD if life else 0, till + _AHEAD if till else 0, apart)

    @property
    def record(self) -> bytes:
        """The key of the record of the one server that there is: whose `id` tells the incarnation."""
        return self._keys.incarnation(0)

    def incarnations(self) -> Mapping[bytes, bytes]:
        """What is known of them, for `is_there`."""
        return {key: known.id for key, known in self._records.known.items()}

    async def is_there(
        self, before: Mapping[bytes, bytes], name: bytes | None, now: int, *, held: bool = False
    ) -> bool:
        """Tell whether what was written at `now` (ms, the server's; 0: nothing new) was not lost at the same moment.

        `before` are the incarnations that were known when it was sent, `name` is that which it was written to; None
        where the servers of a cluster have to be asked. `held`: this process can give it back by itself.
        Raises `RedisUnavailable`.
        """
        if name is None:
            await self._look_at(self._keys_now())
            is_there = all(self.incarnations().get(key) == known for key, known in before.items())
        else:
            is_there = before.get(self.record, name) == name
            if not is_there:
                await self._look_at(self._keys_now())
        if is_there and held:
            self._records.held = max(self._records.held, now)
        elif is_there:
            self._records.wrote = max(self._records.wrote, now)
        return is_there

    async def mend(self, incarnations: Mapping[bytes, bytes], upto: int) -> None:
        """Say that all is written again that was written up to then (ms) or by this process, into those incarnations.

        What was written later by somebody who says so is missing still. Raises `RedisUnavailable`.
        """
        for key, name in incarnations.items():
            await self._run(_WHOLE, key, (name, upto, self._identity))
        await self._look_at(self._keys_now())

    async def accept(self) -> int:
        """Take it that nothing is missing, whatever was lost; return of how many servers. Raises `RedisUnavailable`."""
        await self.look()
        replies = [await self._run(_WHOLE, key, (b"", FOR_ALL, b"")) for key in self._keys_now()]
        await self.look()
        return sum(map(int, replies))

    async def _look_at(self, keys: list[bytes], life: int = 0, till: int = 0, apart: bool = False) -> None:
        asked = [future for key in keys if (future := self._ask(key, life, till, apart, late=True)) is not None]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        if errors and len(errors) == len(outcomes) and not isinstance(errors[0], OperationFailed):
            raise errors[0]

    def _ask(
        self, key: bytes, life: int = 0, till: int = 0, apart: bool = False, *, late: bool = False
    ) -> asyncio.Future[Any] | None:
        """Send one look; None where nothing can be sent, which is raised where somebody waits (`late`)."""
        number = self._next()
        try:
            future = self._run(_LOOK, key, self._words(key, life, till, apart))
        except RedisUnavailable:
            if late and self._topology is None:
                raise
            return None
        future.add_done_callback(lambda done: self._answered(key, number, done))
        return future

    def _run(self, script: Script, key: bytes, words: tuple[Any, ...]) -> asyncio.Future[Any]:
        call = ("EVALSHA", script.sha, 1, key, *words)
        return self._lane.submit(call, repeatable=True, script=script)

    def _answered(self, key: bytes, number: int, done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._judge(key, number, done.result())
        elif isinstance(error, OperationFailed):
            self._refused(error)

    def _refused(self, error: OperationFailed) -> None:
        self._forbidden = self._forbidden or error.code == "NOPERM"
        logger.debug("what the server has lost cannot be looked at: %s", error)

    def _words(self, key: bytes, life: int = 0, till: int = 0, apart: bool = False) -> tuple[Any, ...]:
        return *self._records.words(key, urandom(9).hex().encode(), life, till, apart), self._identity

    def _next(self) -> int:
        self._number += 1
        return self._number

    # What is found.

    def _judge(self, key: bytes, number: int, reply: list[Any]) -> None:
        is_news = self._records.judge(key, number, reply, self._loop.time())
        was, self.lost = self.lost, bool(self._records.lost)
        if is_news:
            logger.warning("%s", self._told())
            for listener in [*self.listeners]:
                listener()
        elif was and not self.lost:
            logger.warning("Redis at %s counts as whole again", self._where.address)
        if was is not self.lost:
            self._plan()

    def _told(self) -> str:
        lost = self._records.lost
        where = ", ".join(dict.fromkeys(self._address_of(key) for key in lost))
        ends = min(max((known.lost for known in lost.values()), default=0) / 1000, 250_000_000_000)
        until = datetime.fromtimestamp(ends, UTC).isoformat(sep=" ", timespec="seconds")
        return (
            f"Redis at {where} has lost its data, and with it revocations; guards follow on_outage until a mirror has "
            f"written back all, an operator runs `asgi-redis-guard accept-loss`, or it is {until}"
        )

    def _address_of(self, key: bytes) -> str:
        if self._topology is None:
            return str(self._where.address)
        shard = self._topology.map[slot_of(key)]
        return "?" if shard is None else str(shard.primary)

    # Which records there are to look at.

    def _keys_now(self) -> list[bytes]:
        """Those of all servers, and those that tell of a loss, wherever they lie by now."""
        return list(dict.fromkeys([*self._places().values(), *self._records.lost]))

    def _places(self) -> Mapping[Place | None, bytes]:
        topology = self._topology
        if topology is None:
            return {None: self._keys.incarnation(0)}
        if self._anchors[0] != topology.map.version:
            shards = topology.map
            found = anchors(self._keys, shards.primaries, lambda slot: (shards[slot] or _NOBODY)[0])
            self._anchors = (topology.map.version, dict(found.items()))
        return self._anchors[1]

    def _moved(self) -> None:
        """Look at once where slots have moved, or the map is known at last."""
        topology = self._topology
        if topology is not None and not self._closed and self._anchors[0] != topology.map.version:
            for key in self._keys_now():
                self._ask(key)

    # Lifetime.

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.heeded and not self._closed:
            self._timer = self._loop.call_later(_BEAT_LOST if self.lost else _BEAT, _beat, weakref.ref(self))

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        self.listeners.clear()
        if self._timer is not None:
            self._timer.cancel()

    def __repr__(self) -> str:
        return f"<Losses: {'something is missing' if self.lost else 'nothing is missing'}>"


_NOBODY: tuple[Place | None] = (None,)


def _beat(losses: weakref.ref[Losses]) -> None:
    here = losses()
    if here is not None and not here._closed:
        here._plan()
        for key in here._keys_now():
            here._ask(key)
