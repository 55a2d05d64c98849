"""`CSRF`: refuses what another site makes a browser send with the cookie of its session. Pure.

An unsafe request must come from a trusted origin by what the browser says, and must show that its page could read
something of the session: a token, which is the HMAC of the session's handle, masked anew for each page.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from ..core.checks import several
from ..core.client_ip import TrustedProxies
from ..core.csrf_token import fits
from ..core.exchange import Exchange
from ..core.guard import Guard, OnRefused, refusal_faults
from ..core.origin import SAFE_METHODS, is_cross_origin, origin_faults
from ..core.problem import problem, unavailable
from ..core.steps import Admission, Answer, Body, Pass, Step, Wait
from ..errors import BodyTooLarge, ConfigurationError, WaitTimeout
from .events import SecurityEvents, events_faults
from .forgery import ITS_TURN, record_forgery
from .forms import form_field, is_form
from .lazy import LazySession, Loading
from .presence import Presence
from .session import Session
from .tokens import CSRFToken, session_of
from .user import SessionUser

#: Why a request is refused, for its sender: none of it helps a forger, who cannot read the response.
_ELSEWHERE = "it comes from another origin"
_UNFIT = "its token does not fit the session; it may be one from before a login"
_ALONE = "no session guard stands outside of this one, so that the server cannot check any token"

#: Seconds, more than a manager's `timeout` can be, which is what bounds the reading of a session.
_LONGEST = 65.0


class CSRF(Guard):
    """Protect sessions against cross-site request forgery; stands behind `Sessions`.

    GET, HEAD, OPTIONS and TRACE pass, and so must change nothing. Other methods and WebSocket handshakes are refused
    where the browser says that they come from elsewhere (W3C Fetch Metadata §2.1, RFC 6454 §7), except from `origins`,
    whole ones such as `https://app.example.com`. Requests with a session must also bring a token, as `header` or, if
    `field` names one, as a field of a form (urlencoded or multipart) of at most `max_body` bytes. A form is read when
    the guards before have passed, and the app gets it all the same; guards behind then ask in a round trip of their
    own, so let this one stand last. The app finds tokens in `scope["csrf_token"]`, see `CSRFToken`. A browser's
    WebSocket can carry none, and is known by its Origin alone.

    `key`: a secret of at least 16 bytes that tokens are made with; one or several. The first signs, all verify: add a
    new one behind, put it in front once every process has it, and take the old one away when no page that was made with
    it is open any more. `bearer_exempt`: lets pass what `JWTAuth` before it has authenticated by an Authorization
    header, which no browser attaches by itself. Refusals are a 403 `csrf_failed` whose detail tells what failed.
    Without a session guard outside all unsafe requests are refused, but on paths that are exempt from sessions.
    `events`: records refusals where the session has a user, one a minute for each, and one a day where a fifth of the
    user's newest events are such; `trusted_proxies` says whose `X-Forwarded-For` is believed there. That alone asks
    Redis. Raises `ConfigurationError`.

    A session's new id means new tokens: while the former id can still be read, its tokens fit requests that come with
    it, and no others, since whoever knew a session before its login may know them. A session that is lazy and was not
    loaded has the tokens of its cookie; an unsafe request without one has it read at once, before it may pass.
    """

    kind = "csrf"
    unique = True
    needs = frozenset(("session_id",))  # known before the session is: refusals leave no trace of the guards behind

    def __init__(
        self,
        key: str | bytes | Iterable[str | bytes] = (),
        *,
        header: str = "x-csrf-token",
        field: str | None = None,
        max_body: int = 65_536,
        origins: Iterable[str] = (),
        bearer_exempt: bool = False,
        events: SecurityEvents | None = None,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        on_refused: OnRefused | None = None,
        name: str = "csrf",
    ) -> None:
        given = (key,) if isinstance(key, str | bytes) else tuple(key)
        secrets = tuple(one.encode() if isinstance(one, str) else one for one in given)
        trusted = several(origins)
        ConfigurationError.raise_for(
            [
                *_key_faults(secrets),
                *_faults(header, field, max_body),
                *origin_faults(trusted),
                *refusal_faults(on_refused),
            ]
        )
        self.concern(name, exempt, exempt_preflight, on_refused)
        self._keys = secrets
        self._header = header.lower().encode()
        self._field = field.encode() if field is not None else None
        self._max_body = max_body
        self._origins = frozenset(trusted)
        self._bearer_exempt = bearer_exempt
        self._events = events
        self._presence = Presence("unsafe requests are refused")
        self._proxies = TrustedProxies.of(trusted_proxies)

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag."""
        return events_faults(self._events, tagged)

    def admit(self, exchange: Exchange) -> Admission:
        """Check the origin, then the token; what the header shows is decided in the first round."""
        if self._events is not None:
            self._events.check(exchange.keys)
        if self._is_safe(exchange):
            return self.exempted(exchange)
        if is_cross_origin(exchange, self._origins):
            return (yield from self._failed(exchange, "origin", _ELSEWHERE))
        if exchange.is_websocket:
            return self.exempted(exchange)
        token, missing = self._in_header(exchange), ""
        known = exchange.facts.get("session_id")
        if known is not None:
            if self._fits(token, known.handle):
                return self.exempted(exchange)
            yield ITS_TURN  # that there is a cookie does not mean that there is a session
        session = session_of(exchange)
        if session is None:
            return self._without_session(exchange)
        is_lazy = session.__class__ is LazySession
        if token is None and (is_lazy or session.record is not None):
            token, missing = yield from self._in_body(exchange)
        verdict = (yield from self._unloaded(exchange, session, token)) if is_lazy else None
        if verdict is not None:
            return verdict
        if session.record is None:
            return self.exempted(exchange)  # nobody's: a forger could as well send it himself
        handles = (session.record.id.handle, session.record.successor)
        is_valid = any(self._fits(token, handle) for handle in handles)
        return self.exempted(exchange) if is_valid else (yield from self._failed(exchange, "token", missing or _UNFIT))

    def _without_session(self, exchange: Exchange) -> Pass | Answer:
        """Let pass what has no session by design; refuse where nobody makes sessions: nothing can be checked there."""
        return self._refusal(exchange, _ALONE) if self._presence.is_missing(self, exchange) else self.exempted(exchange)

    def _unloaded(
        self, exchange: Exchange, session: Session, token: bytes | None
    ) -> Generator[Step, Any, Pass | Answer | None]:
        """Let pass what shows a token of its cookie; else load the session, for not looked for is not absent.

        Returns the verdict, None where the session is there to be judged by.
        """
        if self._fits(token, session.handle):
            return self.exempted(exchange)
        try:
            is_loaded = yield Wait(Loading(session), _LONGEST)
        except WaitTimeout:
            is_loaded = False
        return None if is_loaded else self.refuse(exchange, unavailable("The session cannot be read now."))

    def exempted(self, exchange: Exchange) -> Pass:
        """Let it pass; templates find their token."""
        return Pass(scope={"csrf_token": CSRFToken(self._keys[0], exchange)})

    def _fits(self, token: bytes | None, handle: bytes | None) -> bool:
        return any(fits(key, token, handle) for key in self._keys)

    def _is_safe(self, exchange: Exchange) -> bool:
        if exchange.is_websocket:
            return False
        return exchange.method in SAFE_METHODS or (self._bearer_exempt and _is_bearer(exchange))

    def _failed(self, exchange: Exchange, reason: str, detail: str) -> Generator[Step, Any, Answer]:
        if self._events is not None:
            if "session_id" in exchange.facts and "session" not in exchange.facts:
                yield ITS_TURN
            yield from record_forgery(self._events, exchange, self._proxies, reason)
        return self._refusal(exchange, detail)

    def _refusal(self, exchange: Exchange, detail: str) -> Answer:
        return self.refuse(exchange, problem(403, "csrf_failed", f"The CSRF check of the request failed: {detail}."))

    def _in_header(self, exchange: Exchange) -> bytes | None:
        """Return the token of the header; two are as good as a wrong one."""
        found = exchange.headers(self._header)
        return b",".join(found) if found else None

    def _in_body(self, exchange: Exchange) -> Generator[Step, Any, tuple[bytes | None, str]]:
        """Return the token of the form, or None and why there is none."""
        content_type = exchange.header(b"content-type") or b""
        missing = f"it shows no token in the header {self._header.decode()}"
        if self._field is None:
            return None, missing
        if not is_form(content_type):
            return None, f"{missing}, and bodies that are no forms are not looked into"
        try:
            body: bytes = yield Body(self._max_body)
        except BodyTooLarge:
            return None, f"{missing}, and forms of more than {self._max_body} bytes are not looked into"
        token = form_field(content_type, body, self._field)
        return token, "" if token is not None else f"{missing} or the form's field {self._field.decode()}, once"

    def __repr__(self) -> str:
        return f"<CSRF {self.name}: {self._header.decode()}>"


def _is_bearer(exchange: Exchange) -> bool:
    """Tell whether a guard before this one knows the user by an Authorization header, and not by the session."""
    user = exchange.facts.get("user")
    if isinstance(user, SessionUser) or not getattr(user, "is_authenticated", False):
        return False
    return any(field.strip()[:7].lower() == b"bearer " for field in exchange.headers(b"authorization"))


def _key_faults(keys: Sequence[bytes]) -> list[str]:
    option = "key (GUARD_CSRF_KEY, GUARD_CSRF_SECOND_KEY)"
    faults = [] if keys else [f"{option}: none given; at least one is needed"]
    for place, key in enumerate(keys, 1):
        first = keys.index(key) + 1
        if len(key) < 16:
            faults.append(f"{option}: number {place} has {len(key)} bytes; allowed are 16 and more")
        elif first != place:
            faults.append(f"{option}: number {place} is the same as number {first}")
    return faults


def _faults(header: str, field: str | None, max_body: int) -> list[str]:
    faults = []
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header):
        faults.append(f"header: {header!r} given; allowed are names of header fields (RFC 9110 §5.1)")
    if field is not None and (not field or not field.isprintable() or '"' in field):
        faults.append(f"field (GUARD_CSRF_FIELD): {field!r} given; allowed are printable characters without quotes")
    if not 256 <= max_body <= 16_777_216:
        faults.append(f"max_body: {max_body} given; allowed are 256 to 16777216 bytes")
    return faults
