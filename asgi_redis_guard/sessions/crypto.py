"""`SessionCipher`: session values encrypted at rest, each bound to its record and field. Pure: nonces are given to it.

    value   $<base64 of: key id (4 bytes), nonce (12), ciphertext, tag (16)>

AES-256-GCM (NIST SP 800-38D) under a key of each record's own, which BLAKE2b derives, so that random nonces stay far
below the 2³² of one key (§8.3). The names of record and field are authenticated with it: a value that was moved to
another session or field does not open. No JSON text begins with `$`, so that what is not encrypted is known by sight.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import ConfigurationError, SessionUnreadable

_KEY, _ID, _NONCE, _TAG = 32, 4, 12, 16


class SessionCipher:
    """Encrypts the values of sessions, for `Sessions(encryption=…)`.

    `keys`: secrets of 32 random bytes, as they are or as base64 text; one or several. The first encrypts, all decrypt:
    put a new one in front, and take the old one away when the longest life of a session has passed. `plaintext`: also
    read what is not encrypted, while records from before still live; without it they are unreadable, for whoever can
    write to Redis could put them there. Names of fields and times are not encrypted. Raises `ConfigurationError`.
    """

    __slots__ = ("_current", "_keys", "_plaintext")

    def __init__(self, keys: str | bytes | Iterable[str | bytes], *, plaintext: bool = False) -> None:
        given = (keys,) if isinstance(keys, str | bytes) else tuple(keys)
        secrets = [_secret(key) for key in given]
        ConfigurationError.raise_for(_faults(secrets))
        self._keys = {_id_of(secret): secret for secret in secrets if secret is not None}
        self._current = next(iter(self._keys))
        self._plaintext = plaintext

    def seal(self, record: bytes, texts: Mapping[str, bytes], random: Callable[[int], bytes]) -> dict[str, bytes]:
        """Return the fields of `record` as they are stored; each gets a fresh nonce."""
        if not texts:
            return {}
        aead, sealed = _aead(self._keys[self._current], record), {}
        for name, text in texts.items():
            nonce = random(_NONCE)
            sealed[name] = b"$" + b64encode(self._current + nonce + aead.encrypt(nonce, text, _bound(record, name)))
        return sealed

    def unseal(self, record: bytes, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the fields of `record` as the text that was sealed; raises `SessionUnreadable`."""
        aeads: dict[bytes, AESGCM] = {}
        return {name: self._unseal(aeads, record, name, value) for name, value in stored.items()}

    def _unseal(self, aeads: dict[bytes, AESGCM], record: bytes, name: str, value: bytes) -> bytes:
        if value[:1] != b"$":
            if self._plaintext:
                return value
            raise SessionUnreadable("is not encrypted")
        try:
            packed = b64decode(value[1:], validate=True)
        except ValueError:
            raise SessionUnreadable("is damaged") from None
        which, nonce, sealed = packed[:_ID], packed[_ID : _ID + _NONCE], packed[_ID + _NONCE :]
        if len(sealed) < _TAG:
            raise SessionUnreadable("is damaged")
        if which not in self._keys:
            raise SessionUnreadable("is encrypted with a key that is not there")
        aead = aeads.get(which)
        if aead is None:
            aead = aeads[which] = _aead(self._keys[which], record)
        try:
            return aead.decrypt(nonce, sealed, _bound(record, name))
        except InvalidTag:
            raise SessionUnreadable("was changed, or moved from another session or field") from None

    def __repr__(self) -> str:
        return f"<SessionCipher of {len(self._keys)} keys>"


def _aead(secret: bytes, record: bytes) -> AESGCM:
    return AESGCM(blake2b(record, key=secret, person=b"session record", digest_size=_KEY).digest())


def _id_of(secret: bytes) -> bytes:
    return blake2b(key=secret, person=b"session key id", digest_size=_ID).digest()


def _bound(record: bytes, name: str) -> bytes:
    """Return what is authenticated with a value, in one possible division."""
    return b"%d:%b%b" % (len(record), record, name.encode())


def _secret(key: str | bytes) -> bytes | None:
    """Return a key's 32 bytes, None if it has not that many."""
    if isinstance(key, str):
        try:
            text = key.translate(str.maketrans("-_", "+/")).rstrip("=")
            key = b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            return None
    return key if len(key) == _KEY else None


def _faults(secrets: list[bytes | None]) -> list[str]:
    option = "keys (GUARD_SESSION_ENCRYPTION)"
    faults = [] if secrets else [f"{option}: none given; at least one is needed"]
    seen: dict[bytes, int] = {}
    for place, secret in enumerate(secrets, 1):
        if secret is None:
            faults.append(f"{option}: number {place} has not 32 bytes; allowed are 32 random ones, or base64 of them")
            continue
        first = seen.setdefault(_id_of(secret), place)
        if first != place:
            faults.append(f"{option}: number {place} is the same as number {first}")
    return faults
