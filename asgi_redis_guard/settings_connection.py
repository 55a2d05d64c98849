"""The options of the connection that are more than a URL: TLS and sentinels, and how they get into one.

Law: fields, and text from text; what a URL says itself wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import BaseModel, Field, SecretStr

from .settings_fields import Words, told_by


class ConnectionFields(BaseModel):
    """How the server and its sentinels are reached."""

    url: SecretStr | None = Field(None, validation_alias=told_by("REDIS_URL", "REDIS_PRIVATE_URL"))
    host: str = Field("localhost", validation_alias=told_by("REDIS_HOST"))
    port: int = Field(6379, ge=1, le=65535, validation_alias=told_by("REDIS_PORT"))
    username: str | None = Field(None, validation_alias=told_by("REDIS_USERNAME", "REDIS_USER"))
    password: SecretStr | None = Field(None, validation_alias=told_by("REDIS_PASSWORD"))
    db: int = Field(0, ge=0, validation_alias=told_by("REDIS_DB"))

    ssl: bool = Field(False, validation_alias=told_by("REDIS_SSL"))
    ssl_ca_certs: str | None = Field(None, validation_alias=told_by("REDIS_SSL_CA_CERTS"))
    ssl_certfile: str | None = Field(None, validation_alias=told_by("REDIS_SSL_CERTFILE"))
    ssl_keyfile: str | None = Field(None, validation_alias=told_by("REDIS_SSL_KEYFILE"))
    ssl_password: SecretStr | None = Field(None, validation_alias=told_by("REDIS_SSL_PASSWORD"))
    ssl_check_hostname: bool | None = Field(None, validation_alias=told_by("REDIS_SSL_CHECK_HOSTNAME"))
    ssl_cert_reqs: Literal["required", "none"] | None = Field(None, validation_alias=told_by("REDIS_SSL_CERT_REQS"))
    ssl_min_version: Literal["1.2", "1.3"] | None = Field(None, validation_alias=told_by("REDIS_SSL_MIN_VERSION"))

    sentinels: Words = Field((), validation_alias=told_by("REDIS_SENTINELS"))
    sentinel_service: str = Field("mymaster", validation_alias=told_by("REDIS_SENTINEL_SERVICE"))
    sentinel_username: str | None = Field(None, validation_alias=told_by("REDIS_SENTINEL_USERNAME"))
    sentinel_password: SecretStr | None = Field(None, validation_alias=told_by("REDIS_SENTINEL_PASSWORD"))
    sentinel_ssl: bool | None = Field(None, validation_alias=told_by("REDIS_SENTINEL_SSL"))

    read_from_replicas: bool = Field(False, validation_alias=told_by("REDIS_READ_FROM_REPLICAS"))
    replicas: Words = Field((), validation_alias=told_by("REDIS_REPLICAS"))

    @property
    def redis_url(self) -> str:
        """The URL of the connection, with credentials. Do not log it."""
        url = self._of_parts() if self.url is None else self.url.get_secret_value()
        scheme = url.partition("://")[0].lower()
        told: dict[str, object] = {}
        if scheme.startswith("rediss"):
            told |= {name: getattr(self, name) for name in ConnectionFields.model_fields if name.startswith("ssl_")}
        if scheme.endswith("+sentinel"):
            names = ("sentinel_username", "sentinel_password", "sentinel_ssl")
            told |= {name: getattr(self, name) for name in names}
        return _with_query(url, {name: _text(value) for name, value in told.items() if value is not None})

    def _of_parts(self) -> str:
        secret = self.password.get_secret_value() if self.password else None
        user = quote(self.username or "", safe="")
        login = f"{user}:{quote(secret, safe='')}@" if secret is not None else f"{user}@" if user else ""
        scheme = "rediss" if self.ssl else "redis"
        if self.sentinels:
            service = quote(self.sentinel_service, safe="")
            return f"{scheme}+sentinel://{login}{','.join(self.sentinels)}/{service}/{self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{login}{host}:{self.port}/{self.db}"


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _with_query(url: str, options: Mapping[str, str]) -> str:
    """Add to a URL's query what it does not say itself; a URL that cannot be read is left for others to refuse."""
    try:
        said = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    except ValueError:
        return url
    added = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items() if name not in said)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
