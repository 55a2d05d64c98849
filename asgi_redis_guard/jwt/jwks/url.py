"""Which URLs keys may be fetched from: HTTPS, and nothing in them that is secret or ambiguous. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))

#: OpenID Connect Discovery 1.0 §4: what stands behind an issuer to ask where its keys are.
_DESCRIPTION = "/.well-known/openid-configuration"


def url_faults(option: str, url: object, loopback_http: bool) -> list[str]:
    """What is wrong with a URL to fetch keys from."""
    allowed = "allowed is an https:// URL without user, password and fragment"
    if not isinstance(url, str):
        return [f"{option}: {url!r} given; {allowed}"]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return [f"{option}: a URL given that cannot be read; {allowed}"]
    if "@" in parts.netloc:
        return [f"{option}: a URL with a user or a password given; {allowed}"]
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`{|}') or "#" in url:
        return [f"{option}: {url!r} given; {allowed}"]
    if parts.path.rstrip("/").endswith(_DESCRIPTION):
        issuer = url.partition(_DESCRIPTION)[0]
        return [f"{option}: the URL of an issuer's description given; issuer={issuer!r} finds it"]
    if parts.scheme == "https" and host:
        return []
    if parts.scheme == "http" and host in _LOOPBACK:
        return [] if loopback_http else [f"{option}: {url!r} given; http:// asks for loopback_http=True, for tests"]
    return [f"{option}: {url!r} given; {allowed}"]


def is_loopback(url: str) -> bool:
    """Tell whether a URL that is allowed leads to this host: no proxy stands in between."""
    return urlsplit(url).hostname in _LOOPBACK
