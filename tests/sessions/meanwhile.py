"""A manager that lets something else happen between a round trip and what follows it: races, told step by step.

Law: nothing is left to chance or time; what happens meanwhile is over before the reply is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgi_redis_guard import RedisManager


class Meanwhile(RedisManager):
    """Does what `after` says once, when a script with that text has run, before its caller hears of it."""

    _text = ""
    _act: Callable[[], Awaitable[Any]] | None = None
    #: Whether what was to happen meanwhile has happened.
    done = False

    def after(self, text: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Let `act` happen right after the next script with `text`, such as the name of an operation."""
        self._text, self._act, self.done = text, act, False

    def evaluate(self, program: Any, *rest: Any) -> asyncio.Future[Any]:
        reply = super().evaluate(program, *rest)
        return asyncio.ensure_future(self._withheld(reply)) if self._is_it(program.source) else reply

    async def run_script(self, script: Any, *rest: Any, **options: Any) -> Any:
        reply = super().run_script(script, *rest, **options)
        return await (self._withheld(reply) if self._is_it(script.source) else reply)

    def _is_it(self, source: str) -> bool:
        return self._act is not None and self._text in source

    async def _withheld(self, reply: Awaitable[Any]) -> Any:
        act, self._act = self._act, None
        try:
            return await reply
        finally:
            assert act is not None
            await act()
            self.done = True
