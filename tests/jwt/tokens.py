"""Keys and tokens, good and forged. Law: nothing here asks the clock; keys are made once a run."""

import base64
import datetime
import hashlib
import hmac
import json
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import get_default_algorithms

NOW = 1_700_000_000.0
SECRET = b"not so secret: 64 bytes are what HS512 asks for, and HS256 takes."
OTHER_SECRET = SECRET[::-1]

FAMILIES = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "secret"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa"),
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


def private(name: str, which: int = 0) -> Any:
    """Return a private key, or the secret; another `which` is another key of the kind."""
    return _made(name, which)


@cache
def _made(name: str, which: int) -> Any:
    if name == "secret":
        return OTHER_SECRET if which else SECRET
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, int(name[3:] or 2048))
    if name.startswith("ed"):
        return (ed25519.Ed25519PrivateKey if name == "ed25519" else ed448.Ed448PrivateKey).generate()
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k256": ec.SECP256K1}
    return ec.generate_private_key(curves[name]())


def public_pem(name: str, which: int = 0) -> str:
    """Return the public key as PEM, the secret as text."""
    key = private(name, which)
    if isinstance(key, bytes):
        return key.decode()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(name: str, password: bytes | None = None) -> str:
    """Return the private key as PEM."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return private(name).private_bytes(serialization.Encoding.PEM, form, lock).decode()


def certificate_pem(name: str) -> str:
    """Return a certificate of the key."""
    key, subject = private(name), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    day = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(36_500))
    signed = builder.sign(key, None if name.startswith("ed") else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def jwk(algorithm: str, which: int = 0, **members: Any) -> dict[str, Any]:
    """Return the public JWK of an algorithm's key."""
    key = private(FAMILIES[algorithm], which)
    own = key if isinstance(key, bytes) else key.public_key()
    return {**get_default_algorithms()[algorithm].to_jwk(own, as_dict=True), **members}


def claims(**more: Any) -> dict[str, Any]:
    """Return claims that are good at `NOW`; None takes one away."""
    given = {"sub": "alice", "jti": "t-1", "iat": NOW - 10, "exp": NOW + 60, **more}
    return {name: value for name, value in given.items() if value is not None}


def sign(
    payload: Any = None, algorithm: str = "HS256", *, which: int = 0, key: Any = None, header: Any = None, **more: Any
) -> bytes:
    """Return a token signed as it should be; `payload` may be bytes, `more` are claims."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload or claims(**more)).encode()
    material = private(FAMILIES[algorithm], which) if key is None else key
    return PyJWS().encode(data, material, algorithm, header).encode()


def forge(header: Any, payload: Any = None, secret: bytes | None = None) -> bytes:
    """Put a token together by hand, with any header at all; signed by HMAC-SHA-256 with `secret`, or not signed."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload or claims()).encode()
    signed = b".".join((b64(raw), b64(body)))
    return signed + b"." + (b64(hmac.digest(secret, signed, hashlib.sha256)) if secret is not None else b"")


def b64(data: bytes) -> bytes:
    """Encode as RFC 7515 §2 does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unb64(text: bytes) -> bytes:
    """Decode, generously."""
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def bearer(token: bytes) -> dict[str, bytes]:
    """Return the header that carries `token`."""
    return {"authorization": b"Bearer " + token}
