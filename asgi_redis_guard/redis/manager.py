"""`RedisManager`: the one handle on Redis that all guards, services and the app share.

It owns lifetime and nothing of the request path. Connections belong to an event loop (`links.py`), and `per_loop.py`
finds them again for the loop that runs.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Unpack

from ..core.key_tag import LONGEST
from ..core.keys import Keys
from ..errors import ConfigurationError, RedisUnavailable
from ..settings import Settings
from . import registry, rotation
from .address import Address
from .embedded import EmbeddedServer
from .health import Health, examine, tell
from .links import Links
from .memory import fake_server
from .per_loop import PerLoop
from .replica_set import check_replicas

if TYPE_CHECKING:
    from ..locks.claims import Name
    from ..locks.lock import Lock
    from ..locks.lock_options import LockOptions
    from ..locks.semaphore import Semaphore
    from ..pubsub.hub import Hub


class RedisManager(PerLoop):
    """Connections to one Redis or one cluster, for every event loop of this process.

    `url` is `redis://`, `rediss://`, `unix://`, `memory://` (fakeredis) or `embedded://` (a Valkey child process);
    `redis+cluster://host:port,host:port` names some servers of a cluster, `redis+sentinel://host:port/service` those
    that know where a primary is, and with `rediss+` it is TLS. Without it the settings or the environment tell. A
    `credential_provider`, redis-py's or one like it, is asked before each connection. Other options are those of
    `Settings`. Constructing connects to
    nothing; the first use or `connect()` does. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        settings: Settings | None = None,
        credential_provider: Any = None,
        **options: Any,
    ) -> None:
        if settings is not None:
            ConfigurationError.refuse_both("settings", [*(["url"] if url is not None else []), *options])
        super().__init__()
        self.settings = settings or Settings(url=url, **options)
        self.address = Address.parse(self.settings.redis_url)
        check_replicas(self.address, self.settings)
        if credential_provider is not None:
            self.address = self.address.provided_by(credential_provider)
        self.keys = Keys(self.settings.prefix)
        self._memory: Any = fake_server() if self.address.scheme == "memory" else None
        self._embedded = EmbeddedServer() if self.address.scheme == "embedded" else None
        self._tagged: weakref.WeakValueDictionary[str, RedisManager] = weakref.WeakValueDictionary()
        self._users: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
        self._connecting = False
        self._audit_due = self._memory is None or self.settings.production
        rotation.follow(self)
        registry.enrol(self)

    @classmethod
    def shared(cls, settings: Settings | None = None) -> RedisManager:
        """Return the manager that everyone with these settings shares; without settings, those of the environment."""
        return registry.shared(cls, settings or Settings())

    @staticmethod
    def check(redis: object) -> None:
        """Raise `ConfigurationError` for what `of` would not take; a URL is read there, where the manager is made."""
        if redis is not None and not isinstance(redis, RedisManager | str):
            raise ConfigurationError(
                f"redis: a {type(redis).__name__} given; allowed are a RedisManager, a URL, and None for REDIS_URL"
            )

    @classmethod
    def of(cls, redis: RedisManager | str | None) -> RedisManager:
        """Return what an option `redis=` stands for: a manager, the shared one of a URL, or that of the environment."""
        if isinstance(redis, RedisManager):
            return redis
        cls.check(redis)
        return cls.shared(None if redis is None else Settings(url=redis))

    @property
    def is_cluster(self) -> bool:
        """True where keys lie in slots, of which each is one server's."""
        return self.address.cluster

    @property
    def root(self) -> RedisManager:
        """The manager whose connections these are."""
        return self

    def tagged(self, tag: str) -> RedisManager:
        """Return the same connections with the keys of a tag, for services beside a stack that has `key_tag`.

        What is done by `TokenService(manager.tagged("acme"), …)` is what requests with that tag find. Raises ValueError
        for a tag that no request can have, and TypeError for what is no text.
        """
        from .tagged import TaggedManager  # it is one of these

        if not isinstance(tag, str):
            raise TypeError(f"tag: {tag!r} given; allowed is text, and for no tag the manager itself")
        if not 0 < len(tag) <= LONGEST:
            raise ValueError(f"tag: {len(tag)} characters given; allowed are 1 to {LONGEST}")
        found = self._tagged.get(tag)
        if found is None:
            found = self._tagged[tag] = TaggedManager(self, tag)
        return found

    def _open(self, loop: asyncio.AbstractEventLoop) -> Links:
        address = Address.parse(self._embedded.url) if self._embedded is not None else self.address
        return Links(loop, address, self.settings, self._memory)

    def _opened(self, links: Links) -> None:
        if self._audit_due and not self._connecting:
            links.spawn(self._audit())

    # Lifetime.

    async def connect(self) -> None:
        """Connect, and look at how the server is set up; returns at once if that was done.

        A Redis that is away is logged once and looked for in the background; with `require_redis` it is an error.
        """
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.start)
        self._connecting = True  # the audit is done here, not in the background
        try:
            await self.links.connect()
            await self._audit()
        except RedisUnavailable:
            if self.settings.require_redis:
                raise
        finally:
            self._connecting = False

    async def aclose(self) -> None:
        """Finish background work and close the connections of the running loop; with the last, an embedded server."""
        await self._leave_loop()
        if self._embedded is not None and not self._links_by_loop:
            await asyncio.to_thread(self._embedded.stop)

    async def __aenter__(self) -> RedisManager:
        loop = asyncio.get_running_loop()
        self._users[loop] = self._users.get(loop, 0) + 1
        try:
            await self.connect()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        others = self._users.pop(loop, 1) - 1
        if others > 0:
            self._users[loop] = others
        else:
            await self.aclose()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Return a context manager for frameworks that take `lifespan=`; middlewares need none."""
        async with self:
            yield

    @property
    def pubsub(self) -> Hub:
        """The hub of the running loop: one connection for all subscriptions."""
        loop = self.links.loop
        hub = self._hubs.get(loop)
        if hub is None:
            from ..pubsub.hub import Hub  # the hub stands on the manager

            hub = self._hubs[loop] = Hub(self)
        return hub

    def lock(self, *names: Name, ttl: float = 30, wait: float | None = None, **options: Unpack[LockOptions]) -> Lock:
        """Return a lock of that name, held for `ttl` seconds unless it is renewed; see `Lock`. Several: all or none."""
        from ..locks.lock import Lock  # locks stand on the manager

        return Lock(self, names[0] if len(names) == 1 else list(names), ttl=ttl, wait=wait, **options)

    def semaphore(
        self, name: Name, permits: int, *, ttl: float = 30, wait: float | None = None, **options: Unpack[LockOptions]
    ) -> Semaphore:
        """Return a lock that `permits` holders may have at a time; see `Semaphore`."""
        from ..locks.semaphore import Semaphore

        return Semaphore(self, name, permits, ttl=ttl, wait=wait, **options)

    async def health(self) -> Health:
        """Ask the server how it is; never raises, and never waits longer than the timeout."""
        return await examine(self)

    async def accept_loss(self) -> bool:
        """Take it that nothing is missing of what Redis has lost: guards go by what it has now.

        For operators, who know, or accept, that tokens may be good again which had been revoked before. All
        processes go by it within a second. True where anything was missing. Raises `RedisUnavailable`.
        """
        return await self.links.losses.accept() > 0

    async def rotate_credentials(self) -> None:
        """Log in again on all live links of this process, by what the credential provider says now.

        No request fails meanwhile. Raises `RedisUnavailable` where the server refuses; links keep their login then.
        """
        await rotation.rotate(self._links_by_loop)

    async def _audit(self) -> None:
        """Look once at how the server is set up; a server that does not answer is looked at later."""
        if self._audit_due and (health := await self.health())["healthy"] and self._audit_due:
            self._audit_due = False
            tell(health)

    def __repr__(self) -> str:
        links = getattr(self._here, "links", None)
        return f"<RedisManager {self.address}{'' if links is None else f': {links!r}'}>"
