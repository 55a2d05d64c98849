"""Cross-origin protection for credentials that a browser attaches by itself.

The checks of Fetch Metadata (W3C, §2.1 Sec-Fetch-Site) and, for browsers without it, of the Origin header (RFC 6454
§7). A client that sends neither is no browser, and attaches nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from .exchange import Exchange

#: Methods that change nothing (RFC 9110 §9.2.1).
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


#: RFC 6454 §6.2: how an origin is written; no path, not even a slash.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


def origin_faults(origins: Iterable[str]) -> list[str]:
    """What is wrong with trusted origins: one that no browser would ever send trusts nobody."""
    return [
        f"origins: {origin!r} given; allowed are whole origins, such as 'https://app.example.com'"
        for origin in origins
        if not _ORIGIN.fullmatch(origin)
    ]


def is_cross_origin(exchange: Exchange, trusted: frozenset[str] = frozenset()) -> bool:
    """Tell whether another site may be behind this exchange: an unsafe method or a WebSocket handshake from elsewhere.

    `trusted` holds whole origins, such as `https://app.example.com`, that may call from another site.
    """
    if not exchange.is_websocket and exchange.method in SAFE_METHODS:
        return False
    origin = (exchange.header(b"origin") or b"").decode("latin-1")
    if origin and origin in trusted:
        return False
    site = exchange.header(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    if not origin:
        return False
    host = (exchange.header(b"host") or b"").decode("latin-1").lower()
    try:
        parts = urlsplit(origin)
        # Behind a proxy the server may not know of TLS; where it does, a page that came without it is another's.
        downgraded = parts.scheme in ("http", "ws") and exchange.scope.get("scheme") in ("https", "wss")
        return not host or downgraded or parts.netloc.lower() != host
    except ValueError:
        return True
