"""What stands for a request among the variants of its resource, and what a process remembers of that. Pure."""

from __future__ import annotations

import logging
from typing import Any

from ..core.exchange import Exchange
from ..core.keys import digest
from ..core.warnings import Warnings
from ..errors import ConfigurationError, GuardError
from .credentials import has_something, identity_of, shows_credentials
from .known import Known, Learned
from .operations import Place
from .plan import Plan, Refusal, Ruling
from .policy import CachePolicy
from .request_key import FIELDS, fields_of, principal_parts
from .tags import expand, names_in
from .vary import MOST_NAMES, variant_parts

_warnings = Warnings(logging.getLogger("asgi_redis_guard.cache"))

#: Fields by which one path may lead to several functions.
_ROUTING = FIELDS | {b"host"}

#: Seconds for which a route that declared nothing is not asked about.
_IDLE = 60.0


class Variants:
    """The variants of a guard's resources, in one deployment.

    `credentials` are request fields that say who asks, `always` those that count wherever they are.
    """

    __slots__ = ("_always", "_credentials", "known")

    def __init__(self, credentials: frozenset[bytes], always: frozenset[bytes] = FIELDS) -> None:
        self.known = Known()
        self._credentials = credentials
        self._always = always

    def route(self, exchange: Exchange) -> bytes:
        """Return what a path of a host goes by, whatever its query and its method."""
        scope = exchange.scope
        fields = fields_of(scope, _ROUTING)
        return digest(scope.get("root_path", ""), scope["path"], *fields)

    def learned(self, route: bytes) -> Learned:
        """Return what is known of a route."""
        return self.known.paths.get(route) or Learned()

    def names(self, resource: bytes, route: bytes) -> bytes:
        """Return what the variants of a resource go by, as far as is known: like others of its route at first."""
        return self.known.names.get(resource) or self.learned(route).names

    def variant(
        self, exchange: Exchange, names: bytes, route: bytes, policy: CachePolicy | None = None
    ) -> bytes | None:
        """Return the digest of a request's values of `names`; None if it cannot be told, or the app wants none.

        `policy` is what was declared for it, as far as that is known; else what was last declared on its route.
        """
        fields = fields_of(exchange.scope, self._always)
        if not names:
            return digest(b"", *fields)
        listed = names.split(b",")
        known: dict[bytes, bytes | None] = {}
        if b":user" in listed:
            try:
                parts = principal_parts(exchange.fact("user"), exchange.fact("auth"))
            except GuardError:  # one of whom it is not known who that is, or not yet
                return None
            if parts is None and self._may_be_somebody(exchange):
                return None
            known[b":user"] = None if parts is None else digest(*parts)
        if b":key" in listed:
            policy = policy or self.learned(route).policy
            own = None if policy is None else _own_key(policy, exchange)
            if policy is None or own is None:
                return None
            known[b":key"] = digest(policy.where, own)
        return digest(names, b"%d" % len(fields), *fields, *variant_parts(listed, exchange.scope["headers"], known))

    def _may_be_somebody(self, exchange: Exchange) -> bool:
        """Whether a request without a verified user may have another answer than all others of that kind."""
        if self.has_credentials(exchange):
            return True
        session = exchange.fact("session")
        return session is not None and has_something(session) is not False

    def has_credentials(self, exchange: Exchange) -> bool:
        """Tell whether a request carries somebody's secret, valid or not."""
        return shows_credentials(exchange.scope, self._credentials)

    def is_apart(self, exchange: Exchange, route: bytes) -> bool:
        """Tell whether the answer to a request will be kept for nobody, as far as can be seen."""
        return self.learned(route).personal and self.has_credentials(exchange)

    def grown(
        self, exchange: Exchange, place: Place, names: bytes, plan: Plan, route: bytes
    ) -> tuple[bytes, Place | None]:
        """Return what the variants go by from now on, and the request's place among them; None if it has none."""
        all_names = {name for name in names.split(b",") if name} | plan.names
        if len(all_names) > MOST_NAMES:
            return names, None
        grown = b",".join(sorted(all_names))
        if grown == names and all_names.isdisjoint((b":user", b":key")):
            return names, place
        if b":key" in all_names and plan.policy is None:
            return names, None  # the key is made by another function of the same URL
        variant = self.variant(exchange, grown, route, plan.policy)
        if grown == names and variant != place.variant:
            return names, None  # it was not known when it was looked up who asks, or what is declared
        return grown, None if variant is None else Place.of(exchange.keys, place.resource, variant)

    # Tags.

    def expected_tags(
        self, exchange: Exchange, place: Place, route: bytes, hints: tuple[str, ...]
    ) -> tuple[bytes, ...]:
        """Return the digests of the tags that an entry probably has; `hints` are those of the resource's mark."""
        found = self.known.tags.get(place.entry)
        if found is not None:
            return found
        tags = self.learned(route).tags or hints
        if not tags:
            return ()
        named = named_tags(tags, identity_of(exchange.fact("user")))
        return () if named is None else tuple(sorted({exchange.keys.tag(name)[-20:] for name in named}))

    def remember(self, resource: bytes, place: Place, names: bytes, tags: dict[bytes, bytes]) -> None:
        """Remember what was stored."""
        known = self.known
        known.names.put(resource, names)
        known.tags.put(place.entry, tuple(tags))
        for tag, stamp in tags.items():
            known.generations.put(tag, stamp)

    def declared(self, route: bytes, names: bytes, tags: tuple[str, ...], policy: CachePolicy) -> None:
        """Remember what was declared on a route whose response nobody looks at."""
        self.known.paths.put(route, Learned(names, tags, policy, declared=True))

    def learn(
        self,
        route: bytes,
        names: frozenset[bytes],
        tags: tuple[str, ...],
        policy: CachePolicy | None,
        ruling: Ruling,
        exchange: Exchange,
    ) -> None:
        """Remember what a response on a route has said.

        One that declares nothing says nothing of a route that has: it came from somewhere else.
        """
        known = self.learned(route)
        if known.declared and policy is None and not isinstance(ruling, Plan):
            return
        idle = exchange.now + _IDLE if isinstance(ruling, Refusal) and ruling.idle else 0.0
        listed = b",".join(sorted(names)) if isinstance(ruling, Plan) else known.names
        declared = policy is not None or isinstance(ruling, Plan)
        personal = known.personal
        if self.has_credentials(exchange):
            personal = isinstance(ruling, Refusal) and ruling.is_personal
        self.known.paths.put(route, Learned(listed, tags, policy, idle, declared, personal))


def _own_key(policy: CachePolicy, exchange: Exchange) -> str | bytes | None:
    """Return what the app makes of a request; None as well where it makes nothing that can be a key."""
    if policy.key is None:
        return None
    try:
        own = policy.key(exchange)
        if own is None or isinstance(own, str | bytes):
            return own
        why = f"gave a {type(own).__name__}; allowed are text, bytes and None"
    except Exception as error:  # what it says may be the client's, or a secret
        why = f"raised {type(error).__name__}"
    _warnings.tell("not-cached", f"{policy.where}: nothing is kept where its key cannot be made: it {why}")
    return None


def named_tags(tags: tuple[str, ...], user: Any) -> tuple[str, ...] | None:
    """Put the user into tags that have a place for him; None where that makes no tags."""
    try:
        values = {} if user is None else {"user": user}
        return tuple(expand(tag, values) for tag in tags)
    except (ValueError, ConfigurationError):  # as well of what stands in Redis
        return None


def divided_tags(tags: tuple[str, ...], user: Any) -> tuple[list[str], str]:
    """Put the user into tags; return what that makes tags of, and why it makes none of others, empty for no others.

    The reason names what the app has written, never a value: those are a client's.
    """
    made: list[str] = []
    missing: set[str] = set()
    is_unfit = False
    for tag in tags:
        named = named_tags((tag,), user)
        if named is not None:
            made += named
        elif wanted := {f"{{{name}}}" for name in names_in(tag) if name != "user" or user is None}:
            missing |= wanted
        else:
            is_unfit = True
    if missing:
        return made, f"its tags have no text for {', '.join(sorted(missing))}"
    return made, "its tags have values that make no tags" if is_unfit else ""
