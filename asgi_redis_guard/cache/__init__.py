"""The response cache: a shared HTTP cache (RFC 9111), and caching by route."""
