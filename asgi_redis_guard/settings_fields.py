"""The options of each room that the environment can tell: their names, variables, types and defaults.

Law: fields and nothing else. What a value may be beyond its type is said by the guard or service that takes it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

OutagePolicy = Literal["open", "closed"]
JWTOutagePolicy = Literal["open", "closed", "last_known"]
BlacklistMode = Literal["remote", "mirror"]
WithoutId = Literal["hash", "refuse"]
LimitAlgorithm = Literal["gcra", "leaky", "fixed", "counter", "log", "calendar"]
LimitDraft = Literal["11", "next", "06", "none"]
LegacyHeaders = bool | Literal["seconds", "epoch"]
LimitOutagePolicy = Literal["local", "open", "closed"]
SessionOutagePolicy = Literal["closed", "anonymous"]
SessionExcess = Literal["evict_oldest", "evict_lru", "deny"]
CacheProfile = Literal["app", "http"]
Unidentified = Literal["refuse", "allow"]
SameSite = Literal["lax", "strict", "none"]
Words = Annotated[tuple[str, ...], NoDecode]
Numbers = Annotated[tuple[int, ...], NoDecode]


def _from_json(value: Any) -> Any:
    """Read what a variable says as JSON; a fault in it is one of the option like any other."""
    return json.loads(value) if isinstance(value, str) else value


Issuers = Annotated[dict[str, str | None], NoDecode, BeforeValidator(_from_json)]
Rules = Annotated[dict[str, str | tuple[str, ...] | None], NoDecode, BeforeValidator(_from_json)]


def told_by(*names: str) -> Any:
    """Return the variables that an option is read from, the first of them that is set."""
    return AliasChoices(*names)


class TokenFields(BaseModel):
    """Of `JWTAuth`, its `JWKSKeys` and `RevocationList`, and of `TokenService`."""

    jwt_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_JWT_KEY"))
    jwt_jwks_url: str | None = Field(None, validation_alias=told_by("GUARD_JWT_JWKS_URL"))
    jwt_discovery: bool = Field(False, validation_alias=told_by("GUARD_JWT_DISCOVERY"))
    jwt_issuers: Issuers = Field({}, validation_alias=told_by("GUARD_JWT_ISSUERS"))
    jwt_jwks_lifetime: float = Field(600.0, validation_alias=told_by("GUARD_JWT_JWKS_LIFETIME"))
    jwt_jwks_longest: float = Field(86_400.0, validation_alias=told_by("GUARD_JWT_JWKS_LONGEST"))
    jwt_jwks_stale_if_error: float = Field(21_600.0, validation_alias=told_by("GUARD_JWT_JWKS_STALE_IF_ERROR"))
    jwt_jwks_cooldown: float = Field(30.0, validation_alias=told_by("GUARD_JWT_JWKS_COOLDOWN"))
    jwt_jwks_timeout: float = Field(5.0, validation_alias=told_by("GUARD_JWT_JWKS_TIMEOUT"))
    jwt_jwks_max_size: int = Field(524_288, validation_alias=told_by("GUARD_JWT_JWKS_MAX_SIZE"))
    jwt_jwks_max_keys: int = Field(100, validation_alias=told_by("GUARD_JWT_JWKS_MAX_KEYS"))
    jwt_jwks_loopback_http: bool = Field(False, validation_alias=told_by("GUARD_JWT_JWKS_LOOPBACK_HTTP"))
    jwt_algorithms: Words = Field((), validation_alias=told_by("GUARD_JWT_ALGORITHMS"))
    jwt_issuer: str | None = Field(None, validation_alias=told_by("GUARD_JWT_ISSUER"))
    jwt_audience: Words = Field((), validation_alias=told_by("GUARD_JWT_AUDIENCE"))
    jwt_leeway: float = Field(0.0, ge=0, le=600, validation_alias=told_by("GUARD_JWT_LEEWAY"))
    jwt_required: Words = Field(("exp",), validation_alias=told_by("GUARD_JWT_REQUIRED"))
    jwt_typ: str | None = Field(None, validation_alias=told_by("GUARD_JWT_TYP"))
    jwt_scopes: Words = Field((), validation_alias=told_by("GUARD_JWT_SCOPES"))
    jwt_max_lifetime: float = Field(30 * 86_400.0, validation_alias=told_by("GUARD_JWT_MAX_LIFETIME"))
    jwt_cookie: str | None = Field(None, validation_alias=told_by("GUARD_JWT_COOKIE"))
    jwt_origins: Words = Field((), validation_alias=told_by("GUARD_JWT_ORIGINS"))
    jwt_query: str | None = Field(None, validation_alias=told_by("GUARD_JWT_QUERY"))
    jwt_subprotocol: str | None = Field(None, validation_alias=told_by("GUARD_JWT_SUBPROTOCOL"))
    jwt_optional: bool = Field(False, validation_alias=told_by("GUARD_JWT_OPTIONAL"))
    jwt_keep_sockets: bool = Field(False, validation_alias=told_by("GUARD_JWT_KEEP_SOCKETS"))
    jwt_revocation: bool = Field(True, validation_alias=told_by("GUARD_JWT_REVOCATION"))
    jwt_mode: BlacklistMode = Field("remote", validation_alias=told_by("GUARD_JWT_MODE"))
    jwt_max_stale: float = Field(2.0, validation_alias=told_by("GUARD_JWT_MAX_STALE"))
    jwt_max_entries: int = Field(1_000_000, validation_alias=told_by("GUARD_JWT_MAX_ENTRIES"))
    jwt_legacy: Words = Field((), validation_alias=told_by("GUARD_JWT_LEGACY"))
    jwt_without_jti: WithoutId = Field("hash", validation_alias=told_by("GUARD_JWT_WITHOUT_JTI"))
    jwt_on_outage: JWTOutagePolicy = Field("closed", validation_alias=told_by("GUARD_JWT_ON_OUTAGE"))
    jwt_max_age: float = Field(300.0, validation_alias=told_by("GUARD_JWT_MAX_AGE"))
    jwt_max_size: int = Field(8192, validation_alias=told_by("GUARD_JWT_MAX_SIZE"))
    jwt_cache_size: int = Field(4096, ge=0, validation_alias=told_by("GUARD_JWT_CACHE_SIZE"))
    jwt_realm: str = Field("api", validation_alias=told_by("GUARD_JWT_REALM"))
    jwt_tenant: str = Field("", validation_alias=told_by("GUARD_JWT_TENANT"))

    token_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_TOKEN_KEY"))
    token_older_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_TOKEN_OLDER_KEY"))
    token_upcoming_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_TOKEN_UPCOMING_KEY"))
    token_algorithm: str | None = Field(None, validation_alias=told_by("GUARD_TOKEN_ALGORITHM"))
    token_refresh_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_TOKEN_REFRESH_KEY"))
    token_second_refresh_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_TOKEN_SECOND_REFRESH_KEY"))
    token_issuer: str | None = Field(None, validation_alias=told_by("GUARD_TOKEN_ISSUER"))
    token_audience: Words = Field((), validation_alias=told_by("GUARD_TOKEN_AUDIENCE"))
    token_client: str | None = Field(None, validation_alias=told_by("GUARD_TOKEN_CLIENT"))
    token_access_ttl: float = Field(600.0, validation_alias=told_by("GUARD_TOKEN_ACCESS_TTL"))
    token_refresh_ttl: float = Field(14 * 86_400.0, validation_alias=told_by("GUARD_TOKEN_REFRESH_TTL"))
    token_lifetime: float = Field(90 * 86_400.0, validation_alias=told_by("GUARD_TOKEN_LIFETIME"))
    token_grace: float = Field(20.0, validation_alias=told_by("GUARD_TOKEN_GRACE"))
    token_max_replays: int = Field(100, validation_alias=told_by("GUARD_TOKEN_MAX_REPLAYS"))
    token_leeway: float = Field(10.0, validation_alias=told_by("GUARD_TOKEN_LEEWAY"))
    token_max_size: int = Field(8192, validation_alias=told_by("GUARD_TOKEN_MAX_SIZE"))
    token_by_issuer: bool = Field(False, validation_alias=told_by("GUARD_TOKEN_BY_ISSUER"))
    token_wait_replicas: int | None = Field(None, validation_alias=told_by("GUARD_TOKEN_WAIT_REPLICAS"))


class SessionFields(BaseModel):
    """Of `Sessions`, `SecurityEvents` and `CSRF`."""

    session_cookie: str = Field("session", validation_alias=told_by("GUARD_SESSION_COOKIE"))
    session_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_SESSION_KEY"))
    session_max_age: float = Field(14 * 86_400.0, validation_alias=told_by("GUARD_SESSION_MAX_AGE"))
    session_idle: float | None = Field(None, validation_alias=told_by("GUARD_SESSION_IDLE"))
    session_overlap: float = Field(10.0, validation_alias=told_by("GUARD_SESSION_OVERLAP"))
    session_path: str = Field("/", validation_alias=told_by("GUARD_SESSION_PATH"))
    session_domain: str | None = Field(None, validation_alias=told_by("GUARD_SESSION_DOMAIN"))
    session_same_site: SameSite = Field("lax", validation_alias=told_by("GUARD_SESSION_SAME_SITE"))
    session_https_only: bool = Field(True, validation_alias=told_by("GUARD_SESSION_HTTPS_ONLY"))
    session_partitioned: bool = Field(False, validation_alias=told_by("GUARD_SESSION_PARTITIONED"))
    session_persistent: bool = Field(True, validation_alias=told_by("GUARD_SESSION_PERSISTENT"))
    session_principal: Words = Field(("user_id",), validation_alias=told_by("GUARD_SESSION_PRINCIPAL"))
    session_origins: Words = Field((), validation_alias=told_by("GUARD_SESSION_ORIGINS"))
    session_max_size: int = Field(65_536, validation_alias=told_by("GUARD_SESSION_MAX_SIZE"))
    session_max_sessions: int | None = Field(None, validation_alias=told_by("GUARD_SESSION_MAX_SESSIONS"))
    session_on_excess: SessionExcess = Field("evict_oldest", validation_alias=told_by("GUARD_SESSION_ON_EXCESS"))
    session_statistics: bool = Field(False, validation_alias=told_by("GUARD_SESSION_STATISTICS"))
    session_events: bool = Field(False, validation_alias=told_by("GUARD_SESSION_EVENTS"))
    session_remembered: int = Field(4096, validation_alias=told_by("GUARD_SESSION_REMEMBERED"))
    session_read_from_replicas: bool = Field(False, validation_alias=told_by("GUARD_SESSION_READ_FROM_REPLICAS"))
    session_lazy: bool = Field(False, validation_alias=told_by("GUARD_SESSION_LAZY"))
    session_exempt: Words = Field((), validation_alias=told_by("GUARD_SESSION_EXEMPT"))
    session_on_outage: SessionOutagePolicy = Field("closed", validation_alias=told_by("GUARD_SESSION_ON_OUTAGE"))
    session_encryption: SecretStr | None = Field(None, validation_alias=told_by("GUARD_SESSION_ENCRYPTION"))
    session_plaintext: bool = Field(False, validation_alias=told_by("GUARD_SESSION_PLAINTEXT"))

    csrf_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_CSRF_KEY"))
    csrf_second_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_CSRF_SECOND_KEY"))
    csrf_header: str = Field("x-csrf-token", validation_alias=told_by("GUARD_CSRF_HEADER"))
    csrf_field: str | None = Field(None, validation_alias=told_by("GUARD_CSRF_FIELD"))
    csrf_max_body: int = Field(65_536, validation_alias=told_by("GUARD_CSRF_MAX_BODY"))
    csrf_origins: Words = Field((), validation_alias=told_by("GUARD_CSRF_ORIGINS"))
    csrf_bearer_exempt: bool = Field(False, validation_alias=told_by("GUARD_CSRF_BEARER_EXEMPT"))

    events_retention: float = Field(90 * 86_400.0, validation_alias=told_by("GUARD_EVENTS_RETENTION"))


class LimitFields(BaseModel):
    """Of `RateLimit` and `ConcurrencyLimit`."""

    limits: Words = Field((), validation_alias=told_by("GUARD_LIMITS"))
    limit_key: Words = Field(("address",), validation_alias=told_by("GUARD_LIMIT_KEY"))
    limit_algorithm: LimitAlgorithm = Field("gcra", validation_alias=told_by("GUARD_LIMIT_ALGORITHM"))
    limit_burst: int | None = Field(None, validation_alias=told_by("GUARD_LIMIT_BURST"))
    limit_timezone: str | None = Field(None, validation_alias=told_by("GUARD_LIMIT_TIMEZONE"))
    limit_rules: Rules = Field({}, validation_alias=told_by("GUARD_LIMIT_RULES"))
    limit_bypass: Words = Field((), validation_alias=told_by("GUARD_LIMIT_BYPASS"))
    limit_on_outage: LimitOutagePolicy = Field("local", validation_alias=told_by("GUARD_LIMIT_ON_OUTAGE"))
    limit_workers: int = Field(1, validation_alias=told_by("GUARD_LIMIT_WORKERS"))
    limit_draft: LimitDraft = Field("11", validation_alias=told_by("GUARD_LIMIT_DRAFT"))
    limit_legacy_headers: LegacyHeaders = Field(False, validation_alias=told_by("GUARD_LIMIT_LEGACY_HEADERS"))
    limit_shadow: bool = Field(False, validation_alias=told_by("GUARD_LIMIT_SHADOW"))
    limit_changeable: bool = Field(False, validation_alias=told_by("GUARD_LIMIT_CHANGEABLE"))
    limit_statistics: bool = Field(False, validation_alias=told_by("GUARD_LIMIT_STATISTICS"))

    concurrency_amount: int | None = Field(None, validation_alias=told_by("GUARD_CONCURRENCY"))
    concurrency_key: Words = Field(("address",), validation_alias=told_by("GUARD_CONCURRENCY_KEY"))
    concurrency_ttl: float = Field(30.0, validation_alias=told_by("GUARD_CONCURRENCY_TTL"))


class CacheFields(BaseModel):
    """Of `ResponseCache`."""

    cache_profile: CacheProfile = Field("app", validation_alias=told_by("GUARD_CACHE_PROFILE"))
    cache_ttl: float | None = Field(None, validation_alias=told_by("GUARD_CACHE_TTL"))
    cache_swr: float = Field(0.0, validation_alias=told_by("GUARD_CACHE_SWR"))
    cache_sie: float = Field(0.0, validation_alias=told_by("GUARD_CACHE_SIE"))
    cache_statuses: Numbers = Field((), validation_alias=told_by("GUARD_CACHE_STATUSES"))
    cache_hosts: Words = Field((), validation_alias=told_by("GUARD_CACHE_HOSTS"))
    cache_sort_query: bool = Field(False, validation_alias=told_by("GUARD_CACHE_SORT_QUERY"))
    cache_ignore_query: Words = Field((), validation_alias=told_by("GUARD_CACHE_IGNORE_QUERY"))
    cache_credentials: Words = Field((), validation_alias=told_by("GUARD_CACHE_CREDENTIALS"))
    cache_targets: Words = Field((), validation_alias=told_by("GUARD_CACHE_TARGETS"))
    cache_client_control: bool | None = Field(None, validation_alias=told_by("GUARD_CACHE_CLIENT_CONTROL"))
    cache_heuristic: bool = Field(True, validation_alias=told_by("GUARD_CACHE_HEURISTIC"))
    cache_store_cookies: bool = Field(False, validation_alias=told_by("GUARD_CACHE_STORE_COOKIES"))
    cache_ranges: bool = Field(True, validation_alias=told_by("GUARD_CACHE_RANGES"))
    cache_max_body: int = Field(1 << 20, validation_alias=told_by("GUARD_CACHE_MAX_BODY"))
    cache_compress_from: int | Literal["never"] = Field(8192, validation_alias=told_by("GUARD_CACHE_COMPRESS_FROM"))
    cache_integrity_key: SecretStr | None = Field(None, validation_alias=told_by("GUARD_CACHE_INTEGRITY_KEY"))
    cache_wait: float = Field(10.0, validation_alias=told_by("GUARD_CACHE_WAIT"))
    cache_pass_for: float = Field(10.0, validation_alias=told_by("GUARD_CACHE_PASS_FOR"))
    cache_keep: float = Field(3600.0, validation_alias=told_by("GUARD_CACHE_KEEP"))
    cache_jitter: float | None = Field(None, validation_alias=told_by("GUARD_CACHE_JITTER"))
    cache_early: float = Field(1.0, validation_alias=told_by("GUARD_CACHE_EARLY"))
    cache_remembered: int = Field(8 << 20, validation_alias=told_by("GUARD_CACHE_REMEMBERED"))
    cache_read_from_replicas: bool = Field(False, validation_alias=told_by("GUARD_CACHE_READ_FROM_REPLICAS"))
    cache_memory_ttl: float = Field(0.0, validation_alias=told_by("GUARD_CACHE_MEMORY_TTL"))
    cache_invalidates_unsafe: bool = Field(True, validation_alias=told_by("GUARD_CACHE_INVALIDATES_UNSAFE"))
    cache_status: str = Field("guard", validation_alias=told_by("GUARD_CACHE_STATUS"))
    cache_exempt: Words = Field((), validation_alias=told_by("GUARD_CACHE_EXEMPT"))


class LockFields(BaseModel):
    """Of `RouteLock` and `Idempotency`."""

    lock_key: Words = Field((), validation_alias=told_by("GUARD_LOCK_KEY"))
    lock_ttl: float = Field(30.0, validation_alias=told_by("GUARD_LOCK_TTL"))
    lock_wait: float = Field(0.0, validation_alias=told_by("GUARD_LOCK_WAIT"))
    lock_on_busy: int = Field(409, validation_alias=told_by("GUARD_LOCK_ON_BUSY"))
    lock_permits: int | None = Field(None, validation_alias=told_by("GUARD_LOCK_PERMITS"))
    lock_methods: Words = Field((), validation_alias=told_by("GUARD_LOCK_METHODS"))
    lock_paths: Words = Field((), validation_alias=told_by("GUARD_LOCK_PATHS"))
    lock_exempt: Words = Field((), validation_alias=told_by("GUARD_LOCK_EXEMPT"))
    lock_unidentified: Unidentified = Field("refuse", validation_alias=told_by("GUARD_LOCK_UNIDENTIFIED"))
    lock_on_outage: OutagePolicy = Field("closed", validation_alias=told_by("GUARD_LOCK_ON_OUTAGE"))
    lock_max_body: int = Field(1 << 20, validation_alias=told_by("GUARD_LOCK_MAX_BODY"))

    idempotency_methods: Words = Field(("POST", "PATCH"), validation_alias=told_by("GUARD_IDEMPOTENCY_METHODS"))
    idempotency_required: bool = Field(False, validation_alias=told_by("GUARD_IDEMPOTENCY_REQUIRED"))
    idempotency_key: Words = Field(("user",), validation_alias=told_by("GUARD_IDEMPOTENCY_KEY"))
    idempotency_ttl: float = Field(86_400.0, validation_alias=told_by("GUARD_IDEMPOTENCY_TTL"))
    idempotency_lease: float = Field(30.0, validation_alias=told_by("GUARD_IDEMPOTENCY_LEASE"))
    idempotency_wait: float = Field(0.0, validation_alias=told_by("GUARD_IDEMPOTENCY_WAIT"))
    idempotency_max_body: int = Field(1 << 20, validation_alias=told_by("GUARD_IDEMPOTENCY_MAX_BODY"))
    idempotency_max_response: int = Field(1 << 20, validation_alias=told_by("GUARD_IDEMPOTENCY_MAX_RESPONSE"))
    idempotency_header: str = Field("idempotency-key", validation_alias=told_by("GUARD_IDEMPOTENCY_HEADER"))
    idempotency_paths: Words = Field((), validation_alias=told_by("GUARD_IDEMPOTENCY_PATHS"))
    idempotency_exempt: Words = Field((), validation_alias=told_by("GUARD_IDEMPOTENCY_EXEMPT"))
    idempotency_unidentified: Unidentified = Field("refuse", validation_alias=told_by("GUARD_IDEMPOTENCY_UNIDENTIFIED"))
    idempotency_on_outage: OutagePolicy = Field("closed", validation_alias=told_by("GUARD_IDEMPOTENCY_ON_OUTAGE"))
