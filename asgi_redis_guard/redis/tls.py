"""What a failed TLS handshake means, in words that name the option to look at. Pure but for the types of errors."""

from __future__ import annotations

import ssl

from .address import Address

#: Parts of OpenSSL's reasons, and what they tell.
_REASONS = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate; see ssl_certfile and ssl_keyfile",
    "HANDSHAKE_FAILURE": "the server refused the handshake; it may ask for a client certificate (ssl_certfile)",
    "UNKNOWN_CA": "the server does not trust the client certificate (ssl_certfile)",
    "BAD_CERTIFICATE": "the server refused the client certificate (ssl_certfile)",
    "CERTIFICATE_EXPIRED": "the client certificate (ssl_certfile) has expired",
    "CERTIFICATE_UNKNOWN": "the server refused the client certificate (ssl_certfile)",
    "PROTOCOL_VERSION": "the server speaks no version of TLS that is allowed (ssl_min_version)",
    "UNSUPPORTED_PROTOCOL": "the server speaks no version of TLS that is allowed (ssl_min_version)",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS there; is it redis://?",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS there; is it redis://?",
}


def explain(error: BaseException, address: Address, greeted: bool) -> str | None:
    """Return what was refused, and why; None where TLS is not to blame. `greeted`: there was a handshake."""
    if not address.tls:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {address} was refused: {_verdict(error)}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").upper()
        told = next((text for part, text in _REASONS.items() if part in reason), None)
        return f"no TLS with {address}: {told or reason or error}"
    if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
        if not greeted:
            return f"{address} ended the handshake; does it speak TLS, of a version that is allowed (ssl_min_version)?"
        mine = "it may not trust the" if "ssl_certfile" in address.options else "it may ask for a"
        return f"{address} ended the connection after the handshake; {mine} client certificate (ssl_certfile)"
    return None


def _verdict(error: ssl.SSLCertVerificationError) -> str:
    text = error.verify_message.rstrip(".")
    if "mismatch" in text:
        return f"{text} (ssl_check_hostname)"
    if "expired" in text or "not yet valid" in text:
        return text
    return f"{text}; its authority is not among those that are trusted (ssl_ca_certs)"
