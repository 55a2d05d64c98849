"""Distributed locks and semaphores with leases, fences and order; routes that are guarded by them."""
