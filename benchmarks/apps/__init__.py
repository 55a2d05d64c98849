"""The same API many times: bare, with our guards, and with its peers, each used as its documentation asks.

Every guarded app does the same for `GET /items/{id}`: verify an HS256 bearer token (signature, exp, sub, jti), ask
Redis whether its jti is revoked (401), and charge every limit of `LIMITS` to its user (429). `POST /logout` revokes the
token that it is called with. Where a peer leaves a choice, the choice that is faster for the peer is taken.
The `cached_*` apps have no guards (but `cached_ours_stack`) and the routes of `work.py`.
"""

import os

SECRET = "a secret for benchmarks only, 32 bytes or more"
REDIS_URL = os.environ.get("REDIS_URL", "")
POOL_SIZE = int(os.environ.get("REDIS_MAX_CONNECTIONS", "256"))
LIMITS = tuple(os.environ.get("BENCH_LIMITS", "1000000/minute;10000000/hour").split(";"))
MEMORY_TTL = float(os.environ.get("BENCH_MEMORY_TTL", "0"))
TOKEN_LIFE = 3600

#: What a session holds after its login.
FIELDS = {
    "cart": 3,
    "locale": "de-AT",
    "theme": "dark",
    "csrf": "1f0c2f9d5b7a4e63",
    "last_page": "/items/7",
    "currency": "EUR",
    "newsletter": True,
    "step": 2,
}
