"""From settings to what this room is made of: `JWTAuth` with its keys and its blacklist, and a token service.

Law: nothing here decides what a value may be; the guard and the service do. Which options exclude each other where
they stand in one environment is said here, for there nobody sees a call with both. No key appears in a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import SecretStr

from ..errors import ConfigurationError
from ..redis.manager import RedisManager
from ..settings import Settings, variable_of
from .guard import JWTAuth
from .jwks import JWKSKeys
from .middleware import JWTAuthOptions
from .refresh_token import RefreshKeys
from .revocation import RevocationList
from .signing import KeyRing, SigningKey
from .token_options import Options

_Made = TypeVar("_Made")

#: What guard and service have in common, behind `jwt_`.
_OF_MIRRORS = ("max_lifetime", "max_stale", "max_entries")

#: What tells whose tokens a guard lets through, behind `jwt_`.
_WHOSE = ("key", "jwks_url", "discovery", "issuers", "issuer", "algorithms")

#: Options of `TokenService` that have the same name in the settings, behind `token_`.
_SAME_NAMES = (
    *("issuer", "audience", "client", "access_ttl", "refresh_ttl", "lifetime", "grace"),
    *("max_replays", "leeway", "max_size", "by_issuer"),
)


def auth_of(settings: Settings, redis: RedisManager | str | None = None) -> JWTAuth:
    """Return the guard that `GUARD_JWT_…` describes; `redis` is that of its stack. Raises `ConfigurationError`.

    Where nothing is told of keys and issuers, it is the guard of the service that `GUARD_TOKEN_…` describes.
    Faults begin with the name of the option, without `jwt_`.
    """
    ConfigurationError.raise_for([*_key_faults(settings), *_blacklist_faults(settings)])
    if settings.token_key is not None and not any(getattr(settings, f"jwt_{name}") for name in _WHOSE):
        return _guard_of_service(settings, redis)
    keys, options = _published(settings), _options(settings)
    options["revocation"] = settings.jwt_revocation
    if settings.jwt_mode == "mirror":
        several_issuers = keys is not None and len(keys.issuers) > 1
        options["revocation"] = _mirrored(settings, redis, by_issuer=several_issuers)
    if keys is not None:
        options["keys"] = keys
    else:
        options["key"] = settings.jwt_key.get_secret_value() if settings.jwt_key else ()
        options["algorithms"], options["issuer"] = settings.jwt_algorithms, settings.jwt_issuer
    return JWTAuth(**options)


def _guard_of_service(settings: Settings, redis: RedisManager | str | None) -> JWTAuth:
    """Return the guard of the service that is described; of what it knows by itself, only what was told counts."""
    from .service import TokenService  # it is described here

    told: dict[str, Any] = {
        name: value for name, value in _options(settings).items() if f"jwt_{name}" in settings.model_fields_set
    }
    if not settings.jwt_revocation:
        told["revocation"] = False
    return TokenService.from_settings(settings, redis).guard(**{"exempt": settings.exempt, **told})


def _options(settings: Settings) -> JWTAuthOptions:
    """Return what is told to a guard whosever tokens it lets through."""
    return {
        "audience": settings.jwt_audience or None,
        "leeway": settings.jwt_leeway,
        "required": settings.jwt_required,
        "typ": settings.jwt_typ,
        "scopes": settings.jwt_scopes,
        "cookie": settings.jwt_cookie,
        "origins": settings.jwt_origins,
        "query": settings.jwt_query,
        "subprotocol": settings.jwt_subprotocol,
        "exempt": settings.exempt,
        "optional": settings.jwt_optional,
        "keep_sockets": settings.jwt_keep_sockets,
        "legacy": settings.jwt_legacy,
        "without_jti": settings.jwt_without_jti,
        "max_lifetime": settings.jwt_max_lifetime,
        "on_outage": settings.jwt_on_outage,
        "max_age": settings.jwt_max_age,
        "max_size": settings.jwt_max_size,
        "cache_size": settings.jwt_cache_size,
        "realm": settings.jwt_realm,
    }


def _published(settings: Settings) -> JWKSKeys | None:
    """Return the keys that others publish, if the settings say where; the issuers stand there as well."""
    if not (settings.jwt_jwks_url or settings.jwt_discovery or settings.jwt_issuers):
        return None
    try:
        return JWKSKeys(
            settings.jwt_issuers or settings.jwt_jwks_url,
            issuer=settings.jwt_issuer,
            algorithms=settings.jwt_algorithms,
            lifetime=settings.jwt_jwks_lifetime,
            longest=settings.jwt_jwks_longest,
            stale_if_error=settings.jwt_jwks_stale_if_error,
            cooldown=settings.jwt_jwks_cooldown,
            timeout=settings.jwt_jwks_timeout,
            max_size=settings.jwt_jwks_max_size,
            max_keys=settings.jwt_jwks_max_keys,
            loopback_http=settings.jwt_jwks_loopback_http,
        )
    except ConfigurationError as error:
        raise ConfigurationError(*(_of_published(fault, settings) for fault in error.faults)) from None


def _of_published(fault: str, settings: Settings) -> str:
    """Name the setting that a fault of `JWKSKeys` is about: some of its options are called as others are."""
    option, _, rest = fault.partition(":")
    if option in ("url", "issuer") and settings.jwt_issuers:
        return f"issuers:{rest}"
    return f"{option}:{rest}" if option in ("issuer", "algorithms", "httpx") else f"jwks_{option}:{rest}"


def _key_faults(settings: Settings) -> list[str]:
    """What is wrong with how the keys, and whose they are, were told."""
    told = {
        "key": settings.jwt_key is not None,
        "jwks_url": settings.jwt_jwks_url is not None,
        "discovery": settings.jwt_discovery,
        "issuers": bool(settings.jwt_issuers),
    }
    given = [name for name, is_given in told.items() if is_given]
    faults = [f"{given[0]}: given beside {_variables(given[1:])}; allowed is one of them"] if len(given) > 1 else []
    if settings.jwt_issuers and settings.jwt_issuer is not None:
        faults.append(f"issuer: given beside {_variables(['issuers'])}; allowed is one of them")
    if settings.jwt_discovery and settings.jwt_issuer is None:
        faults.append(f"discovery: true given, but nobody to ask; {_variables(['issuer'])} is needed")
    return faults


def _variables(options: Iterable[str]) -> str:
    return ", ".join(str(variable_of(f"jwt_{option}")) for option in options)


def _blacklist_faults(settings: Settings) -> list[str]:
    mirrored = settings.jwt_mode == "mirror"
    if mirrored and not settings.jwt_revocation:
        return [f"mode: 'mirror' given, but {_variables(['revocation'])} is false; leave one of the two out"]
    if settings.jwt_on_outage == "last_known" and not mirrored:
        return [f"on_outage: 'last_known' given; it needs {_variables(['mode'])}=mirror"]
    return []


def _mirrored(settings: Settings, redis: RedisManager | str | None, *, by_issuer: bool) -> RevocationList:
    """Return the list that guard and service share a mirror of, for each asks for one with the same options."""
    return RevocationList(
        RedisManager.shared(settings) if redis is None else redis,
        max_lifetime=settings.jwt_max_lifetime,
        by_issuer=by_issuer,
        mode="mirror",
        max_stale=settings.jwt_max_stale,
        max_entries=settings.jwt_max_entries,
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
            told["revocation"] = _mirrored(settings, own, by_issuer=by_issuer)
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
