"""From settings to a stack: the only place that knows all guards.

`GUARD_STACK` names them, outermost first. A name that is unknown, a guard without what it needs, or no name at all is a
`ConfigurationError`: a stack that is half there would be an open door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .cache.guard import ResponseCache
from .cache.options import ResponseCacheOptions
from .core.guard import Guard
from .errors import ConfigurationError
from .idempotency.guard import Idempotency
from .jwt.configured import auth_of
from .locks.guard import RouteLock
from .ratelimit.concurrency import ConcurrencyLimit
from .ratelimit.guard import RateLimit
from .redis.manager import RedisManager
from .sessions.crypto import SessionCipher
from .sessions.csrf import CSRF
from .sessions.events import SecurityEvents
from .sessions.guard import Sessions
from .settings import Settings, variable_of


class _Shared(NamedTuple):
    """What the guards of one stack have in common: its Redis, and what they record in."""

    redis: RedisManager | str | None
    events: SecurityEvents | None


def build_stack(settings: Settings, redis: RedisManager | str | None = None) -> tuple[Guard, ...]:
    """Return the guards that `settings.stack` names; raises `ConfigurationError` with the faults of all of them.

    `redis` is that of the stack, for what they record and mirror.
    """
    faults: list[str] = []
    guards: list[Guard] = []
    if not settings.stack:
        faults.append(f"stack (GUARD_STACK): empty; name guards, outermost first, of {', '.join(_BUILDERS)}")
    shared = _Shared(redis, _events(settings, redis, faults))
    for name in settings.stack:
        build = _BUILDERS.get(name)
        if build is None:
            faults.append(f"stack (GUARD_STACK): {name!r} given; allowed are {', '.join(_BUILDERS)}")
            continue
        try:
            guards.append(build(settings, shared))
        except ConfigurationError as error:
            faults += [_with_variable(name, fault) for fault in error.faults]
    ConfigurationError.raise_for(faults)
    return tuple(guards)


def _with_variable(guard: str, fault: str) -> str:
    """Name the environment variable of the option that a fault begins with, where the guard has not named it."""
    option, colon, rest = fault.partition(":")
    prefix = _PREFIXES[guard]
    variable = variable_of(prefix + option.removeprefix(prefix)) or variable_of(option)
    return fault if variable is None else f"{option} ({variable}){colon}{rest}"


def _events(settings: Settings, redis: RedisManager | str | None, faults: list[str]) -> SecurityEvents | None:
    """Return what all guards of the stack record in, if they shall; add what is wrong to `faults`."""
    if not settings.session_events or "sessions" not in settings.stack:
        return None
    key = settings.session_key.get_secret_value() if settings.session_key else b""
    try:
        own = RedisManager.shared(settings) if redis is None else redis
        return SecurityEvents(own, retention=settings.events_retention, key=key)
    except ConfigurationError as error:
        # That of the key is told by the sessions themselves.
        faults += [_with_variable("sessions", f"events_{one}") for one in error.faults if not one.startswith("key:")]
        return None


def _jwt(settings: Settings, shared: _Shared) -> Guard:
    return auth_of(settings, shared.redis)


def _ratelimit(settings: Settings, shared: _Shared) -> Guard:
    return RateLimit(
        *settings.limits,
        key=settings.limit_key,
        algorithm=settings.limit_algorithm,
        burst=settings.limit_burst,
        timezone=settings.limit_timezone,
        rules=settings.limit_rules,
        bypass=settings.limit_bypass,
        trusted_proxies=settings.trusted_proxies,
        exempt=settings.exempt,
        on_outage=settings.limit_on_outage,
        workers=settings.limit_workers,
        draft=settings.limit_draft,
        legacy_headers=settings.limit_legacy_headers,
        shadow=settings.limit_shadow,
        changeable=settings.limit_changeable,
        statistics=settings.limit_statistics,
    )


def _concurrency(settings: Settings, shared: _Shared) -> Guard:
    if settings.concurrency_amount is None:
        raise ConfigurationError("amount: none given; say how many requests of an identity may run at once")
    return ConcurrencyLimit(
        settings.concurrency_amount,
        key=settings.concurrency_key,
        ttl=settings.concurrency_ttl,
        trusted_proxies=settings.trusted_proxies,
        exempt=settings.exempt,
    )


def _sessions(settings: Settings, shared: _Shared) -> Guard:
    return Sessions(
        session_cookie=settings.session_cookie,
        key=settings.session_key.get_secret_value() if settings.session_key else b"",
        max_age=settings.session_max_age,
        idle=settings.session_idle,
        overlap=settings.session_overlap,
        path=settings.session_path,
        domain=settings.session_domain,
        same_site=settings.session_same_site,
        https_only=settings.session_https_only,
        partitioned=settings.session_partitioned,
        persistent=settings.session_persistent,
        principal=settings.session_principal,
        origins=settings.session_origins,
        max_size=settings.session_max_size,
        max_sessions=settings.session_max_sessions,
        on_excess=settings.session_on_excess,
        trusted_proxies=settings.trusted_proxies,
        statistics=settings.session_statistics,
        events=shared.events,
        remembered=settings.session_remembered,
        lazy=settings.session_lazy,
        read_from_replicas=settings.session_read_from_replicas,
        exempt=settings.session_exempt,
        on_outage=settings.session_on_outage,
        encryption=_cipher(settings),
    )


def _cipher(settings: Settings) -> SessionCipher | None:
    if settings.session_encryption is None:
        return None
    keys = settings.session_encryption.get_secret_value()
    return SessionCipher([key.strip() for key in keys.split(",") if key.strip()], plaintext=settings.session_plaintext)


def _csrf(settings: Settings, shared: _Shared) -> Guard:
    keys = (settings.csrf_key, settings.csrf_second_key)
    return CSRF(
        [key.get_secret_value() for key in keys if key is not None],
        header=settings.csrf_header,
        field=settings.csrf_field,
        max_body=settings.csrf_max_body,
        origins=settings.csrf_origins,
        bearer_exempt=settings.csrf_bearer_exempt,
        events=shared.events,
        trusted_proxies=settings.trusted_proxies,
        exempt=settings.exempt,
    )


def _cache(settings: Settings, shared: _Shared) -> Guard:
    packed = settings.cache_compress_from
    options: ResponseCacheOptions = {
        "profile": settings.cache_profile,
        "ttl": settings.cache_ttl,
        "swr": settings.cache_swr,
        "sie": settings.cache_sie,
        "hosts": settings.cache_hosts,
        "sort_query": settings.cache_sort_query,
        "ignore_query": settings.cache_ignore_query,
        "client_control": settings.cache_client_control,
        "heuristic": settings.cache_heuristic,
        "store_cookies": settings.cache_store_cookies,
        "ranges": settings.cache_ranges,
        "max_body": settings.cache_max_body,
        "compress_from": None if packed == "never" else packed,
        "integrity_key": settings.cache_integrity_key.get_secret_value() if settings.cache_integrity_key else None,
        "wait": settings.cache_wait,
        "pass_for": settings.cache_pass_for,
        "keep": settings.cache_keep,
        "jitter": settings.cache_jitter,
        "early": settings.cache_early,
        "remembered": settings.cache_remembered,
        "memory_ttl": settings.cache_memory_ttl,
        "read_from_replicas": settings.cache_read_from_replicas,
        "invalidates_unsafe": settings.cache_invalidates_unsafe,
        "cache_status": None if settings.cache_status == "none" else settings.cache_status,
        "exempt": settings.cache_exempt,
    }
    if settings.cache_statuses:  # empty is the guard's own default, of these three
        options["statuses"] = settings.cache_statuses
    if settings.cache_credentials:
        options["credentials"] = settings.cache_credentials
    if settings.cache_targets:
        options["targets"] = settings.cache_targets
    return ResponseCache(**options)


def _lock(settings: Settings, shared: _Shared) -> Guard:
    return RouteLock(
        settings.lock_key,
        ttl=settings.lock_ttl,
        wait=settings.lock_wait,
        on_busy=settings.lock_on_busy,  # type: ignore[arg-type]  # it says itself which ones are allowed
        permits=settings.lock_permits,
        methods=settings.lock_methods,
        paths=settings.lock_paths,
        exempt=settings.lock_exempt,
        trusted_proxies=settings.trusted_proxies,
        unidentified=settings.lock_unidentified,
        on_outage=settings.lock_on_outage,
        max_body=settings.lock_max_body,
    )


def _idempotency(settings: Settings, shared: _Shared) -> Guard:
    return Idempotency(
        methods=settings.idempotency_methods,
        required=settings.idempotency_required,
        key=settings.idempotency_key,
        ttl=settings.idempotency_ttl,
        lease=settings.idempotency_lease,
        wait=settings.idempotency_wait,
        max_body=settings.idempotency_max_body,
        max_response=settings.idempotency_max_response,
        header=settings.idempotency_header,
        paths=settings.idempotency_paths,
        exempt=settings.idempotency_exempt,
        trusted_proxies=settings.trusted_proxies,
        unidentified=settings.idempotency_unidentified,
        on_outage=settings.idempotency_on_outage,
    )


#: What the names of each guard's own settings begin with.
_PREFIXES = {
    "jwt": "jwt_",
    "ratelimit": "limit_",
    "concurrency": "concurrency_",
    "sessions": "session_",
    "csrf": "csrf_",
    "cache": "cache_",
    "lock": "lock_",
    "idempotency": "idempotency_",
}

_BUILDERS: dict[str, Callable[[Settings, _Shared], Guard]] = {
    "jwt": _jwt,
    "ratelimit": _ratelimit,
    "concurrency": _concurrency,
    "sessions": _sessions,
    "csrf": _csrf,
    "cache": _cache,
    "lock": _lock,
    "idempotency": _idempotency,
}
