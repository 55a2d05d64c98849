"""Configuration: every option by keyword, environment variable or `.env`; all faults are reported at once.

Nothing is read at import. Secrets are `SecretStr`: they appear in no repr, log or error.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import ConfigurationError

OutagePolicy = Literal["open", "closed"]
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


Rules = Annotated[dict[str, str | tuple[str, ...] | None], NoDecode, BeforeValidator(_from_json)]


def _env(*names: str) -> Any:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """All options: keywords are the names of the fields, variables their aliases. Lists are comma-separated there.

    The connection is `REDIS_URL`, else `REDIS_PRIVATE_URL`, else it is put together from `REDIS_HOST`, `REDIS_PORT`,
    `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_DB` and `REDIS_SSL`. Times are in seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix="GUARD_",  # or pydantic-settings would read HOST, PORT, USERNAME … where there is no REDIS_…
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    url: SecretStr | None = Field(None, validation_alias=_env("REDIS_URL", "REDIS_PRIVATE_URL"))
    host: str = Field("localhost", validation_alias=_env("REDIS_HOST"))
    port: int = Field(6379, ge=1, le=65535, validation_alias=_env("REDIS_PORT"))
    username: str | None = Field(None, validation_alias=_env("REDIS_USERNAME", "REDIS_USER"))
    password: SecretStr | None = Field(None, validation_alias=_env("REDIS_PASSWORD"))
    db: int = Field(0, ge=0, validation_alias=_env("REDIS_DB"))
    ssl: bool = Field(False, validation_alias=_env("REDIS_SSL"))
    ssl_ca_certs: str | None = Field(None, validation_alias=_env("REDIS_SSL_CA_CERTS"))

    max_connections: int = Field(50, ge=1, validation_alias=_env("REDIS_MAX_CONNECTIONS", "REDIS_POOL_SIZE"))
    timeout: float = Field(0.5, gt=0, le=60, validation_alias=_env("REDIS_TIMEOUT", "REDIS_SOCKET_TIMEOUT"))
    connection_timeout: float = Field(2.0, gt=0, le=60, validation_alias=_env("REDIS_CONNECTION_TIMEOUT"))
    max_in_flight: int = Field(10_000, ge=1, validation_alias=_env("REDIS_MAX_IN_FLIGHT"))
    decode_responses: bool = Field(False, validation_alias=_env("REDIS_DECODE_RESPONSES"))
    require_redis: bool = Field(False, validation_alias=_env("REDIS_REQUIRED"))

    env: str = Field("development", validation_alias=_env("GUARD_ENV"))
    prefix: str = Field("guard:", min_length=1, max_length=64, validation_alias=_env("GUARD_PREFIX"))
    stack: Words = Field((), validation_alias=_env("GUARD_STACK"))
    exempt: Words = Field((), validation_alias=_env("GUARD_EXEMPT"))
    trusted_proxies: Words = Field((), validation_alias=_env("GUARD_TRUSTED_PROXIES"))

    jwt_key: SecretStr | None = Field(None, validation_alias=_env("GUARD_JWT_KEY"))
    jwt_algorithms: Words = Field((), validation_alias=_env("GUARD_JWT_ALGORITHMS"))
    jwt_issuer: str | None = Field(None, validation_alias=_env("GUARD_JWT_ISSUER"))
    jwt_audience: Words = Field((), validation_alias=_env("GUARD_JWT_AUDIENCE"))
    jwt_leeway: float = Field(0.0, ge=0, le=600, validation_alias=_env("GUARD_JWT_LEEWAY"))
    jwt_cookie: str | None = Field(None, validation_alias=_env("GUARD_JWT_COOKIE"))
    jwt_optional: bool = Field(False, validation_alias=_env("GUARD_JWT_OPTIONAL"))
    jwt_on_outage: OutagePolicy = Field("closed", validation_alias=_env("GUARD_JWT_ON_OUTAGE"))

    session_cookie: str = Field("session", validation_alias=_env("GUARD_SESSION_COOKIE"))
    session_key: SecretStr | None = Field(None, validation_alias=_env("GUARD_SESSION_KEY"))
    session_max_age: float = Field(14 * 86_400.0, validation_alias=_env("GUARD_SESSION_MAX_AGE"))
    session_idle: float | None = Field(None, validation_alias=_env("GUARD_SESSION_IDLE"))
    session_overlap: float = Field(10.0, validation_alias=_env("GUARD_SESSION_OVERLAP"))
    session_path: str = Field("/", validation_alias=_env("GUARD_SESSION_PATH"))
    session_domain: str | None = Field(None, validation_alias=_env("GUARD_SESSION_DOMAIN"))
    session_same_site: SameSite = Field("lax", validation_alias=_env("GUARD_SESSION_SAME_SITE"))
    session_https_only: bool = Field(True, validation_alias=_env("GUARD_SESSION_HTTPS_ONLY"))
    session_partitioned: bool = Field(False, validation_alias=_env("GUARD_SESSION_PARTITIONED"))
    session_persistent: bool = Field(True, validation_alias=_env("GUARD_SESSION_PERSISTENT"))
    session_principal: Words = Field(("user_id",), validation_alias=_env("GUARD_SESSION_PRINCIPAL"))
    session_origins: Words = Field((), validation_alias=_env("GUARD_SESSION_ORIGINS"))
    session_max_size: int = Field(65_536, validation_alias=_env("GUARD_SESSION_MAX_SIZE"))
    session_max_sessions: int | None = Field(None, validation_alias=_env("GUARD_SESSION_MAX_SESSIONS"))
    session_on_excess: SessionExcess = Field("evict_oldest", validation_alias=_env("GUARD_SESSION_ON_EXCESS"))
    session_statistics: bool = Field(False, validation_alias=_env("GUARD_SESSION_STATISTICS"))
    session_events: bool = Field(False, validation_alias=_env("GUARD_SESSION_EVENTS"))
    session_remembered: int = Field(4096, validation_alias=_env("GUARD_SESSION_REMEMBERED"))
    session_lazy: bool = Field(False, validation_alias=_env("GUARD_SESSION_LAZY"))
    session_exempt: Words = Field((), validation_alias=_env("GUARD_SESSION_EXEMPT"))
    session_on_outage: SessionOutagePolicy = Field("closed", validation_alias=_env("GUARD_SESSION_ON_OUTAGE"))
    session_encryption: SecretStr | None = Field(None, validation_alias=_env("GUARD_SESSION_ENCRYPTION"))
    session_plaintext: bool = Field(False, validation_alias=_env("GUARD_SESSION_PLAINTEXT"))

    csrf_key: SecretStr | None = Field(None, validation_alias=_env("GUARD_CSRF_KEY"))
    csrf_second_key: SecretStr | None = Field(None, validation_alias=_env("GUARD_CSRF_SECOND_KEY"))
    csrf_header: str = Field("x-csrf-token", validation_alias=_env("GUARD_CSRF_HEADER"))
    csrf_field: str | None = Field(None, validation_alias=_env("GUARD_CSRF_FIELD"))
    csrf_max_body: int = Field(65_536, validation_alias=_env("GUARD_CSRF_MAX_BODY"))
    csrf_origins: Words = Field((), validation_alias=_env("GUARD_CSRF_ORIGINS"))
    csrf_bearer_exempt: bool = Field(False, validation_alias=_env("GUARD_CSRF_BEARER_EXEMPT"))

    events_retention: float = Field(90 * 86_400.0, validation_alias=_env("GUARD_EVENTS_RETENTION"))

    limits: Words = Field((), validation_alias=_env("GUARD_LIMITS"))
    limit_key: Words = Field(("address",), validation_alias=_env("GUARD_LIMIT_KEY"))
    limit_algorithm: LimitAlgorithm = Field("gcra", validation_alias=_env("GUARD_LIMIT_ALGORITHM"))
    limit_burst: int | None = Field(None, validation_alias=_env("GUARD_LIMIT_BURST"))
    limit_timezone: str | None = Field(None, validation_alias=_env("GUARD_LIMIT_TIMEZONE"))
    limit_rules: Rules = Field({}, validation_alias=_env("GUARD_LIMIT_RULES"))
    limit_bypass: Words = Field((), validation_alias=_env("GUARD_LIMIT_BYPASS"))
    limit_on_outage: LimitOutagePolicy = Field("local", validation_alias=_env("GUARD_LIMIT_ON_OUTAGE"))
    limit_workers: int = Field(1, validation_alias=_env("GUARD_LIMIT_WORKERS"))
    limit_draft: LimitDraft = Field("11", validation_alias=_env("GUARD_LIMIT_DRAFT"))
    limit_legacy_headers: LegacyHeaders = Field(False, validation_alias=_env("GUARD_LIMIT_LEGACY_HEADERS"))
    limit_shadow: bool = Field(False, validation_alias=_env("GUARD_LIMIT_SHADOW"))
    limit_changeable: bool = Field(False, validation_alias=_env("GUARD_LIMIT_CHANGEABLE"))
    limit_statistics: bool = Field(False, validation_alias=_env("GUARD_LIMIT_STATISTICS"))

    concurrency_amount: int | None = Field(None, validation_alias=_env("GUARD_CONCURRENCY"))
    concurrency_key: Words = Field(("address",), validation_alias=_env("GUARD_CONCURRENCY_KEY"))
    concurrency_ttl: float = Field(30.0, validation_alias=_env("GUARD_CONCURRENCY_TTL"))

    cache_profile: CacheProfile = Field("app", validation_alias=_env("GUARD_CACHE_PROFILE"))
    cache_ttl: float | None = Field(None, validation_alias=_env("GUARD_CACHE_TTL"))
    cache_swr: float = Field(0.0, validation_alias=_env("GUARD_CACHE_SWR"))
    cache_sie: float = Field(0.0, validation_alias=_env("GUARD_CACHE_SIE"))
    cache_statuses: Numbers = Field((), validation_alias=_env("GUARD_CACHE_STATUSES"))
    cache_hosts: Words = Field((), validation_alias=_env("GUARD_CACHE_HOSTS"))
    cache_sort_query: bool = Field(False, validation_alias=_env("GUARD_CACHE_SORT_QUERY"))
    cache_ignore_query: Words = Field((), validation_alias=_env("GUARD_CACHE_IGNORE_QUERY"))
    cache_credentials: Words = Field((), validation_alias=_env("GUARD_CACHE_CREDENTIALS"))
    cache_targets: Words = Field((), validation_alias=_env("GUARD_CACHE_TARGETS"))
    cache_client_control: bool | None = Field(None, validation_alias=_env("GUARD_CACHE_CLIENT_CONTROL"))
    cache_heuristic: bool = Field(True, validation_alias=_env("GUARD_CACHE_HEURISTIC"))
    cache_store_cookies: bool = Field(False, validation_alias=_env("GUARD_CACHE_STORE_COOKIES"))
    cache_ranges: bool = Field(True, validation_alias=_env("GUARD_CACHE_RANGES"))
    cache_max_body: int = Field(1 << 20, validation_alias=_env("GUARD_CACHE_MAX_BODY"))
    cache_compress_from: int | Literal["never"] = Field(8192, validation_alias=_env("GUARD_CACHE_COMPRESS_FROM"))
    cache_integrity_key: SecretStr | None = Field(None, validation_alias=_env("GUARD_CACHE_INTEGRITY_KEY"))
    cache_wait: float = Field(10.0, validation_alias=_env("GUARD_CACHE_WAIT"))
    cache_pass_for: float = Field(10.0, validation_alias=_env("GUARD_CACHE_PASS_FOR"))
    cache_keep: float = Field(3600.0, validation_alias=_env("GUARD_CACHE_KEEP"))
    cache_jitter: float | None = Field(None, validation_alias=_env("GUARD_CACHE_JITTER"))
    cache_early: float = Field(1.0, validation_alias=_env("GUARD_CACHE_EARLY"))
    cache_remembered: int = Field(8 << 20, validation_alias=_env("GUARD_CACHE_REMEMBERED"))
    cache_memory_ttl: float = Field(0.0, validation_alias=_env("GUARD_CACHE_MEMORY_TTL"))
    cache_invalidates_unsafe: bool = Field(True, validation_alias=_env("GUARD_CACHE_INVALIDATES_UNSAFE"))
    cache_status: str = Field("guard", validation_alias=_env("GUARD_CACHE_STATUS"))
    cache_exempt: Words = Field((), validation_alias=_env("GUARD_CACHE_EXEMPT"))

    lock_key: Words = Field((), validation_alias=_env("GUARD_LOCK_KEY"))
    lock_ttl: float = Field(30.0, validation_alias=_env("GUARD_LOCK_TTL"))
    lock_wait: float = Field(0.0, validation_alias=_env("GUARD_LOCK_WAIT"))
    lock_on_busy: int = Field(409, validation_alias=_env("GUARD_LOCK_ON_BUSY"))
    lock_permits: int | None = Field(None, validation_alias=_env("GUARD_LOCK_PERMITS"))
    lock_methods: Words = Field((), validation_alias=_env("GUARD_LOCK_METHODS"))
    lock_paths: Words = Field((), validation_alias=_env("GUARD_LOCK_PATHS"))
    lock_exempt: Words = Field((), validation_alias=_env("GUARD_LOCK_EXEMPT"))
    lock_unidentified: Unidentified = Field("refuse", validation_alias=_env("GUARD_LOCK_UNIDENTIFIED"))
    lock_on_outage: OutagePolicy = Field("closed", validation_alias=_env("GUARD_LOCK_ON_OUTAGE"))
    lock_max_body: int = Field(1 << 20, validation_alias=_env("GUARD_LOCK_MAX_BODY"))

    idempotency_methods: Words = Field(("POST", "PATCH"), validation_alias=_env("GUARD_IDEMPOTENCY_METHODS"))
    idempotency_required: bool = Field(False, validation_alias=_env("GUARD_IDEMPOTENCY_REQUIRED"))
    idempotency_key: Words = Field(("user",), validation_alias=_env("GUARD_IDEMPOTENCY_KEY"))
    idempotency_ttl: float = Field(86_400.0, validation_alias=_env("GUARD_IDEMPOTENCY_TTL"))
    idempotency_lease: float = Field(30.0, validation_alias=_env("GUARD_IDEMPOTENCY_LEASE"))
    idempotency_wait: float = Field(0.0, validation_alias=_env("GUARD_IDEMPOTENCY_WAIT"))
    idempotency_max_body: int = Field(1 << 20, validation_alias=_env("GUARD_IDEMPOTENCY_MAX_BODY"))
    idempotency_max_response: int = Field(1 << 20, validation_alias=_env("GUARD_IDEMPOTENCY_MAX_RESPONSE"))
    idempotency_header: str = Field("idempotency-key", validation_alias=_env("GUARD_IDEMPOTENCY_HEADER"))
    idempotency_paths: Words = Field((), validation_alias=_env("GUARD_IDEMPOTENCY_PATHS"))
    idempotency_exempt: Words = Field((), validation_alias=_env("GUARD_IDEMPOTENCY_EXEMPT"))
    idempotency_unidentified: Unidentified = Field("refuse", validation_alias=_env("GUARD_IDEMPOTENCY_UNIDENTIFIED"))
    idempotency_on_outage: OutagePolicy = Field("closed", validation_alias=_env("GUARD_IDEMPOTENCY_ON_OUTAGE"))

    def __init__(self, **options: Any) -> None:
        faults = [f"{name}: no such option" for name in options if name not in _NAMES and not name.startswith("_")]
        ConfigurationError.raise_for(_misspelt(os.environ))
        try:
            super().__init__(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            faults += _faults(error)
        ConfigurationError.raise_for(faults)

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> tuple[Any, ...]:  # type: ignore[override]
        """Keywords, then the environment, then `.env`; lists are split at commas in all of them."""
        return tuple(
            _Splitting(source)
            for name, source in sources.items()
            if name in ("init_settings", "env_settings", "dotenv_settings")
        )

    @property
    def redis_url(self) -> str:
        """The URL of the connection, with credentials. Do not log it."""
        if self.url is not None:
            return self.url.get_secret_value()
        secret = self.password.get_secret_value() if self.password else None
        user = quote(self.username or "", safe="")
        login = f"{user}:{quote(secret, safe='')}@" if secret is not None else f"{user}@" if user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?ssl_ca_certs={quote(self.ssl_ca_certs, safe='/')}" if self.ssl and self.ssl_ca_certs else ""
        return f"{'rediss' if self.ssl else 'redis'}://{login}{host}:{self.port}/{self.db}{query}"

    @property
    def production(self) -> bool:
        """True where `GUARD_ENV` says so."""
        return self.env.lower() in ("production", "prod")


class _Splitting:
    """A settings source that splits comma-separated text for the tuple options."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = self._source()
        return {name: self._split(name, value) for name, value in values.items()}

    def _split(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name in _TUPLES:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


_ALIASES: dict[str, list[str]] = {
    name: list(getattr(field.validation_alias, "choices", ())) for name, field in Settings.model_fields.items()
}
_NAMES = {alias for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_TUPLES = {
    alias
    for name, aliases in _ALIASES.items()
    if isinstance(Settings.model_fields[name].default, tuple)
    for alias in (name, *aliases)
}


def variable_of(name: str) -> str | None:
    """Return the environment variable of an option, the first of several; None if there is no such option."""
    return next(iter(_ALIASES.get(name, ())), None)


def _faults(error: ValidationError) -> list[str]:
    return [_fault(str(item["loc"][0]) if item["loc"] else "?", item["msg"], item["input"]) for item in error.errors()]


def _fault(place: str, message: str, given: Any) -> str:
    for name, aliases in _ALIASES.items():
        if place == name or place in aliases:
            secret = "SecretStr" in str(Settings.model_fields[name].annotation)
            return f"{name} ({', '.join(aliases)}): {message}; given: {'***' if secret else repr(given)}"
    return f"{place}: {message}"


def _misspelt(environment: Iterable[str]) -> list[str]:
    """Name `GUARD_…` variables that look like an option and are none: a typo must not switch a check off unnoticed."""
    known = {
        alias for field in Settings.model_fields.values() for alias in getattr(field.validation_alias, "choices", ())
    }
    unknown = [name for name in environment if name.startswith("GUARD_") and name not in known]
    near = {name: difflib.get_close_matches(name, known, 1, 0.85) for name in unknown}
    return [f"{name}: not an option; did you mean {match[0]}?" for name, match in near.items() if match]
