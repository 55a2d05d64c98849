"""From settings to a `JWTAuth` with its keys and its blacklist.

Law: nothing here decides what a value may be; the guard does. Which options exclude each other where they stand in one
environment is said here, for there nobody sees a call with both. No key appears in a fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import ConfigurationError
from ..redis.manager import RedisManager
from ..settings import Settings, variable_of
from .guard import JWTAuth
from .jwks.source import JWKSKeys
from .middleware import JWTAuthOptions
from .service.configured import mirrored
from .service.token_service import TokenService

#: What tells whose tokens a guard lets through, behind `jwt_`.
_WHOSE = ("key", "jwks_url", "discovery", "issuers", "issuer", "algorithms")


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
        options["revocation"] = mirrored(settings, redis, by_issuer=several_issuers)
    if keys is not None:
        options["keys"] = keys
    else:
        options["key"] = settings.jwt_key.get_secret_value() if settings.jwt_key else ()
        options["algorithms"], options["issuer"] = settings.jwt_algorithms, settings.jwt_issuer
    return JWTAuth(**options)


def _guard_of_service(settings: Settings, redis: RedisManager | str | None) -> JWTAuth:
    """Return the guard of the service that is described; of what it knows by itself, only what was told counts."""
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
        "tenant": settings.jwt_tenant or None,
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
