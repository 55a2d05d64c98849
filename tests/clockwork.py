"""An event loop's timers, moved by hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Handle:
    """A timer."""

    def __init__(self, when: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._when, self.call, self.args, self.done = when, call, args, False

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.done = True


class Clockwork:
    """What the code under test needs of a loop; time passes in `advance` alone. Tasks run in the real loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[..., None], *args: Any) -> Handle:
        self.handles.append(Handle(when, call, args))
        return self.handles[-1]

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Handle:
        return self.call_at(self.now + delay, call, *args)

    def create_task(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, name=name)

    @property
    def due(self) -> list[float]:
        """Seconds until each timer that is set."""
        return sorted(handle.when() - self.now for handle in self.handles if not handle.done)

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while ready := [handle for handle in self.handles if not handle.done and handle.when() <= until]:
            handle = min(ready, key=Handle.when)
            handle.done, self.now = True, max(self.now, handle.when())
            handle.call(*handle.args)
        self.now = until
