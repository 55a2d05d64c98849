"""Where a session began: address, browser and device, kept apart from the record, which has to stay small.

    note   <digest of the device: 20 characters, spaces for none><JSON: ip, ua, device>

Pure. The digest in front lets a script find a device's sessions without knowing JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.keys import digest

#: Characters of a user agent that are kept; clients choose how long it is.
MOST_AGENT = 256

#: Characters that a device's name may have.
MOST_DEVICE = 128

_NO_DEVICE = b" " * 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login came from, as far as it is known; `device` is the app's name for it."""

    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None

    @classmethod
    def of(cls, exchange: Exchange, proxies: TrustedProxies) -> Origin:
        """Read it from a request; its device is the fact `device`, if that is a text."""
        agent, device = exchange.header(b"user-agent"), exchange.fact("device")
        known = device if isinstance(device, str) and 0 < len(device) <= MOST_DEVICE else None
        return cls(exchange.client(proxies), agent.decode("latin-1") if agent else None, known)

    def note(self) -> bytes:
        """Return it as it is stored."""
        said: dict[str, Any] = {"ip": self.ip, "ua": self.user_agent and self.user_agent[:MOST_AGENT]}
        said["device"] = self.device
        text = orjson.dumps({name: value for name, value in said.items() if value is not None})
        return (device_mark(self.device) if self.device is not None else _NO_DEVICE) + text

    @classmethod
    def read(cls, note: bytes) -> Origin:
        """Read a note back; an empty one knows nothing."""
        said = orjson.loads(note[20:]) if len(note) > 20 else {}
        return cls(said.get("ip"), said.get("ua"), said.get("device"))


def device_mark(device: str) -> bytes:
    """Return what a device's notes begin with."""
    return digest(device)
