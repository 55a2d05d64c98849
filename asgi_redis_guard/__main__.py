"""`python -m asgi_redis_guard` is the `asgi-redis-guard` command."""

import sys

from .cli import main

sys.exit(main())
