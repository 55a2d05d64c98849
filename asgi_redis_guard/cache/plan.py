"""What is to be kept of one response, as the rules of a profile decide it at its head. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.asgi import Headers
from .policy import CachePolicy


@dataclass(frozen=True, slots=True)
class Plan:
    """Keep a response.

    Times are in seconds: `lifetime` from age 0 on, `age` that it had when it came, `swr` and `sie` behind the lifetime,
    `keep` behind all of them where it can be validated. `public`: it says itself that it is for everybody. `names` are
    what its variants go by, `tags` what it is invalidated by, `headers` what is stored of the head, `policy` what was
    declared, if anything was.
    """

    lifetime: float
    headers: Headers
    age: float = 0.0
    swr: float = 0.0
    sie: float = 0.0
    keep: float = 0.0
    must_validate: bool = False
    never_stale: bool = False
    heuristic: bool = False
    private: bool = False
    public: bool = False
    names: frozenset[bytes] = frozenset()
    tags: tuple[str, ...] = ()
    max_body: int = 0
    client_ttl: float | None = None
    policy: CachePolicy | None = None


_PERSONAL = frozenset(("personal", "authorization", "unverified", "request_no_store", "set_cookie"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Do not keep it. `reason` is a short word for events.

    `idle`: nobody has asked for it to be kept; there is nothing to remember but that. `warn`: the app's author should
    know, once a route.
    """

    reason: str
    idle: bool = False
    warn: str = ""

    @property
    def is_personal(self) -> bool:
        """True where it says something of who has asked, and nothing of what others would get."""
        return self.reason in _PERSONAL


Ruling = Plan | Refusal


def fitting(ruling: Ruling, headers: Headers) -> Ruling:
    """Refuse at the head a body that says there how much too long it is; others are found out as they come."""
    if isinstance(ruling, Plan):
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and len(value) < 19 and int(value) > ruling.max_body:
                return Refusal("size")
    return ruling
