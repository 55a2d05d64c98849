"""What `JWTAuth` may ask about revocation beside its own marks: a mirror in memory, keys of other software. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from ...core.checks import is_within
from ...core.keys import Keys
from ..verify import VerifiedToken
from .questions import Questions

_NAME = re.compile(r"\{([^{}]*)\}")

#: What may stand in the key of other software.
_NAMES = ("jti", "sub", "iss")


class Blacklist(Protocol):
    """A `RevocationList`, as far as a guard knows it: what it says is what Redis would say."""

    @property
    def mode(self) -> str:
        """`remote` or `mirror`."""

    @property
    def by_issuer(self) -> bool:
        """Whether tokens go by their issuer too."""

    def look(self, keys: Keys, questions: Questions) -> bool | None:
        """Tell whether a token is revoked; None if Redis must be asked."""

    def remembers(self, keys: Keys, questions: Questions) -> bool:
        """Tell whether it is known as revoked, however long ago."""

    def recall(self, keys: Keys, questions: Questions, max_age: float) -> bool | None:
        """Tell what was known at most `max_age` seconds ago; None if nothing was."""


class LegacyKeys:
    """Keys that other software marks revoked tokens with, such as `token:blacklist:{jti}`."""

    __slots__ = ("_forms",)

    def __init__(self, forms: Iterable[str]) -> None:
        self._forms = tuple(forms)

    def of(self, token: VerifiedToken) -> tuple[bytes, ...]:
        """Return the keys that may be there for `token`; a form whose claim it lacks stands for none."""
        given = {"jti": token.token_id, "sub": token.subject, "iss": token.issuer}
        found = []
        for form in self._forms:
            if all(given[name] for name in _NAME.findall(form)):
                key = _NAME.sub(lambda name: str(given[name[1]]), form)
                found.append(key.encode("utf-8", "surrogatepass"))
        return tuple(found)


def blacklist_faults(
    revocation: bool | Blacklist, legacy: tuple[str, ...], on_outage: str, max_age: float, *, several_issuers: bool
) -> list[str]:
    """What is wrong with how a guard asks about revocation."""
    if not isinstance(revocation, bool) and not hasattr(revocation, "mode"):
        return [f"revocation: {revocation!r} given; allowed are true, false and a RevocationList"]
    faults = []
    for form in legacy:
        names = _NAME.findall(form)
        if not names or not set(names) <= set(_NAMES) or re.search(r"[{}]", _NAME.sub("", form)):
            faults.append(f"legacy: {form!r} given; allowed are keys with {{jti}}, {{sub}} or {{iss}} in them")
    mirrors = not isinstance(revocation, bool) and revocation.mode == "mirror"
    if legacy and (mirrors or revocation is False):
        what = "a mirror does not hear of those keys" if mirrors else "revocation is False"
        faults.append(f"legacy: given, but {what}; leave one of the two out")
    if on_outage not in ("closed", "open", "last_known"):
        faults.append(
            f"on_outage (GUARD_JWT_ON_OUTAGE): {on_outage!r} given; allowed are 'closed', 'open' and 'last_known'"
        )
    elif on_outage == "last_known" and not mirrors:
        faults.append("on_outage: 'last_known' given; it needs revocation=RevocationList(…, mode=\"mirror\")")
    if not is_within(max_age, 0, 86_400):
        faults.append(f"max_age: {max_age!r} given; allowed are 0 to 86400 seconds")
    if not isinstance(revocation, bool) and revocation.by_issuer is not several_issuers:
        accepted = "several issuers are accepted" if several_issuers else "there are not several issuers"
        faults.append(f"revocation: by_issuer is {revocation.by_issuer}, but {accepted}")
    return faults
