"""How many replicas have what was written: WAIT, on connections of its own, for it blocks what comes after it.

Law: WAIT is about what its own connection has written last, so something is written just before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis import exceptions

from ..core.lua import read_lua
from ..core.steps import Ask
from ..errors import OperationFailed, RedisUnavailable, TooFewReplicas
from .asking import replies_of
from .manager import RedisManager
from .program import program_of
from .slots import Place, slot_of
from .topology import Topology

_WRITTEN = read_lua(__package__, "written.lua")

#: Milliseconds since the epoch: later than any key ends.
_ALWAYS = 1 << 53


class Written(NamedTuple):
    """A key that was written; from `until` on (ms since the epoch) it need not be there, 0 if perhaps it never was."""

    key: bytes
    until: int = _ALWAYS


async def confirm(manager: RedisManager, written: Iterable[Written], replicas: int, what: str) -> None:
    """Wait until so many replicas of each server have all that it was told before; returns at once for 0 of them.

    `what` was written, in words. Raises `TooFewReplicas`, and `RedisUnavailable`.
    """
    if replicas and (keys := [*written]):
        reached = await replicated(manager, keys, replicas)
        if reached < replicas:
            raise TooFewReplicas(what, reached, replicas)


async def replicated(manager: RedisManager, written: Sequence[Written], replicas: int) -> int:
    """Return how many replicas have these keys, the fewest of all; 0 where a key is not there that should be.

    Waits as `acknowledged` does. Of keys that one script has written in one slot, one is enough.
    """
    topology, wait = manager.links.topology, _wait(manager, replicas)
    if manager.links.server is None:
        return 0  # the data of this process, which has none
    if topology is None:
        return _reached(await _in_pool(manager, [*map(_touch, written), wait]))
    if not topology.known:
        await topology.connect()
    places: dict[Place, list[Written]] = {}
    for one in written:
        places.setdefault(topology.node_for(slot_of(one.key)).place, []).append(one)
    return min(await asyncio.gather(*[_at(topology, place, some, wait) for place, some in places.items()]))


async def _at(topology: Topology, place: Place, written: Sequence[Written], wait: tuple[Any, ...]) -> int:
    """The same for one node of a cluster; what has moved from there is looked for where it is."""
    *replies, waited = await topology.converse(place, [*map(_touch, written), wait])
    moved = [one for one, reply in zip(written, replies, strict=True) if _is_elsewhere(reply)]
    reached = [_reached(await topology.ask(slot_of(one.key), [_touch(one), wait])) for one in moved]
    if here := [reply for reply in replies if not _is_elsewhere(reply)]:
        reached.append(_reached([*here, waited]))
    return min(reached)


def _touch(one: Written) -> tuple[Any, ...]:
    return ("EVAL", _WRITTEN, 1, one.key, one.until)


def _wait(manager: RedisManager, replicas: int) -> tuple[Any, ...]:
    return ("WAIT", replicas, max(1, round(manager.settings.timeout * 500)))


def _is_elsewhere(reply: object) -> bool:
    return isinstance(reply, OperationFailed) and reply.code in ("MOVED", "ASK")


def _reached(replies: Sequence[Any]) -> int:
    """Read replies of `written.lua`, and at last of WAIT; raises the first error."""
    for reply in replies:
        if isinstance(reply, OperationFailed):
            raise reply
    *there, reached = map(int, replies)
    return reached if all(there) else 0


async def acknowledged(manager: RedisManager, ask: Ask, replicas: int) -> int:
    """Do `ask`, which writes, and return how many replicas have that and all that was written before it.

    None have it where the check of an operation stops it: there is nothing to have. Waits for `replicas` of them, for
    half of the manager's timeout at most: the rest is for the way. Raises `RedisUnavailable`.
    """
    program = program_of((ask.place,))
    _, _, count, *rest = program.call((ask.batch,))
    commands = [
        ("EVAL", program.source, count, *rest),
        _wait(manager, replicas),
    ]
    topology = manager.links.topology
    if topology is None:
        raw, reached = await _in_pool(manager, commands)
    else:  # redis-py's client of a cluster has no pipeline that ends with WAIT
        raw, reached = await topology.ask(slot_of(ask.batch.keys[0]), commands)
        if isinstance(raw, OperationFailed):
            raise raw
    return int(reached) if replies_of(ask, raw).passed else 0


async def _in_pool(manager: RedisManager, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
    """Send commands on a connection of the pool."""
    pipeline = manager.client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    try:
        replies: Sequence[Any] = await pipeline.execute()
    except exceptions.ResponseError as error:
        raise OperationFailed(str(error)) from error
    except exceptions.RedisError as error:
        raise RedisUnavailable(str(error), maybe_executed=True) from error
    return replies
