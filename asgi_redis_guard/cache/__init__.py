"""Response caching: the semantics of HTTP's shared caches, and what is built upon them."""
