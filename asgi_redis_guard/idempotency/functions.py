"""Coroutine functions that take effect once for each key: what `@idempotent("charge:{order_id}")` calls.

Law: a call runs only where Redis says that no other does and that none has; what it has returned is recorded before its
caller gets it, and what is another's is never written over.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from os import urandom
from typing import Any, Literal

from ..core.arguments import by_name, key_of, name_of
from ..core.checks import choice_faults, seconds_faults
from ..core.key_template import KeyTemplate
from ..core.keys import digest
from ..core.steps import Ask
from ..errors import (
    ConfigurationError,
    IdempotencyConflict,
    IdempotencyError,
    IdempotencyMismatch,
    RedisTimeout,
    RedisUnavailable,
)
from ..exact import from_json, to_json
from ..pubsub.turns import Turn, ask_once
from ..redis.asking import carry_out
from ..redis.giving_back import give_back
from ..redis.manager import RedisManager
from ..redis.watched import WatchedBody
from .operations import BUSY, MISMATCH, NOT_KEPT, REPLAY, RUN, Awaited, Claim, Found, is_recorded
from .options import LONGEST_LEASE, LONGEST_TTL, LONGEST_WAIT
from .responder import RECORDING


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What calls are made under. Times are in seconds. Raises `ConfigurationError` with all faults."""

    ttl: float = 86_400
    lease: float = 30
    wait: float = 0
    on_outage: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        ConfigurationError.raise_for(
            seconds_faults("ttl", self.ttl, 1, LONGEST_TTL)
            + seconds_faults("lease", self.lease, 1, LONGEST_LEASE)
            + seconds_faults("wait", self.wait, 0, LONGEST_WAIT)
            + choice_faults("on_outage", self.on_outage, ("closed", "open"))
        )


class Once:
    """One function whose calls take effect once for each key that `template` makes of their arguments."""

    def __init__(
        self,
        function: Callable[..., Awaitable[Any]],
        template: KeyTemplate,
        redis: RedisManager | str | None,
        options: CallOptions,
    ) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        ConfigurationError.raise_for(
            [f"@idempotent: {fault}" for fault in template.call_faults(self._signature.parameters)]
        )
        self._template = template
        self._redis = redis
        self.options = options
        self.name = name_of(function)

    def wrapped(self) -> Callable[..., Awaitable[Any]]:
        """Return what is called in the place of the function."""

        @functools.wraps(self._function)
        async def once(*args: Any, **kwargs: Any) -> Any:
            return await _Call(self, RedisManager.of(self._redis), args, kwargs).result()

        return once

    def claim(self, manager: RedisManager, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Claim:
        """Claim a call with these arguments; raises TypeError as the call would, and for those that make no key."""
        arguments = by_name(self._signature, args, kwargs)
        word = digest("call", *self._template.of_call(arguments))
        told = [part for name, value in arguments.items() for part in (name, _told(value))]
        fingerprint = digest("call", self.name, *told)
        return Claim.of(manager.keys, word, fingerprint, urandom, self.options.lease, self.options.ttl)

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any]:
        """Call the function itself."""
        return self._function(*args, **kwargs)


def _told(value: Any) -> bytes:
    """Return what stands for an argument where calls are compared; a connection, say, is the same as any other."""
    try:
        return key_of(value)
    except TypeError:
        return b""


class _Call:
    """One call."""

    def __init__(self, once: Once, manager: RedisManager, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._once = once
        self._options = once.options
        self._manager = manager
        self._args, self._kwargs = args, kwargs
        self._claim = once.claim(manager, args, kwargs)
        self._release = Ask((self._claim.release(),))

    async def result(self) -> Any:
        """Return what the function returns, or has returned."""
        try:
            found = self._in_time(await self._begin())
        except RedisUnavailable:
            if self._options.on_outage == "closed":
                raise
            return await self._once.call(self._args, self._kwargs)
        if found.state == RUN:
            return await self._run(found.since)
        return await self._replay(found)

    def _in_time(self, found: Found) -> Found:
        """Give back what came so late that its lease is over by now, and may be another's."""
        if found.state == RUN and found.since + self._options.lease <= self._manager.leases.time():
            self._free()
            raise RedisTimeout("its lease was over before the reply came", maybe_executed=True)
        return found

    async def _begin(self) -> Found:
        found = await self._ask()
        if found.state != BUSY or not self._options.wait:
            return found
        awaited = Awaited(self._claim, found)
        turn = Turn(self._manager, awaited.sought())
        try:
            async with asyncio.timeout(self._options.wait):
                return Found.of(await turn.wait(), turn.since)
        except TimeoutError:
            if turn.error is not None:
                raise turn.error from None
            return awaited.found

    async def _ask(self) -> Found:
        """Ask how it stands; a caller that is cancelled leaves nothing taken."""
        since = self._manager.leases.time()
        replies = await ask_once(self._manager, Ask((self._claim.begin(),)), lambda: self._release)
        return Found.of(replies, since)

    async def _replay(self, found: Found) -> Any:
        """Return what the call has returned before; raises where there is nothing to return."""
        name, content = self._once.name, found.content
        if found.state == BUSY:
            raise IdempotencyConflict(f"{name}: a call with this key is under way", found.left)
        if found.state == MISMATCH:
            raise IdempotencyMismatch(f"{name}: this key stood for other arguments before, or for another function")
        if found.state == NOT_KEPT:
            raise IdempotencyError(f"{name}: was called with this key, and what it returned could not be kept")
        if found.state == REPLAY:
            if content is None:
                content = self._claim.content_of(await self._manager.execute("GET", self._claim.key))
            try:
                return from_json(content or b"")
            except ValueError:
                pass
        raise IdempotencyError(f"{name}: the record of this call cannot be read")

    async def _run(self, since: float) -> Any:
        """Call the function under the lease; an exception or a cancellation lets another call run."""
        body = WatchedBody()
        lease = self._manager.leases.keep(self._claim.renew(), self._options.lease, body.cancel, since)
        try:
            result = await self._once.call(self._args, self._kwargs)
        except BaseException as error:
            lease.drop()
            self._free()
            if body.leave(type(error)):
                raise IdempotencyError(f"{self._once.name}: the record of this call was lost while it ran") from error
            raise
        lease.drop()
        body.leave(None)
        return await self._record(result)

    async def _record(self, result: Any) -> Any:
        try:
            completion = Ask((self._claim.complete(b"D", to_json(result)),))
        except (TypeError, ValueError, RecursionError) as error:
            give_back(self._manager, Ask((self._claim.complete(b"U", b""),)), RECORDING)
            raise TypeError(f"{self._once.name}: what it returned cannot be kept: {error}") from error
        try:
            recorded = is_recorded(await carry_out(self._manager, completion))
        except asyncio.CancelledError:
            give_back(self._manager, completion, RECORDING)
            raise
        except RedisUnavailable:
            give_back(self._manager, completion, RECORDING)
            if self._options.on_outage == "closed":
                raise
            return result
        if not recorded:
            raise IdempotencyError(f"{self._once.name}: another call with this key was begun before this one had ended")
        return result

    def _free(self) -> None:
        give_back(self._manager, self._release, self._options.lease)
