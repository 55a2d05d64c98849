"""Requests and calls that take effect once, however often they are sent: by `Idempotency-Key`, or by a key of yours."""
