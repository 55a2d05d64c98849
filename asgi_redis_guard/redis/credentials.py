"""Who logs in: what a provider of credentials says, asked anew before each connection.

It takes redis-py's `CredentialProvider` and whatever has its methods, sync or async; a sync one runs in a thread, for
it may ask over the network. Passwords appear in no message, nor does what a provider says of its own failure.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from redis import CredentialProvider

from ..errors import ConfigurationError, RedisUnavailable


class Provided(CredentialProvider):
    """A provider as redis-py's own connections want it."""

    def __init__(self, provider: Any) -> None:
        if not (hasattr(provider, "get_credentials") or hasattr(provider, "get_credentials_async")):
            kind = type(provider).__name__
            raise ConfigurationError(f"credential_provider: a {kind} given; it needs get_credentials(), sync or async")
        self._provider = provider

    def get_credentials(self) -> tuple[str, str]:
        """Never used: every connection here is asynchronous."""
        raise NotImplementedError

    async def get_credentials_async(self) -> tuple[str, str]:
        """Return user and password; raises `RedisUnavailable`."""
        try:
            given = await self._ask()
        except Exception as error:
            raise RedisUnavailable(f"the credential provider failed: {type(error).__name__}") from error
        words = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, tuple | list) else ()
        if not 1 <= len(words) <= 2 or not all(isinstance(word, str) for word in words):
            raise RedisUnavailable("the credential provider gave neither a password nor a user and a password")
        return (words[0] or "default", words[1]) if len(words) == 2 else ("default", words[0])

    async def _ask(self) -> Any:
        ask = getattr(self._provider, "get_credentials_async", None)
        if ask is None or getattr(type(self._provider), "get_credentials_async", None) is _INHERITED:
            ask = self._provider.get_credentials
        given = ask() if inspect.iscoroutinefunction(ask) else await asyncio.to_thread(ask)
        return await given if inspect.isawaitable(given) else given

    def tell(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever a provider that announces has new credentials, from whatever thread."""
        announce = getattr(self._provider, "on_next", None)
        if announce is not None:
            announce(lambda *_: changed())


_INHERITED = CredentialProvider.get_credentials_async


def login_words(login: tuple[str, str]) -> tuple[str, ...]:
    """Return the AUTH command; a password alone goes alone, for servers and proxies that know no users."""
    return ("AUTH", *login) if login[0] != "default" else ("AUTH", login[1])
