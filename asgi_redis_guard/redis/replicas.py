"""How many replicas have what was written: WAIT, on a connection of its own, for it blocks what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions

from ..core.steps import Ask
from ..errors import OperationFailed, RedisUnavailable
from .asking import replies_of
from .manager import RedisManager
from .program import program_of
from .slots import slot_of


async def acknowledged(manager: RedisManager, ask: Ask, replicas: int) -> int:
    """Do `ask`, which writes, and return how many replicas have that and all that was written before it.

    None have it where the check of an operation stops it: there is nothing to have. Waits for `replicas` of them, for
    half of the manager's timeout at most: the rest is for the way. Raises `RedisUnavailable`.
    """
    program = program_of((ask.place,))
    _, _, count, *rest = program.call((ask.batch,))
    commands = [
        ("EVAL", program.source, count, *rest),
        ("WAIT", replicas, max(1, round(manager.settings.timeout * 500))),
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
