"""Writing Set-Cookie fields (RFC 6265 §4.1), and what browsers drop of them (RFC 6265bis §4.1.3). Pure."""

from __future__ import annotations

import re

from .asgi import Scope

#: RFC 6265 §4.1.1: a cookie's name is a token; its path and domain hold no separators.
_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class SetCookie:
    """Writes fields of one cookie that differ in their value and age alone. Options are not checked here."""

    __slots__ = ("_attributes", "name")

    def __init__(
        self,
        name: str,
        *,
        path: str = "/",
        domain: str | None = None,
        same_site: str = "lax",
        secure: bool = True,
        http_only: bool = True,
        partitioned: bool = False,
    ) -> None:
        self.name = name.encode()
        attributes = f"; Path={path}"
        attributes += f"; Domain={domain}" if domain is not None else ""
        attributes += "; HttpOnly" if http_only else ""
        attributes += f"; SameSite={same_site.capitalize()}"
        attributes += "; Secure" if secure else ""
        attributes += "; Partitioned" if partitioned else ""
        self._attributes = attributes.encode()

    def give(self, token: bytes, seconds: int | None) -> bytes:
        """Return the field that sets the cookie, for `seconds` or as long as the browser runs."""
        age = b"" if seconds is None else b"; Max-Age=%d" % seconds
        return b"%b=%b%b%b" % (self.name, token, age, self._attributes)

    def take(self) -> bytes:
        """Return the field that deletes the cookie."""
        return b"%b=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT%b" % (self.name, self._attributes)

    def __repr__(self) -> str:
        return f"<SetCookie {self.name.decode()}{self._attributes.decode()}>"


def is_cookie_name(name: object) -> bool:
    """Tell whether a cookie can have that name."""
    return isinstance(name, str) and bool(name) and _NAME.issuperset(name)


def place_faults(path: str, domain: str | None, same_site: str) -> list[str]:
    """What is wrong with where a cookie is sent to."""
    faults = []
    if not path.startswith("/") or not _is_plain(path):
        faults.append(f"path: {path!r} given; allowed is printable ASCII that begins with '/' and has no ';'")
    if domain is not None and (not domain or not _is_plain(domain) or " " in domain):
        faults.append(f"domain: {domain!r} given; allowed are names of hosts")
    if same_site not in ("lax", "strict", "none"):
        faults.append(f"same_site: {same_site!r} given; allowed are 'lax', 'strict' and 'none'")
    return faults


def prefix_faults(option: str, name: str, *, path: str, domain: str | None, secure: bool) -> list[str]:
    """What is wrong with a name whose prefix promises what the attributes do not hold: browsers drop that cookie.

    They compare prefixes without regard to case (RFC 6265bis §5.6).
    """
    prefix = re.match(r"__(host|secure)-", name, re.IGNORECASE)
    if prefix is None:
        return []
    faults = [] if secure else [f"{option}: {name!r} given with secure=False; allowed is a name without a prefix"]
    if prefix[1].lower() == "host" and (path != "/" or domain is not None):
        faults.append(f"{option}: {name!r} given with a path or a domain; allowed is the prefix __Secure-, or neither")
    return faults


def drops_secure(scope: Scope) -> bool:
    """Tell whether a browser will drop a Secure cookie: it came by plain HTTP, as far as anybody says.

    A proxy that says https, in X-Forwarded-Proto or Forwarded (RFC 7239 §5.4), has a client that does not. Nothing
    depends on it but a warning, so that everybody is believed.
    """
    return scope.get("scheme", "http") in ("http", "ws") and not any(
        name in (b"x-forwarded-proto", b"forwarded") and re.search(rb"\b(https|wss)\b", value.lower())
        for name, value in scope["headers"]
    )


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and ";" not in text
