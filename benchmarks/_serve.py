"""The uvicorn child: serves one app on a socket that the benchmark has already bound (argv: its number, the app)."""

import socket
import sys

import uvicorn


def main() -> None:
    """Serve until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    uvicorn.Server(uvicorn.Config(sys.argv[2], **options)).run(sockets=[listener])


if __name__ == "__main__":
    main()
