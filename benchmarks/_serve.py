"""The uvicorn child: serves one app on a socket that the benchmark has already bound (argv: its number, the app).

With BENCH_FREEZE=1 it takes what has been loaded by then out of the garbage collector's rounds, as `gc.freeze` is for.
"""

import gc
import os
import socket
import sys

import uvicorn


def main() -> None:
    """Serve until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    config = uvicorn.Config(sys.argv[2], **options)
    config.load()
    if os.environ.get("BENCH_FREEZE") == "1":
        gc.collect()
        gc.freeze()
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
