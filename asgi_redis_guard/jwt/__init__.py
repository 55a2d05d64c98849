"""JSON Web Tokens. What verifies them stands here, everything else in rooms of its own:

    jwks/         keys that others publish: fetched, kept, and what is verified with them
    revocation/   the blacklist: written, asked, mirrored in memory
    service/      tokens of one's own: issued, refreshed, verified, revoked
    routes/       the HTTP side of that

Law: the guard knows neither the service nor where keys come from (`key_source.py`), and the service knows no routes.
"""
