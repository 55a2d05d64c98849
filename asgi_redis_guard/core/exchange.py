"""What a guard may see of one request. Pure: time and randomness are given to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from .asgi import Scope
from .client_ip import TrustedProxies
from .documents import parsed
from .keys import Keys

if TYPE_CHECKING:
    from .steps import Ask, InLine, Sought, Waitable

NO_FACTS: Mapping[str, Any] = MappingProxyType({})


class Services(Protocol):
    """What is done for an exchange beside its rounds: what its guards wait for, and what the app's objects ask."""

    @property
    def flights(self) -> Any:
        """What is being worked out in this loop, each by one for all who want it (`redis/flight.py`)."""

    @property
    def identity(self) -> bytes:
        """What tells this event loop from all others, of all processes: 16 unpredictable characters."""

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the present time, in seconds since the epoch on this host's clock."""

    @property
    def cuts(self) -> bool:
        """True on a cluster: all keys of one operation must share a hash tag, rounds of several are cut."""

    async def perform(self, asks: Sequence[Ask]) -> list[Any]:
        """Carry out asks together; return for each its replies or the error. Never raises for Redis."""

    def fetch(self, key: bytes, replica: bool = False) -> Waitable:
        """Return what waits for the value of a string key, a large one perhaps; None if it cannot be had.

        With `replica` it may be the value that a replica has.
        """

    @property
    def data_lost(self) -> bool:
        """True while Redis has not all the revocations that it should have; looked at from the first time on."""

    def hears(self, topic: str) -> bool:
        """Tell whether words on a topic that is followed are heard now."""

    def wake(self, topic: str, word: bytes) -> None:
        """Let those of this process go on who wait for `word` by `gone`."""

    def gone(self, topic: str, word: bytes, key: bytes) -> Waitable:
        """Return what waits until `key` is gone; who deletes it says `word` on `topic`.

        Only where the value ends in `w`: what does not, or begins with this loop's `identity`, is a later one.
        """

    @property
    def leases(self) -> Any:
        """The leases of this loop, which renews them (`redis/leases.py`)."""

    def turn(self, sought: Sought) -> InLine:
        """Return what waits for a turn at what others hold, first come first served; it gives the replies to `ask`."""

    def share(self, key: Hashable, work: Callable[[], Awaitable[None]]) -> Waitable:
        """Have `work` done in the background unless it is under way as `key`; return what waits until it is over.

        One does it for all of this loop, and nobody's leaving ends it. What comes back says nothing: look again.
        """

    def give_back(self, ask: Ask, seconds: float) -> None:
        """Have `ask` done in the background, again and again for so long at most while Redis is away."""


class Exchange:
    """One HTTP request or WebSocket handshake, read-only, with the facts that guards have found.

    `now` is seconds since the epoch on this host's clock, `random(n)` gives n unpredictable bytes, `keys` builds Redis
    keys below the deployment's prefix. `facts` maps names (`user`, `auth`, …) to what the guards so far have
    established; those that the app needs are copied into its scope.
    """

    #: What the guards so far have established; to be added to by `publish` alone.
    facts: Mapping[str, Any] = NO_FACTS
    #: For guards on a route that `reads_arguments`: what its function is called with, defaults included, by parameter.
    arguments: Mapping[str, Any] = NO_FACTS
    #: True in a stack whose keys go by a tag, whatever that of this exchange is: `keys.key_tag`, None for none.
    is_tagged: bool = False
    #: For guards on a route: the name of its function, the same in all processes.
    route: str = ""
    _merged: dict[str, Any] | None = None
    _fields: dict[bytes, bytes] | None = None
    _path: str | None = None
    _client: tuple[TrustedProxies, str | None] | None = None
    _document: tuple[bytes, Any] | None = None

    def __init__(
        self,
        scope: Scope,
        now: float,
        random: Callable[[int], bytes],
        keys: Keys,
        services: Services | None = None,
    ) -> None:
        self.scope = scope
        #: True for a WebSocket handshake, whose method is GET.
        self.is_websocket: bool = scope["type"] == "websocket"
        self.method: str = scope.get("method", "GET")
        self.now = now
        self.random = random
        self.keys = keys
        #: None outside of an engine.
        self.services = services

    @property
    def data_lost(self) -> bool:
        """True while Redis is known to have lost revocations, so that it cannot tell what is revoked."""
        return self.services is not None and self.services.data_lost

    @property
    def perform(self) -> Callable[[Sequence[Any]], Awaitable[list[Any]]] | None:
        """Carries out asks while the app runs; not for guards, but for objects that they give to the app."""
        return None if self.services is None else self.services.perform

    @property
    def cuts(self) -> bool:
        """True on a cluster: operations that would touch several slots are to be done in parts."""
        return self.services is not None and self.services.cuts

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Add what a guard has established. Its own mapping serves as long as it is the only one, unchanged."""
        if self._merged is not None:
            self._merged.update(facts)
        elif not self.facts:
            self.facts = facts
        elif facts is not self.facts:
            self.facts = self._merged = {**self.facts, **facts}

    def fact(self, name: str) -> Any:
        """Return what a guard of this stack has found, else what the scope has from further out, or None."""
        facts = self.facts
        return facts[name] if name in facts else self.scope.get(name)

    @property
    def path(self) -> str:
        """The decoded path below `root_path`, as the app's own routes see it."""
        if self._path is None:
            path: str = self.scope["path"]
            root: str = self.scope.get("root_path", "")
            if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
                path = path[len(root) :] or "/"
            self._path = path
        return self._path

    @property
    def is_ambiguous(self) -> bool:
        """True if `root_path` stands in the path, but not in front: frameworks disagree on what the route is then."""
        root: str = self.scope.get("root_path", "")
        return bool(root) and root in self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """The path, and for an ambiguous one also what stands behind `root_path`: what a rule has to hold for."""
        root: str = self.scope.get("root_path", "")
        return (self.path, self.path.partition(root)[2] or "/") if self.is_ambiguous else (self.path,)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What stands in the path, by its name, and before that `arguments`, as the framework has understood it."""
        of_path = self.scope.get("path_params")
        return {**of_path, **self.arguments} if isinstance(of_path, Mapping) else self.arguments

    @property
    def is_preflight(self) -> bool:
        """True for a CORS preflight (Fetch standard §4.8): it carries no credentials. A CORS middleware answers it."""
        return (
            self.method == "OPTIONS"
            and self.header(b"origin") is not None
            and self.header(b"access-control-request-method") is not None
        )

    def header(self, name: bytes) -> bytes | None:
        """Return the first field of that lower-case `name`, or None."""
        for key, value in self.scope["headers"]:
            if key == name:
                field: bytes = value
                return field
        return None

    def has(self, name: bytes) -> bool:
        """Tell whether there is a field of that lower-case `name`."""
        fields = self._fields
        return name in (fields if fields is not None else [key for key, _ in self.scope["headers"]])

    def headers(self, name: bytes) -> list[bytes]:
        """Return all fields of that lower-case `name`, in order."""
        fields = self._fields
        if fields is None:
            given = self.scope["headers"]
            fields = self._fields = dict(given)
            if len(fields) != len(given):  # fields that stand there twice: the index has lost some
                fields[b""] = b""
        if b"" in fields:
            return [value for key, value in self.scope["headers"] if key == name]
        return [fields[name]] if name in fields else []

    def query(self, name: str) -> list[str]:
        """Return all values of a query parameter, decoded; malformed bytes become U+FFFD."""
        raw: bytes = self.scope.get("query_string", b"")
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace")
        return [value for key, value in pairs if key == name]

    def client(self, proxies: TrustedProxies) -> str | None:
        """Return the client's address as `proxies` establishes it, or None if there is none."""
        if self._client is None or self._client[0] is not proxies:
            self._client = (proxies, proxies.client(self.scope))
        return self._client[1]

    def document(self, body: bytes) -> Any:
        """Return what the body says, read as JSON, for `documents.text_at`; None if it is none. Reads it once."""
        if self._document is None or self._document[0] != body:
            self._document = (body, parsed(body))
        return self._document[1]
