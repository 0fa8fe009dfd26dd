"""Listen on an address and serve the page there until Ctrl-C."""

import ipaddress
import socket

import uvicorn
from starlette.applications import Starlette

from fasttcm.errors import ConfigError

__all__ = ["address_of", "build_server", "is_loopback", "listen"]

HIGHEST_PORT = 65535

STOP_SECONDS = 5
"""How long a picture that is being read may delay the end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, so that a busy port is told before a model is loaded.

    Args:
        host: a name or an address of this machine, IPv4 or IPv6.
        port: 0 takes any free one.

    Raises:
        ConfigError: a port out of range or in use, or a host that is not this machine.
    """
    if not 0 <= port <= HIGHEST_PORT:
        raise ConfigError(f"--port must lie in 0..{HIGHEST_PORT}, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another --port or --host") from error


def address_of(listener: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"  # "any address" is none that every browser opens
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def build_server(app: Starlette) -> uvicorn.Server:
    """A server; ``.run(sockets=[listener])`` returns after Ctrl-C or ``.should_exit = True``."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
