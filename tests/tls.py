"""TLS for tests: an authority and a certificate of its own, and a proxy that ends TLS in front of a server.

Law: one way for every machine. The servers at hand differ in whether they speak TLS, so that none of them has to.
"""

import asyncio
import datetime
import ipaddress
import ssl
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.serving import Serving

LOCAL = ("localhost", "127.0.0.1")


class Certificates:
    """The files of a fresh authority (`ca`) and of a certificate for 127.0.0.1 and localhost (`cert`, `key`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = _authority(self._authority_key)
        self.ca.write_bytes(self._authority.public_bytes(serialization.Encoding.PEM))
        self.cert, self.key = self.issue()

    def issue(
        self, name: str = "", *, hosts: tuple[str, ...] = LOCAL, expired: bool = False, password: bytes | None = None
    ) -> tuple[Path, Path]:
        """Write a certificate of the authority for some hosts, and its key; return the files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _server_certificate(key, self._authority, self._authority_key, hosts, expired)
        files = self.folder / f"{name}cert.pem", self.folder / f"{name}key.pem"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
        return files


class TLSProxy(Serving):
    """Accepts TLS on a free port of 127.0.0.1 and carries the plain bytes to a unix socket."""

    def __init__(
        self,
        path: str,
        certificates: Certificates,
        *,
        files: tuple[Path, Path] | None = None,
        asks_clients: bool = False,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        self.certificates = certificates
        self._path = path
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*(files or (certificates.cert, certificates.key)))
        context.maximum_version = newest
        if asks_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates.ca)
        super().__init__(context)

    @property
    def url(self) -> str:
        """The URL for a client that trusts the authority."""
        return f"{self.url_without_ca}?ssl_ca_certs={self.certificates.ca}"

    @property
    def url_without_ca(self) -> str:
        """The URL for a client that knows no such authority, and must refuse."""
        return f"rediss://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            writer.transport.abort()
            return
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        for end in (up_writer, writer):
            end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until their end, and hand that on."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    usage = {name: name in ("key_cert_sign", "crl_sign", "digital_signature") for name in _KEY_USAGES}
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
    expired: bool,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test server")])
    names = [x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(name, authority.subject, key.public_key(), hours=-1 if expired else 24)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, hours: float = 24
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=2))
        .not_valid_after(now + datetime.timedelta(hours=hours))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
