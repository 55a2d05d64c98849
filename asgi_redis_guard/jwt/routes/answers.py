"""What the routes of a token service answer: OAuth errors, tokens, keys. Pure: no I/O, no clock.

Law: nothing that a client has sent stands in an answer, and what holds a token is never stored (RFC 6749 §5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ...core.asgi import Headers
from ...core.problem import problem, unavailable
from ...core.steps import Answer

JSON = b"application/json"

#: RFC 6749 §5.1, both fields.
NO_STORE: Headers = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]


class Refused(Exception):
    """Ends the work on a request with an OAuth error (RFC 6749 §5.2): `error` is its code, the text its description."""

    def __init__(self, error: str, description: str, *, status: int = 400, headers: Headers | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.headers = headers or []

    def answer(self) -> Answer:
        """Return the error as it is sent."""
        document = {"error": self.error, "error_description": str(self)}
        return json_answer(document, status=self.status, headers=self.headers, reason=self.error)


def malformed(description: str, status: int = 400, headers: Headers | None = None) -> Refused:
    """Return `invalid_request`: a parameter is missing, given twice, or the body cannot be read."""
    return Refused("invalid_request", description, status=status, headers=headers)


def json_answer(
    document: Mapping[str, Any], *, status: int = 200, headers: Headers | None = None, reason: str = ""
) -> Answer:
    """Return a JSON document that nobody stores."""
    return content(orjson.dumps(document), JSON, [*NO_STORE, *(headers or ())], status=status, reason=reason)


def content(body: bytes, kind: bytes, headers: Headers, *, status: int = 200, reason: str = "") -> Answer:
    """Return a document of a media type."""
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [(b"content-type", kind), length, *headers], body, reason=reason)


def nothing(headers: Headers | None = None) -> Answer:
    """Return a 204."""
    return Answer(204, [*NO_STORE, *(headers or ())])


def done() -> Answer:
    """Return a 200 without content, as RFC 7009 §2.2 has it."""
    return Answer(200, [(b"content-length", b"0"), *NO_STORE])


def unknown() -> Answer:
    """Nothing is at this path."""
    return problem(404, "not_found", "There is nothing here.", title="Not Found")


def not_allowed(methods: bytes) -> Answer:
    """The path takes other methods (RFC 9110 §15.5.6)."""
    detail = f"Allowed here: {methods.decode()}."
    return problem(405, "method_not_allowed", detail, title="Method Not Allowed", headers=[(b"allow", methods)])


def away() -> Answer:
    """Redis cannot be asked: nothing was decided about a token, and the same request may be sent again."""
    return unavailable("The state of tokens cannot be told or changed now.")
