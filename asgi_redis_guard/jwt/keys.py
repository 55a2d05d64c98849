"""The keys that tokens are verified with: what may be given, and which algorithms each may be used for.

A key is bound to its family of algorithms at construction (RFC 8725 §3.1), so that no token can choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWTError

from ..errors import ConfigurationError

#: Those whose keys may be published.
PUBLIC_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)

ALGORITHMS = ("HS256", "HS384", "HS512", *PUBLIC_ALGORITHMS)

#: RFC 7518 §3.2: a key at least as long as the hash.
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

#: What may be given as a key: a secret, PEM text, a JWK as a dictionary.
KeyLike = str | bytes | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """One key, ready for use, with the algorithms it may verify."""

    material: Any = field(repr=False)
    algorithms: tuple[str, ...]
    kid: str | None = None


class KeySet:
    """All keys of a verifier: several while keys are rotated, or one for each `kid`."""

    def __init__(
        self, keys: KeyLike | Sequence[KeyLike] | Mapping[str, KeyLike], algorithms: Iterable[str] = ()
    ) -> None:
        wanted = tuple(algorithms)
        faults = [_unknown(name) for name in wanted if name not in ALGORITHMS]
        if any(name.startswith("HS") for name in wanted) and not all(name.startswith("HS") for name in wanted):
            faults.append(
                f"algorithms (GUARD_JWT_ALGORITHMS): {', '.join(wanted)} given; a shared secret (HS*) and public keys "
                "must not be mixed"
            )
        self.keys: list[VerifyKey] = []
        for kid, raw in _each(keys):
            try:
                self.keys.append(_prepare(raw, kid, wanted))
            except ConfigurationError as error:
                faults += error.faults
        if not self.keys and not faults:
            faults.append("key (GUARD_JWT_KEY): none given; a secret, a PEM key or a JWK is needed")
        if len({key.algorithms[0].startswith("HS") for key in self.keys}) > 1:
            faults.append("key (GUARD_JWT_KEY): secrets and public keys given; they must not be mixed")
        ConfigurationError.raise_for(faults)
        self.algorithms = tuple(dict.fromkeys(name for key in self.keys for name in key.algorithms))

    @classmethod
    def of(cls, keys: Iterable[VerifyKey]) -> KeySet:
        """Return a set of keys that are ready for use; there may be none."""
        made = cls.__new__(cls)
        made.keys = list(keys)
        made.algorithms = tuple(dict.fromkeys(name for key in made.keys for name in key.algorithms))
        return made

    def candidates(self, kid: object, algorithm: object) -> list[VerifyKey]:
        """Return the keys to try for a token that says it was signed with `kid` by `algorithm`.

        A `kid` that is known picks its key alone; one that is not known leaves the keys that have none.
        """
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        named = [key for key in fitting if key.kid is not None and key.kid == kid]
        return named or [key for key in fitting if key.kid is None or kid is None]


def _each(keys: Any) -> list[tuple[str | None, KeyLike]]:
    if isinstance(keys, str | bytes):
        parsed = jwk_text(keys)
        return _each(parsed) if parsed is not None else [(None, keys)] if keys else []
    if isinstance(keys, Mapping):
        if "kty" in keys:
            return [(None, keys)]
        if isinstance(keys.get("keys"), list):  # RFC 7517 §4.2: those for encryption are not for us
            return [(None, key) for key in keys["keys"] if not isinstance(key, Mapping) or key.get("use") != "enc"]
        return [(str(kid), key) for kid, key in keys.items()]
    if not isinstance(keys, Iterable):
        raise ConfigurationError(
            f"key (GUARD_JWT_KEY): a {type(keys).__name__} given; allowed are a secret, PEM text, a JWK, and a list"
        )
    return [(None, key) for key in keys]


def jwk_text(text: str | bytes) -> Mapping[str, Any] | None:
    """Return the JWK or JWK set that `text` is, as it stands in an environment variable, or None."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) and ("kty" in parsed or isinstance(parsed.get("keys"), list)) else None


def _prepare(raw: Any, kid: str | None, wanted: tuple[str, ...]) -> VerifyKey:
    """Load one key and settle its algorithms; raises `ConfigurationError` without repeating the key."""
    if isinstance(raw, Mapping):
        return _from_jwk(raw, kid, wanted)
    data = raw.encode() if isinstance(raw, str) else bytes(raw)
    if b"-----BEGIN" in data:
        key = _load_pem(data)
        return _bound(key, _family(key), kid, wanted)
    return _bound(data, ("HS256", "HS384", "HS512"), kid, wanted or ("HS256",))


def _bound(material: Any, family: tuple[str, ...], kid: str | None, wanted: tuple[str, ...]) -> VerifyKey:
    allowed = tuple(name for name in wanted if name in family) if wanted else family[:1]
    if not allowed:
        raise ConfigurationError(
            f"algorithms (GUARD_JWT_ALGORITHMS): {', '.join(wanted)} given; this key is for {', '.join(family)}"
        )
    if isinstance(material, bytes):
        _check_secret(material)
        needed = max(_SECRET_BYTES[name] for name in allowed)
        if len(material) < needed:
            raise ConfigurationError(
                f"key (GUARD_JWT_KEY): a secret of {len(material)} bytes given; "
                f"{', '.join(allowed)} needs {needed} or more"
            )
    return VerifyKey(material, allowed, kid)


def _check_secret(material: bytes) -> None:
    """Refuse what is a key of another kind: verifying HMAC with public material would let anybody sign."""
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(material)
    except PyJWTError:
        raise ConfigurationError(
            "key (GUARD_JWT_KEY): a secret given that is empty, or a public key, a certificate or a JWK in disguise"
        ) from None


def _from_jwk(raw: Mapping[str, Any], kid: str | None, wanted: tuple[str, ...]) -> VerifyKey:
    if raw.get("use") == "enc":
        raise ConfigurationError("key (GUARD_JWT_KEY): a JWK for encryption given; one for signatures is needed")
    try:
        jwk = PyJWK(dict(raw))
    except (PyJWTError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise ConfigurationError(f"key (GUARD_JWT_KEY): not a usable JWK ({type(error).__name__})") from None
    material = jwk.key
    family = ("HS256", "HS384", "HS512") if isinstance(material, bytes) else _family(material)
    own = raw.get("alg")
    if own is not None:
        family = tuple(name for name in family if name == own)
        if not family:
            raise ConfigurationError(f"key (GUARD_JWT_KEY): a JWK for {own!r}; allowed are {', '.join(ALGORITHMS)}")
    return _bound(_public(material), family, kid or raw.get("kid"), wanted)


def _load_pem(data: bytes) -> Any:
    loaders: tuple[Any, ...] = (
        serialization.load_pem_public_key,
        lambda pem: _certificate_key(pem),
        lambda pem: serialization.load_pem_private_key(pem, None),
    )
    for load in loaders:
        try:
            return _public(load(data))
        except (ValueError, TypeError):
            continue
    raise ConfigurationError(f"key (GUARD_JWT_KEY): PEM given that is no readable key or certificate{_hint(data)}")


def _hint(pem: bytes) -> str:
    """Name the two commonest reasons why PEM is not read."""
    if b"ENCRYPTED" in pem:
        return "; it is encrypted, allowed is one without a password"
    return '; its lines end with the characters "\\n" in place of line breaks' if b"\\n" in pem else ""


def _certificate_key(pem: bytes) -> Any:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem).public_key()


def _public(key: Any) -> Any:
    return key.public_key() if hasattr(key, "private_bytes") else key


def _family(key: Any) -> tuple[str, ...]:
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        if key.key_size < 2048:
            raise ConfigurationError(f"key (GUARD_JWT_KEY): RSA of {key.key_size} bits given; 2048 or more are needed")
        return ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return (_CURVES[key.curve.name],)
    if isinstance(
        key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    ):
        return ("EdDSA",)
    raise ConfigurationError(
        f"key (GUARD_JWT_KEY): {type(key).__name__} given; allowed are RSA, P-256, P-384, P-521, Ed25519"
    )


def _unknown(name: str) -> str:
    return f"algorithms (GUARD_JWT_ALGORITHMS): {name!r} given; allowed are {', '.join(ALGORITHMS)}"
