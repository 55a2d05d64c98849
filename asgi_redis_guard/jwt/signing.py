"""The keys that tokens are signed with: `SigningKey`, one of them, and `KeyRing`, all that stand for one issuer. Pure.

Law: what leaves a ring by `public_jwks` is public. A private part or a secret never stands in a repr or an error.

A key is rotated without one refused token in three steps, each brought to every process before the next begins:

    1  KeyRing(old, upcoming=[new])   `new` is published and accepted, and signs nothing; wait as long as verifiers
                                      may keep a JWK set (`max-age` of the route, and of caches behind it)
    2  KeyRing(new, old)              `new` signs; wait for the life of an access token, and the verifiers' leeway
    3  KeyRing(new)                   `old` is gone

In a deployment that is under way, processes of two neighbouring steps accept each other's tokens.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import orjson
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms

from ..errors import ConfigurationError
from .keys import KeyLike, KeySet, VerifyKey, jwk_text

#: RFC 7638 §3.2, RFC 8037 §2: the members of a public key that make its thumbprint.
_IDENTIFYING = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}

_LONGEST_KID = 255


class SigningKey:
    """One key that tokens are signed with.

    `key`: a secret, a private key as PEM text, or a private JWK, as a dictionary or as text. `algorithm`: what it signs
    with; without it, what the JWK says, else RS256 for an RSA key and HS256 for a secret. `kid`: what verifiers find it
    by; without it that of the JWK, else the thumbprint of the public key (RFC 7638), of a secret a keyed hash that
    tells no more of it than a token does. Raises `ConfigurationError`.
    """

    __slots__ = ("_algorithm", "_jwk", "_material", "algorithm", "kid")

    algorithm: str
    kid: str

    def __init__(self, key: KeyLike, *, algorithm: str | None = None, kid: str | None = None) -> None:
        raw = _parsed(key)
        verifies = _verifying(raw, algorithm)
        material = _private(raw)
        self.algorithm = verifies.algorithms[0]
        self._algorithm = get_default_algorithms()[self.algorithm]
        public = dict(self._algorithm.to_jwk(verifies.material, as_dict=True))
        given = kid if kid is not None else verifies.kid
        ConfigurationError.raise_for([*_private_faults(verifies, material), *_kid_faults(given)])
        self._material = self._algorithm.prepare_key(material)
        self.kid = given if given is not None else _secret_name(material) if self.is_secret else thumbprint(public)
        public.pop("key_ops", None)
        self._jwk = {**public, "use": "sig", "alg": self.algorithm, "kid": self.kid}

    @property
    def is_secret(self) -> bool:
        """True for a shared secret (HS*): who verifies with it can sign."""
        return self.algorithm.startswith("HS")

    def sign(self, payload: bytes, typ: str) -> bytes:
        """Return the token (RFC 7515 §3.1, compact) that carries `payload`, its header naming `typ` and this key."""
        header = orjson.dumps({"alg": self.algorithm, "kid": self.kid, "typ": typ})
        signed = _base64(header) + b"." + _base64(payload)
        return signed + b"." + _base64(self._algorithm.sign(signed, self._material))

    def public_jwk(self) -> dict[str, Any] | None:
        """Return the public key as a JWK (RFC 7517 §4), or None for a secret, which has no public part."""
        return None if self.is_secret else dict(self._jwk)

    def verify_key(self) -> dict[str, Any]:
        """Return what `KeySet` verifies this key's tokens with. Of a secret, that is the secret."""
        return dict(self._jwk)

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid!r} for {self.algorithm}>"


class KeyRing:
    """The keys of one issuer: `active` signs, and it, the `older` and the `upcoming` ones verify.

    Keys are `SigningKey`s, or what one is made of. Secrets and key pairs are not mixed, and no two keys have one `kid`.
    A ring does not change: to rotate, make another one (the steps stand on top of this module). Raises
    `ConfigurationError`.
    """

    __slots__ = ("active", "keys")

    active: SigningKey

    def __init__(
        self,
        active: SigningKey | KeyLike,
        *older: SigningKey | KeyLike,
        upcoming: Iterable[SigningKey | KeyLike] = (),
    ) -> None:
        keys: list[SigningKey] = []
        faults: list[str] = []
        for key in (active, *_several(upcoming), *older):
            try:
                keys.append(key if isinstance(key, SigningKey) else SigningKey(key))
            except ConfigurationError as error:
                faults += error.faults
        ConfigurationError.raise_for(faults + _ring_faults(keys))
        self.active = keys[0]
        #: All of them, the active one first.
        self.keys = tuple(keys)

    @classmethod
    def of(cls, keys: KeyRing | SigningKey | KeyLike) -> KeyRing:
        """Return what an option `keys=` stands for: a ring, or one of the key that was given."""
        return keys if isinstance(keys, KeyRing) else cls(keys)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What the tokens of this ring may be signed with."""
        return tuple(dict.fromkeys(key.algorithm for key in self.keys))

    def sign(self, payload: bytes, typ: str) -> bytes:
        """Return the token that carries `payload`, signed with the active key."""
        return self.active.sign(payload, typ)

    def public_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the JWK set (RFC 7517 §5) for publication: public keys alone, none where the keys are secrets."""
        return {"keys": [jwk for key in self.keys if (jwk := key.public_jwk()) is not None]}

    def verify_keys(self) -> list[KeyLike]:
        """Return what `JWTAuth(key=…)` takes: each key as a JWK, with its `kid` and algorithm. Secrets are in it."""
        return [key.verify_key() for key in self.keys]

    def secrets(self) -> list[bytes]:
        """Return the keys that are secrets, not pairs: whoever verifies with one can sign with it."""
        keys = KeySet(self.verify_keys()).keys
        return [key.material for key in keys if isinstance(key.material, bytes)]

    def __repr__(self) -> str:
        return f"<KeyRing: {self.active.kid!r} signs with {self.active.algorithm}, {len(self.keys)} verify>"


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the RFC 7638 thumbprint of a public key: base64url of SHA-256 over its identifying members."""
    members = {name: jwk[name] for name in _IDENTIFYING[jwk["kty"]]}
    return _base64(sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()).decode()


def _secret_name(secret: bytes) -> str:
    """Name a secret. The hash is keyed with it, as those of tokens are; no token signs this text, which has no dot."""
    return _base64(hmac.digest(secret, b"key id", "sha256")[:16]).decode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _parsed(key: KeyLike) -> str | bytes | Mapping[str, Any]:
    """Return `key`, and as a dictionary where it is the text of a JWK."""
    found = jwk_text(key) if isinstance(key, str | bytes) else key
    if isinstance(key, str | bytes) and found is None:
        return key
    if isinstance(found, Mapping) and "kty" in found:
        return found
    what = "a mapping that is no JWK" if isinstance(found, Mapping) else f"a {type(key).__name__}"
    several = "; several stand in a KeyRing" if isinstance(key, list | tuple) else ""
    raise ConfigurationError(
        f"key: {what} given; allowed are a secret, a private key as PEM text, and a private JWK{several}"
    )


def _verifying(raw: str | bytes | Mapping[str, Any], algorithm: str | None) -> VerifyKey:
    """Check what a verifier would check, and return what it would have."""
    try:
        (key,) = KeySet(raw, () if algorithm is None else (algorithm,)).keys
    except ConfigurationError as error:
        # The environment's options are those of a verifier; this key was given by the app.
        raise ConfigurationError(*(_of_this_key(fault) for fault in error.faults)) from None
    return key


def _of_this_key(fault: str) -> str:
    return fault.replace("key (GUARD_JWT_KEY)", "key").replace("algorithms (GUARD_JWT_ALGORITHMS)", "algorithm")


def _private(raw: str | bytes | Mapping[str, Any]) -> Any:
    """Return the secret or the private key, or None where there is only a public one."""
    if isinstance(raw, Mapping):
        key = PyJWK(dict(raw)).key
        return key if isinstance(key, bytes) or hasattr(key, "private_bytes") else None
    data = raw.encode() if isinstance(raw, str) else bytes(raw)
    if b"-----BEGIN" not in data:
        return data
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError):
        return None


def _private_faults(verifies: VerifyKey, material: Any) -> list[str]:
    if material is not None:
        return []
    return [f"key: a public key for {verifies.algorithms[0]} given; signing needs the private one"]


def _kid_faults(kid: object) -> list[str]:
    if kid is None or (isinstance(kid, str) and 0 < len(kid) <= _LONGEST_KID and kid.isascii() and kid.isprintable()):
        return []
    return [f"kid: {kid!r} given; allowed are 1 to {_LONGEST_KID} printable ASCII characters"]


def _several(keys: Iterable[SigningKey | KeyLike] | SigningKey) -> Iterable[SigningKey | KeyLike]:
    """Refuse the one key that was meant to be a list of one: its characters would each be taken for a key."""
    if isinstance(keys, SigningKey | str | bytes | Mapping):
        raise ConfigurationError("upcoming: one key given; allowed is a list of keys")
    return keys


def _ring_faults(keys: list[SigningKey]) -> list[str]:
    faults = []
    if len({key.is_secret for key in keys}) > 1:
        faults.append("keys: secrets and key pairs given; they must not be mixed, for verifiers hold one kind")
    seen: set[str] = set()
    for key in keys:
        if key.kid in seen:
            faults.append(f"keys: two with the kid {key.kid!r} given; each needs its own")
        seen.add(key.kid)
    return faults
