"""What is kept, and for how long: the rules of the two profiles. Pure.

`http`: the response's own header fields say it, to a shared cache (RFC 9111 §3, §4.2). `app`: the app says it, by
`@cached`, by a `ttl` for all, or by a targeted field (RFC 9213); what forbids a shared cache to keep something forbids
it here as well. Neither keeps an answer to somebody in particular for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core.asgi import Headers
from ..core.exchange import Exchange
from .credentials import has_certificate, is_somebody, speaks_for_somebody, was_read
from .directives import NOTHING, CacheControl, request_control
from .entry import Entry
from .freshness import control_of, freshness
from .groups import groups_of
from .outside import outside
from .plan import Plan, Refusal, Ruling
from .policy import METHODS, CachePolicy
from .storing import is_of_use, refusal, storable_headers
from .vary import vary_names


class Answered(NamedTuple):
    """A response at its head, and what it answers. Times are seconds since the epoch on this host's clock.

    `inside`: what the guards of stacks further in have found out.
    """

    exchange: Exchange
    status: int
    headers: Headers
    trailers: bool
    scope: Any
    policy: CachePolicy | None
    tags: tuple[str, ...]
    asked_at: float
    received_at: float
    inside: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What both profiles share. `default` is what counts where nothing is declared."""

    targets: tuple[bytes, ...]
    credentials: frozenset[bytes]
    max_body: int
    default: CachePolicy | None = None
    store_cookies: bool = False
    heuristic: bool = True
    keep: float = 0.0
    is_http: bool = False
    hears_clients: bool = True

    def judge(self, answered: Answered) -> Ruling:
        """Decide on a response."""
        if answered.trailers or is_stream(answered.headers):
            return Refusal("stream")
        control, targeted = control_of(answered.headers, self.targets)
        policy = answered.policy or (self.default if not targeted else None)
        if policy is not None and (answered.policy is not None or not self.is_http):
            return self._by_policy(answered, policy, control)
        if self.is_http or targeted:
            return self._by_headers(answered, control, targeted)
        return Refusal("undeclared", idle=True)

    def _by_headers(self, answered: Answered, control: CacheControl, targeted: bool) -> Ruling:
        """RFC 9111 §3, and what belongs to somebody (`speaks_for_somebody`) only where it is said to be public."""
        exchange, status, headers = answered.exchange, answered.status, answered.headers
        asked = exchange.scope["headers"]
        names = vary_names(headers)
        why = refusal(
            asked,
            self._asked(answered),
            status,
            headers,
            control,
            targeted=targeted,
            store_cookies=self.store_cookies,
            credentials=self.credentials,
        )
        if why is not None or names is None or status == 206:
            return Refusal(why or ("vary" if names is None else "status"))
        if not control.public and _is_known(exchange, answered.scope, answered.inside):
            return Refusal("personal", warn=_personal("the response says public"))
        fresh = freshness(
            status, headers, control, targeted, asked_at=answered.asked_at, received_at=answered.received_at
        )
        if (fresh.heuristic and not self.heuristic) or not is_of_use(headers, fresh):
            return Refusal("no_freshness")
        return Plan(
            lifetime=fresh.lifetime,
            headers=storable_headers(headers, control, store_cookies=self.store_cookies),
            age=fresh.age,
            swr=fresh.swr,
            sie=fresh.sie,
            keep=self.keep,
            must_validate=fresh.must_validate,
            never_stale=fresh.never_stale,
            heuristic=fresh.heuristic,
            public=control.public,
            names=names,
            tags=(*answered.tags, *groups_of(exchange.scope, headers)),
            max_body=self.max_body,
        )

    def late(
        self, plan: Plan, exchange: Exchange, scope: Any, inside: Sequence[Mapping[str, Any]] = ()
    ) -> Refusal | None:
        """Refuse at the end what turned out after its head to be somebody's: a session was read while it was sent."""
        if (
            plan.public
            or (plan.private and is_somebody(exchange.fact("user")))
            or not _is_known(exchange, scope, inside)
        ):
            return None
        return Refusal("personal", warn=_personal("public=True or user_aware=True", _LATE))

    def _asked(self, answered: Answered) -> CacheControl:
        """What the client asks for, as far as clients are heard."""
        return request_control(answered.exchange.scope["headers"]) if self.hears_clients else NOTHING

    def is_max_stale_allowed(self, entry: Entry) -> bool:
        """Tell whether clients that ask for it may get a stored response stale (RFC 9111 §4.2.4, §5.2.2.10)."""
        control, _ = control_of(entry.headers, self.targets)
        return not entry.never_stale and control.s_maxage is None

    def _by_policy(self, answered: Answered, policy: CachePolicy, control: CacheControl) -> Ruling:
        """What was declared, as far as the response itself does not forbid it."""
        headers = answered.headers
        fields = {name for name, _ in headers}
        names = vary_names(headers)
        said = _said(headers)
        if answered.status not in policy.statuses:
            return Refusal("status")
        if answered.exchange.method not in policy.methods & METHODS:
            return Refusal("method", idle=True)
        if b"set-cookie" in fields or b"content-range" in fields:
            return Refusal("set_cookie" if b"set-cookie" in fields else "content_range")
        if names is None:
            return Refusal("vary")
        if control.no_store or control.no_cache or said.no_store or self._asked(answered).no_store:
            return Refusal("no_store")
        if (control.private or said.private) and not policy.user_aware:
            return Refusal("private")
        whose = self._whose(answered, policy, control)
        if whose is not None:
            return whose
        return Plan(
            lifetime=policy.ttl,
            headers=outside(storable_headers(headers, control), policy),
            swr=policy.swr,
            sie=policy.sie,
            private=policy.user_aware,
            public=policy.public or control.public,
            names=names | {*policy.vary, *_pseudo(policy)},
            tags=(*answered.tags, *groups_of(answered.exchange.scope, headers)),
            max_body=self.max_body if policy.max_body is None else policy.max_body,
            client_ttl=policy.client_ttl if b"cache-control" not in fields else None,
            policy=policy,
        )

    def _whose(self, answered: Answered, policy: CachePolicy, control: CacheControl) -> Refusal | None:
        """Refuse what is for somebody under a policy for everybody, and for a user whom nobody has verified."""
        if policy.public or control.public:
            return None
        exchange, scope = answered.exchange, answered.scope
        whose = speaks_for_somebody(exchange, scope, self.credentials) or _by_cookie(answered, policy)
        if not whose and _is_known_inside(answered.inside):
            whose = "a request by somebody whom a stack further in knows"
        if not policy.user_aware:
            return Refusal("personal", warn=_personal("public=True or user_aware=True", whose)) if whose else None
        if is_somebody(exchange.fact("user")):
            return None
        return Refusal("unverified", warn=_UNVERIFIED.format(whose)) if whose else None


def _is_known(exchange: Exchange, scope: Any, inside: Sequence[Mapping[str, Any]]) -> bool:
    """Whether somebody is known, Authorization apart: of that one the standard has rules of its own (§3.5)."""
    users = (exchange.fact("user"), scope.get("user") if scope is not None else None)
    session = scope.get("session") if scope is not None else None
    if has_certificate(exchange.scope) or _is_known_inside(inside):
        return True
    return any(map(is_somebody, users)) or was_read(exchange.fact("session") if session is None else session)


def _is_known_inside(inside: Sequence[Mapping[str, Any]]) -> bool:
    return any(is_somebody(facts.get("user")) or was_read(facts.get("session")) for facts in inside)


def is_stream(headers: Headers) -> bool:
    """Tell whether a response is a stream of events, which never ends."""
    return any(name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers)


def _said(headers: Headers) -> CacheControl:
    """Cache-Control itself, which forbids although a targeted field is there: the app profile has no wish to argue."""
    return control_of(headers, ())[0]


def _pseudo(policy: CachePolicy) -> Iterable[bytes]:
    if policy.user_aware:
        yield b":user"
    if policy.key is not None:
        yield b":key"


def _by_cookie(answered: Answered, policy: CachePolicy) -> str:
    """Return what says that a response was made for somebody's cookies: it varies by them, and nobody has declared so.

    Sessions further in say nothing else that could be seen from here.
    """
    if b"cookie" in policy.vary or b"cookie" not in (vary_names(answered.headers) or ()):
        return ""
    return "a request with cookies, by which it varies," if answered.exchange.header(b"cookie") is not None else ""


_LATE = "a request whose user or session was looked at while the body was sent"
_UNVERIFIED = (
    "{}, of whom no guard in front knows a verified user, is not kept: nobody has logged in, or the cache is to stand "
    "behind JWTAuth or Sessions"
)


def _personal(way: str, whose: str = "a request by somebody") -> str:
    return f"the answer to {whose} is served, and not kept: unless {way}, it may be for nobody else"
