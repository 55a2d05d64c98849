"""What the options of a `JWTAuth` may be, and whose tokens they let in. Pure.

Law: no key appears in a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..core.checks import several
from ..core.guard import OnRefused, refusal_faults
from ..core.set_cookie import is_cookie_name
from ..errors import ConfigurationError
from .key_source import KeySource
from .policy import MAX_LEEWAY, lifetime_faults


def issuers_of(
    keys: KeySource | None, key: object, algorithms: object, issuer: str | Iterable[str] | None
) -> tuple[str, ...]:
    """Return whose tokens are accepted; refuses options that say again what `keys` says."""
    if keys is None:
        return several(issuer)
    if not callable(getattr(keys, "verifier", None)):
        raise ConfigurationError(f"keys: a {type(keys).__name__} given; allowed are JWKSKeys; a key is given as key=")
    given = {"key": key, "algorithms": algorithms, "issuer": keys.issuers and issuer}
    ConfigurationError.refuse_both("keys", [name for name, value in given.items() if value])
    return several(issuer) or keys.issuers


def check_options(
    others: list[str],
    cookie: str | None,
    leeway: float,
    without_jti: str,
    max_size: int,
    max_lifetime: float,
    realm: str,
    scopes: tuple[str, ...],
    on_refused: OnRefused | None,
) -> None:
    """Raise `ConfigurationError` for all that is wrong with them, `others` told too."""
    faults = [*lifetime_faults(max_lifetime), *refusal_faults(on_refused)]
    if cookie is not None and not is_cookie_name(cookie):
        faults.append(f"cookie (GUARD_JWT_COOKIE): {cookie!r} given; allowed is the name of a cookie")
    if not 0 <= leeway <= MAX_LEEWAY:
        faults.append(f"leeway (GUARD_JWT_LEEWAY): {leeway} given; allowed are 0 to {MAX_LEEWAY:g} seconds")
    if without_jti not in ("hash", "refuse"):
        faults.append(f"without_jti: {without_jti!r} given; allowed are 'hash' and 'refuse'")
    if not 256 <= max_size <= 65_536:
        faults.append(f"max_size: {max_size} given; allowed are 256 to 65536 bytes")
    if not re.fullmatch(r"[ !#-\[\]-~]*", realm):
        faults.append(
            "realm: given with quotes, backslashes or characters that are not ASCII; allowed is printable ASCII"
        )
    faults += [
        f"scopes: {scope!r} given; allowed are printable ASCII without quotes and backslashes (RFC 6749 §3.3)"
        for scope in scopes
        if not re.fullmatch(r"[!#-\[\]-~]+", scope)
    ]
    ConfigurationError.raise_for([*faults, *others])
