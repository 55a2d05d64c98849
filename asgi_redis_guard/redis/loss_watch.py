"""Notices a server that came back without its data, for one event loop: the looking behind `losses.py`.

Each server has a record (`incarnation.lua`) from the first revocation on. Who knows it, and finds another or none, has
found a server without its data; the script that looks writes that down in the same step, so that all processes agree.
It is looked at whenever a link is opened, before that serves anybody, and by a beat: a server may be emptied, or
another take over, while links stay open.

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
from .incarnation import NOTHING, Planned, Records, anchors
from .link import Link
from .program import Script
from .slots import Place, slot_of

if TYPE_CHECKING:
    from .address import Address
    from .lane import Lane
    from .topology import Topology
    from .whereabouts import Whereabouts

logger = logging.getLogger("asgi_redis_guard.redis")

_LOOK = Script(read_lua(__package__, "incarnation.lua"))

#: Seconds between two looks, and while something is missing.
_BEAT, _BEAT_LOST = 2.0, 0.5

_FORBIDDEN = "whether the server has lost data cannot be told: the account may not look (asgi-redis-guard acl)"


class LossWatch:
    """What one event loop knows. `lost` is true while a server has not all that it should have."""

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
        #: The records of those whose loss the log has told of, until they are whole again.
        self._said: frozenset[bytes] = frozenset()
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
        looks = [("EVALSHA", _LOOK.sha, 1, key, *self._words(key)) for key in keys]
        try:
            _, *replies = await link.converse([("SCRIPT", "LOAD", _LOOK.source), *looks])
        except Exception as error:
            raise RedisUnavailable(f"no connection to {address}: {type(error).__name__}: {error}") from error
        for key, reply in zip(keys, replies, strict=True):
            if not isinstance(reply, OperationFailed):
                self._judge(key, number, reply)
            elif reply.code in SERVER_DOWN - {"READONLY"}:
                raise RedisUnavailable(f"{address} does not serve: {reply}")
            else:
                self._refused(reply)

    async def _look_at(self, keys: list[bytes], planned: Planned = NOTHING) -> None:
        asked = [future for key in keys if (future := self._ask(key, planned, late=True)) is not None]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        if errors and len(errors) == len(outcomes) and not isinstance(errors[0], OperationFailed):
            raise errors[0]

    def _ask(self, key: bytes, planned: Planned = NOTHING, *, late: bool = False) -> asyncio.Future[Any] | None:
        """Send one look; None where nothing can be sent, which is raised where somebody waits (`late`)."""
        number = self._next()
        try:
            future = self._run(_LOOK, key, self._words(key, planned))
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

    def _words(self, key: bytes, planned: Planned = NOTHING) -> tuple[Any, ...]:
        return self._records.words(key, urandom(9).hex().encode(), planned, self._identity)

    def _next(self) -> int:
        self._number += 1
        return self._number

    # What is found.

    def _judge(self, key: bytes, number: int, reply: list[Any]) -> None:
        is_news = self._records.judge(key, number, reply, self._loop.time())
        was, self.lost = self.lost, bool(self._records.missing)
        missing = frozenset(self._records.missing)
        if is_news:
            if not missing <= self._said:  # a server that evicts loses the same again and again
                logger.warning("%s", self._told())
            for listener in [*self.listeners]:
                listener()
        elif was and not self.lost:
            logger.warning("Redis at %s counts as whole again", self._where.address)
        self._said = missing
        if was is not self.lost:
            self._plan()

    def _told(self) -> str:
        lost = self._records.missing
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
        return list(dict.fromkeys([*self._places().values(), *self._records.missing]))

    def _places(self) -> Mapping[Place | None, bytes]:
        topology = self._topology
        if topology is None:
            return {None: self._keys.incarnation(0)}
        if self._anchors[0] != topology.map.version:
            self._anchors = topology.map.version, anchors(self._keys, topology.map)
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
        return f"<{type(self).__name__}: {'something is missing' if self.lost else 'nothing is missing'}>"


def _beat(watch: weakref.ref[LossWatch]) -> None:
    here = watch()
    if here is not None and not here._closed:
        here._plan()
        for key in here._keys_now():
            here._ask(key)
