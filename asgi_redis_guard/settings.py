"""Configuration: every option by keyword, environment variable or `.env`; all faults are reported at once.

Nothing is read at import. Secrets are `SecretStr`: they appear in no repr, log or error.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigurationError
from .settings_connection import ConnectionFields
from .settings_fields import CacheFields, LimitFields, LockFields, SessionFields, TokenFields, Words, told_by


class Settings(ConnectionFields, TokenFields, SessionFields, LimitFields, CacheFields, LockFields, BaseSettings):
    """All options: keywords are the names of the fields, variables their aliases. Lists are comma-separated there.

    The connection is `REDIS_URL`, else `REDIS_PRIVATE_URL`, else it is put together from `REDIS_HOST`, `REDIS_PORT`,
    `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_DB` and `REDIS_SSL`, or from `REDIS_SENTINELS`. Times are in seconds.
    Options of the connection stand in `settings_connection.py`, those of guards and services in `settings_fields.py`.
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

    max_connections: int = Field(50, ge=1, validation_alias=told_by("REDIS_MAX_CONNECTIONS", "REDIS_POOL_SIZE"))
    timeout: float = Field(0.5, gt=0, le=60, validation_alias=told_by("REDIS_TIMEOUT", "REDIS_SOCKET_TIMEOUT"))
    connection_timeout: float = Field(2.0, gt=0, le=60, validation_alias=told_by("REDIS_CONNECTION_TIMEOUT"))
    max_in_flight: int = Field(10_000, ge=1, validation_alias=told_by("REDIS_MAX_IN_FLIGHT"))
    decode_responses: bool = Field(False, validation_alias=told_by("REDIS_DECODE_RESPONSES"))
    require_redis: bool = Field(False, validation_alias=told_by("REDIS_REQUIRED"))

    env: str = Field("development", validation_alias=told_by("GUARD_ENV"))
    prefix: str = Field("guard:", min_length=1, max_length=64, validation_alias=told_by("GUARD_PREFIX"))
    key_tag: str = Field("", validation_alias=told_by("GUARD_KEY_TAG"))
    stack: Words = Field((), validation_alias=told_by("GUARD_STACK"))
    exempt: Words = Field((), validation_alias=told_by("GUARD_EXEMPT"))
    trusted_proxies: Words = Field((), validation_alias=told_by("GUARD_TRUSTED_PROXIES"))

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
