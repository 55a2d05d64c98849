"""The files of TLS, looked at before anything connects: what is missing or does not open is a fault of the settings.

They are read again for each connection, so that certificates may be replaced while the process runs.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_files(options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a file that cannot be used; nothing happens where no option names one."""
    for name in _FILES:
        if options.get(name) is not None:
            _check(f"{name} (REDIS_{name.upper()})", Path(options[name]))
    certificate, key, password = (options.get(name) for name in ("ssl_certfile", "ssl_keyfile", "ssl_password"))
    if certificate is None:
        return
    if password is None and b"ENCRYPTED" in Path(key or certificate).read_bytes():  # OpenSSL would ask the terminal
        raise ConfigurationError(
            f"ssl_keyfile (REDIS_SSL_KEYFILE): {key or certificate} is encrypted; give ssl_password"
        )
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError):
        why = "do not belong together" + ("" if password is None else ", or ssl_password is wrong")
        raise ConfigurationError(
            f"ssl_certfile (REDIS_SSL_CERTFILE) and ssl_keyfile: {certificate}, {key} {why}"
        ) from None


def _check(name: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: {file} cannot be read: {error.strerror}") from None
