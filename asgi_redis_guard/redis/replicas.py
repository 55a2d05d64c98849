"""How many replicas have what was written: WAIT, on a connection of its own, for it blocks what comes after it."""

from __future__ import annotations

from redis import exceptions

from ..core.steps import Ask
from ..errors import OperationFailed, RedisUnavailable
from .asking import replies_of
from .manager import RedisManager
from .program import program_of


async def acknowledged(manager: RedisManager, ask: Ask, replicas: int) -> int:
    """Do `ask`, which writes, and return how many replicas have that and all that was written before it.

    None have it where the check of an operation stops it: there is nothing to have. Waits for `replicas` of them, for
    half of the manager's timeout at most: the rest is for the way. Raises `RedisUnavailable`.
    """
    program = program_of((ask.place,))
    _, _, count, *rest = program.call((ask.batch,))
    pipeline = manager.client.pipeline(transaction=False)
    pipeline.execute_command("EVAL", program.source, count, *rest)
    pipeline.execute_command("WAIT", replicas, max(1, round(manager.settings.timeout * 500)))
    try:
        raw, reached = await pipeline.execute()
    except exceptions.ResponseError as error:
        raise OperationFailed(str(error)) from error
    except exceptions.RedisError as error:
        raise RedisUnavailable(str(error), maybe_executed=True) from error
    return int(reached) if replies_of(ask, raw).passed else 0
