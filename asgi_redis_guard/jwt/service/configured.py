"""From settings to a `TokenService`, and to the blacklist that it shares with a guard.

Law: nothing here decides what a value may be; the service does. No key appears in a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import SecretStr

from ...errors import ConfigurationError
from ...redis.manager import RedisManager
from ...settings import Settings, variable_of
from ..revocation.revocation_list import RevocationList
from ..signing import KeyRing, SigningKey
from .options import Options
from .refresh_token import RefreshKeys

_Made = TypeVar("_Made")

#: Options of `TokenService` that have the same name in the settings, behind `token_`.
_SAME_NAMES = (
    *("issuer", "audience", "client", "access_ttl", "refresh_ttl", "lifetime", "grace"),
    *("max_replays", "leeway", "max_size", "by_issuer", "wait_replicas"),
)

#: What guard and service have in common, behind `jwt_`.
_OF_MIRRORS = ("max_lifetime", "max_stale", "max_entries")


def mirrored(
    settings: Settings, redis: RedisManager | str | None, *, by_issuer: bool, wait_replicas: int = 0
) -> RevocationList:
    """Return the list that guard and service share a mirror of, for each asks for one with the same options."""
    return RevocationList(
        RedisManager.shared(settings) if redis is None else redis,
        max_lifetime=settings.jwt_max_lifetime,
        by_issuer=by_issuer,
        mode="mirror",
        max_stale=settings.jwt_max_stale,
        max_entries=settings.jwt_max_entries,
        wait_replicas=wait_replicas,
    )


def service_of(
    make: Callable[..., _Made], settings: Settings, redis: RedisManager | str | None, options: Mapping[str, Any]
) -> _Made:
    """Return the token service that `GUARD_TOKEN_…` describes, as `make` makes it; `options` of the app's win.

    Raises `ConfigurationError`, with the variables in its faults.
    """
    own = RedisManager.shared(settings) if redis is None else RedisManager.of(redis)
    try:
        told: dict[str, Any] = {name: getattr(settings, f"token_{name}") for name in _SAME_NAMES}
        if "refresh_keys" not in options:
            told["refresh_keys"] = _secrets(settings.token_refresh_key, settings.token_second_refresh_key)
        if "revocation" not in options and settings.jwt_mode == "mirror":
            by_issuer = options.get("by_issuer", settings.token_by_issuer)
            waits = options.get("wait_replicas", settings.token_wait_replicas)
            told["revocation"] = mirrored(settings, own, by_issuer=by_issuer, wait_replicas=waits or 0)
        given = {"keys": None, **told, **options}
        _check_all(settings, given)
        keys = given.pop("keys")
        return make(own, _ring(settings) if keys is None else keys, **given)
    except ConfigurationError as error:
        raise ConfigurationError(*map(_of_service, error.faults)) from None


def _check_all(settings: Settings, given: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for what is wrong with keys and options: all of it, not what is looked at first."""
    plain = {name: value for name, value in given.items() if name in _SAME_NAMES}
    checks: list[Callable[[], object]] = [lambda: Options(**plain), lambda: RefreshKeys(given["refresh_keys"])]
    if given["keys"] is None:
        checks.insert(0, lambda: _ring(settings))
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigurationError as error:
            faults += error.faults
    ConfigurationError.raise_for(faults)


def _secrets(*given: SecretStr | None) -> list[str]:
    return [secret.get_secret_value() for secret in given if secret is not None]


def _ring(settings: Settings) -> KeyRing:
    """Return the keys that sign and verify; each fault names its own."""
    made: dict[str, list[SigningKey]] = {}
    faults: list[str] = []
    for name in ("key", "older_key", "upcoming_key"):
        try:
            texts = _secrets(getattr(settings, f"token_{name}"))
            made[name] = [SigningKey(text, algorithm=settings.token_algorithm) for text in texts]
        except ConfigurationError as error:
            faults += [f"{name}:{fault[4:]}" if fault.startswith("key:") else fault for fault in error.faults]
    if not made.get("key", True):
        faults.append("key: none given; a secret, a private key as PEM text or a private JWK is needed")
    ConfigurationError.raise_for(list(dict.fromkeys(faults)))
    return KeyRing(*made["key"], *made["older_key"], upcoming=made["upcoming_key"])


def _of_service(fault: str) -> str:
    """Name the variable of the option that a fault begins with."""
    option, _, rest = fault.partition(":")
    name = {"refresh_keys": "refresh_key", "keys": "key"}.get(option, option)
    variable = variable_of(f"token_{name}") or (variable_of(f"jwt_{name}") if name in _OF_MIRRORS else None)
    return fault if variable is None else f"{option} ({variable}):{rest}"
