"""What commands are submitted to: a channel to a server, or the data of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from ..core.script import Batch
from .link import Link
from .pipeline import Loadable
from .program import Program


class Lane(Protocol):
    """The interface of `Channel`, where each method is described."""

    @property
    def link(self) -> Link | None: ...
    @property
    def in_flight(self) -> int: ...
    def submit(
        self,
        args: tuple[Any, ...],
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        script: Loadable | None = None,
    ) -> asyncio.Future[Any]: ...
    def evaluate(
        self, program: Program, batches: Sequence[Batch], timeout: float | None = None
    ) -> asyncio.Future[Any]: ...
    async def connect(self) -> Link | None: ...
    def drop(self, reason: str) -> None: ...
    def close(self) -> asyncio.Task[None] | None: ...
    def abandon(self) -> Link | None: ...
