"""The primary that sentinels name: asked before each connection, followed when they say that it moved.

Who answers with the highest epoch is right. All sentinels are asked at once and a majority is enough, so that one that
hangs costs nothing and one that was cut off from the others misleads nobody. The role of the node is verified too: it
may not know yet what the sentinels say of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .link import Link, open_link
from .sentinel_watch import SwitchWatch
from .slots import Place
from .whereabouts import Whereabouts

logger = logging.getLogger("asgi_redis_guard.redis")

_NAME = "asgi-redis-guard:sentinel"


@dataclass(frozen=True, slots=True)
class Primary:
    """What one sentinel says: where the primary is, since which epoch, and whether the sentinel can reach it."""

    place: Place
    epoch: int
    down: bool


class SentinelWhereabouts(Whereabouts):
    """Finds and follows the primary of one service, in one event loop. `on_move` is called after it moved."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, address: Address, *, timeout: float, on_move: Callable[[], None]
    ) -> None:
        super().__init__(address)
        self._sentinels = address.of_sentinels()
        self._service = address.sentinels.service if address.sentinels is not None else ""
        self._timeout = timeout
        self._on_move = on_move
        self._primary: Primary | None = None
        self._finding: asyncio.Task[Primary] | None = None
        self._loop = loop
        self._watch = SwitchWatch(loop, self._sentinels, self._service, self._ask_again, timeout=timeout)

    async def find(self) -> Address:
        """Ask the sentinels; callers at the same time share the answer."""
        if self._finding is None or self._finding.done():
            self._finding = self._loop.create_task(self._survey(), name="asgi-redis-guard sentinels")
            self._finding.add_done_callback(lambda task: task.cancelled() or task.exception())
        primary = await asyncio.shield(self._finding)
        self._learn(primary)
        self._watch.start()
        return self.address.at(primary.place)

    async def verify(self, link: Link, address: Address) -> None:
        """Refuse a node that is a replica, as a former primary is that came back."""
        role = link.server.get("role")
        if role is None:
            (reply,) = await link.converse([("ROLE",)])
            if isinstance(reply, OperationFailed):
                return  # it may not be asked; a replica will refuse the first write
            role = {b"master": "master"}.get(reply[0], "replica")
        if role != "master":
            raise RedisUnavailable(f"{address} is a {role}, not the primary of {self._service}")

    def close(self) -> asyncio.Task[Any] | None:
        if self._finding is not None:
            self._finding.cancel()
        return self._watch.close()

    def abandon(self) -> Any:
        return self._watch.abandon()

    # Asking.

    async def _survey(self) -> Primary:
        """Return the newest that a majority of the sentinels knows; all are heard where that is older than known."""
        asking = [self._loop.create_task(self._ask(sentinel)) for sentinel in self._sentinels]
        found: list[Primary] = []
        errors: list[str] = []
        try:
            for answer in asyncio.as_completed(asking, timeout=self._timeout):
                try:
                    found.append(await answer)
                except RedisUnavailable as error:
                    errors.append(str(error))
                if len(found) * 2 > len(asking) and max(map(_epoch, found)) >= self._known_epoch:
                    break
        except TimeoutError:
            errors.append(f"no answer within {self._timeout:g} s")
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return self._newest(found, errors)

    def _newest(self, found: list[Primary], errors: list[str]) -> Primary:
        newest = max(map(_epoch, found), default=0)
        best = [primary for primary in found if primary.epoch == newest and not primary.down]
        if best:
            return best[0]
        if found:
            raise RedisUnavailable(f"the sentinels cannot reach the primary of {self._service}, {found[0].place}")
        raise RedisUnavailable(f"no sentinel of {self.address} answers: {'; '.join(errors)}")

    @property
    def _known_epoch(self) -> int:
        return -1 if self._primary is None else self._primary.epoch

    async def _ask(self, sentinel: Address) -> Primary:
        link = await open_link(sentinel, timeout=self._timeout, name=_NAME, protocol=2)
        try:
            (reply,) = await link.converse([("SENTINEL", "MASTER", self._service)])
        except Exception as error:
            raise RedisUnavailable(f"sentinel {sentinel}: {error}") from error
        finally:
            link.abort()
        if isinstance(reply, OperationFailed):
            raise RedisUnavailable(f"sentinel {sentinel}: {reply}")
        return _read(reply)

    # Following.

    async def _ask_again(self, sentinel: Address) -> None:
        """Ask the sentinel that is listened to: it has news, or may have had some while nobody listened."""
        try:
            self._learn(await self._ask(sentinel))
        except RedisUnavailable as error:
            logger.debug("%s", error)

    def _learn(self, primary: Primary) -> None:
        """Note what is newer than what is known, and cut the links that lead elsewhere."""
        known = self._primary
        if known is not None and primary.epoch < known.epoch:
            return
        self._primary = primary
        if known is None or known.place == primary.place:
            return
        logger.warning("The primary of %s moved from %s to %s", self._service, known.place, primary.place)
        for link, address in list(self.links.items()):
            if Place(address.host, address.port) != primary.place:
                link.lose(ConnectionResetError(f"the primary is at {primary.place} now"))
        self._on_move()


def _epoch(primary: Primary) -> int:
    return primary.epoch


def _read(reply: list[bytes]) -> Primary:
    """Read the reply to SENTINEL MASTER: names and values in turns."""
    words = [word.decode() for word in reply]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    flags = fields["flags"].split(",")
    down = "master" not in flags or "s_down" in flags or "o_down" in flags
    return Primary(Place(fields["ip"], int(fields["port"])), int(fields["config-epoch"]), down)
