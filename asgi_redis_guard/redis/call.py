"""One call on its way through a cluster: what it is, how long it may take, and how often it was sent elsewhere.

It stands in a channel where the caller's future would stand. Replies go through to that; what may be mended by asking
another node goes back to the lane.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import OperationFailed, RedisTimeout, RedisUnavailable
from .pipeline import Loadable, Waiter

if TYPE_CHECKING:
    from .carrier import Carrier
    from .cluster_node import ClusterNode


class Call:
    """`slot` is None where any node will do; `deadline` is on the loop's clock, for all attempts together."""

    __slots__ = (
        "deadline",
        "doubtful",
        "lane",
        "node",
        "pauses",
        "payload",
        "redirections",
        "refusal",
        "repeatable",
        "script",
        "slot",
        "timer",
        "tries",
        "waiter",
    )

    def __init__(
        self,
        lane: Carrier,
        payload: bytes,
        waiter: Waiter,
        slot: int | None,
        deadline: float,
        repeatable: bool,
        script: Loadable | None,
    ) -> None:
        self.lane = lane
        self.payload = payload
        self.waiter = waiter
        self.slot = slot
        self.deadline = deadline
        self.repeatable = repeatable
        self.script = script
        self.node: ClusterNode | None = None  # that was asked last
        self.doubtful = False  # it may have run, on a link that broke
        self.redirections = 0  # in a row
        self.refusal: OperationFailed | None = None  # for which it has paused
        self.pauses = 0
        self.tries = 0  # after links that broke, or could not be opened
        self.timer: asyncio.TimerHandle | None = None  # while it is with the lane

    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.waiter.done()

    def set_result(self, result: Any, /) -> None:
        """Give the caller the reply."""
        self.waiter.set_result(result)
        self.lane.served()

    def set_exception(self, exception: BaseException, /) -> None:
        """Let the lane see what can be done about it."""
        self.lane.failed(self, exception)

    def fail(self, error: BaseException) -> None:
        """Give the caller an error, if it still waits."""
        if not self.waiter.done():
            self.waiter.set_exception(self.named(error) if isinstance(error, RedisUnavailable) else error)

    def named(self, error: RedisUnavailable) -> RedisUnavailable:
        """Return an error with the node's name, and with all doubt there is."""
        doubt = error.maybe_executed or self.doubtful
        where = "" if self.node is None else str(self.node.address)
        if where not in str(error) and type(error) in (RedisUnavailable, RedisTimeout):
            error = type(error)(f"{where}: {error}")
        error.maybe_executed = doubt
        return error
