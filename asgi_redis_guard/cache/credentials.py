"""Who a response may be for: what says that a request speaks for somebody. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.asgi import Scope
from ..core.exchange import Exchange

#: Request fields that carry somebody's secret, or in which proxies that let users in say who it is.
CREDENTIALS = frozenset(
    (
        *(b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-auth-token", b"x-access-token"),
        *(b"remote-user", b"x-remote-user", b"x-forwarded-user", b"x-forwarded-email", b"x-forwarded-access-token"),
        *(b"x-auth-request-user", b"x-auth-request-email", b"x-auth-request-access-token", b"x-authenticated-user"),
        *(b"cf-access-jwt-assertion", b"x-goog-iap-jwt-assertion", b"x-goog-authenticated-user-email"),
        *(b"x-amzn-oidc-data", b"x-amzn-oidc-identity", b"x-ms-client-principal", b"x-ms-client-principal-id"),
        *(b"x-client-cert", b"x-ssl-client-cert", b"x-forwarded-client-cert", b"x-forwarded-tls-client-cert"),
    )
)


def speaks_for_somebody(exchange: Exchange, scope: Any, credentials: Iterable[bytes]) -> str:
    """Return what says so in a word, empty if nothing does.

    `scope` is the app's: middlewares further in may have found out who it is. Until the app has answered it cannot be
    told whether it has read the session.
    """
    if shows_credentials(exchange.scope, credentials):
        return "a request with credentials"
    for user in (exchange.fact("user"), scope.get("user") if scope is not None else None):
        if is_somebody(user):
            return "a request by a verified user"
    session = scope.get("session") if scope is not None else None
    if session is None:
        session = exchange.fact("session")
    return "a request whose session was read" if was_read(session) else ""


def shows_credentials(scope: Scope, credentials: Iterable[bytes]) -> bool:
    """Tell whether a request carries somebody's secret, valid or not, or came with a certificate of its own."""
    return any(name in credentials for name, _ in scope["headers"]) or has_certificate(scope)


def has_certificate(scope: Scope) -> bool:
    """Tell whether the client has shown a certificate (the TLS extension of ASGI)."""
    tls = (scope.get("extensions") or {}).get("tls") or {}
    return bool(tls.get("client_cert_chain") or tls.get("client_cert_name"))


def is_somebody(user: Any) -> bool:
    """Tell whether a user is a verified one; that of a session that was not loaded is nobody, for nobody has asked."""
    try:
        return bool(getattr(user, "is_authenticated", user is not None))
    except Exception:  # whoever asks a session that was not loaded is told so
        return False


def identity_of(user: Any) -> Any:
    """Return by what a user is known, None where that cannot be told."""
    try:
        return getattr(user, "identity", None)
    except Exception:  # a session that was not loaded, a user without one, a database that is away
        return None


def was_read(session: Any) -> bool:
    """Tell whether the app may have looked into its session: it says so itself, or there is something in it.

    Starlette's `request.session` notes that it was read, `scope["session"]` does not. That nothing is in it is the same
    for everybody.
    """
    if session is None:
        return False
    return bool(getattr(session, "accessed", False)) or has_something(session) is True


def has_something(session: Any) -> bool | None:
    """Tell whether there is something in a session; None where it was not loaded yet."""
    try:
        return bool(session)
    except Exception:  # whoever asks a session that was not loaded is told so
        return None
