"""Work that is cancelled when what it is done under is lost, as `asyncio.timeout` cancels a body at its time."""

from __future__ import annotations

import asyncio


class WatchedBody:
    """The task that entered; `cancel` ends its body, and `leave` tells that from anybody else's cancellation."""

    __slots__ = ("_cancelled", "_cancelling", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("what may be lost is held by a task")
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the body, once, unless it has ended."""
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def leave(self, raised: type[BaseException] | None) -> bool:
        """Watch no more; tell whether what the body ended with is this cancellation, and nobody else's."""
        task, self._task = self._task, None
        if task is None or not self._cancelled:
            return False
        return task.uncancel() <= self._cancelling and raised is not None and issubclass(raised, asyncio.CancelledError)

    def __repr__(self) -> str:
        return f"<WatchedBody {'left' if self._task is None else 'of a running task'}>"
