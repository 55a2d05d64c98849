"""How refused tokens are answered (RFC 6750 §3), and the numbers that guard and revocation list must agree on."""

from __future__ import annotations

from ..core.asgi import Headers
from ..core.problem import problem
from ..core.steps import Answer

#: Seconds. A user's cutoff is kept this long; the guard refuses tokens that live longer, so that none outlives it.
MAX_LIFETIME = 30 * 86_400.0

#: Seconds. The most a verifier may be lenient; marks of revoked tokens are kept this much longer than the tokens.
MAX_LEEWAY = 600.0


def lifetime_faults(max_lifetime: float) -> list[str]:
    """What is wrong with a longest life in seconds: marks and cutoffs must end, and not before they begin."""
    if 0.001 <= max_lifetime <= 1e11:
        return []
    return [f"max_lifetime: {max_lifetime} given; allowed are 0.001 to 1e11 seconds"]


class Challenges:
    """Builds the refusals of one realm."""

    def __init__(self, realm: str) -> None:
        self._realm = realm

    def missing(self) -> Answer:
        """401 without an error code: no credentials were sent."""
        return self._answer(401, "unauthenticated", "This resource asks for an access token.")

    def malformed(self, description: str) -> Answer:
        """400 `invalid_request`."""
        return self._answer(400, "invalid_request", description, error="invalid_request")

    def invalid(self, description: str) -> Answer:
        """401 `invalid_token`."""
        return self._answer(401, "invalid_token", description, error="invalid_token")

    def insufficient(self, scopes: tuple[str, ...]) -> Answer:
        """403 `insufficient_scope`, with the scopes that are needed."""
        description = "The access token does not grant what this resource asks for"
        return self._answer(403, "insufficient_scope", description, error="insufficient_scope", scope=" ".join(scopes))

    def _answer(self, status: int, reason: str, description: str, *, error: str = "", scope: str = "") -> Answer:
        parts = [f'realm="{self._realm}"']
        if error:
            parts += [f'error="{error}"', f'error_description="{description}"']
        if scope:
            parts.append(f'scope="{scope}"')
        headers: Headers = [(b"www-authenticate", f"Bearer {', '.join(parts)}".encode("latin-1", "replace"))]
        return problem(status, reason, f"{description.rstrip('.')}.", headers=headers)
