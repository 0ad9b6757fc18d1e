"""Listening sockets. The control process opens them once; workers inherit them, so a worker that dies loses no queued connection."""

from __future__ import annotations

import resource
import socket

from router.errors import ConfigError

BACKLOG = 2048
MANY = 100_000


def bound(host: str, port: int, setting: str = "") -> socket.socket:
    """A socket that has the address, and refuses whoever connects until it is told to `listen`. Raises ConfigError in one sentence where
    the address cannot be had; `setting` is where it comes from."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise _unavailable(host, port, error, setting) from None
    sock.setblocking(False)
    return sock


def held(host: str, port: int, count: int, setting: str = "") -> list[socket.socket]:
    """`count` ports from `port` on (any free ones where it is 0), for workers that open their own listeners: nobody else can take them,
    also while a worker is replaced. Raises ConfigError."""
    sockets: list[socket.socket] = []
    try:
        for place in range(count):
            if port:
                refuse_shared(host, port + place, setting)
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host, port + place if port else 0))
    except (OSError, OverflowError) as error:
        for each in sockets:
            each.close()
        raise _unavailable(host, port + len(sockets) - 1, error, setting) from None
    except ConfigError:
        for each in sockets:
            each.close()
        raise
    return sockets


def refuse_shared(host: str, port: int, setting: str = "") -> None:
    """Of one user's processes several may listen on a port that is shared as those of workers are, and each would get a part of the other's
    callers. Raises ConfigError where somebody listens there."""
    bound(host, port, setting).close()


def listen(sock: socket.socket, setting: str = "") -> socket.socket:
    """From here on connections are queued, also for processes that inherited the socket before. Raises ConfigError as `bound`."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        host, port = sock.getsockname()[:2]
        raise _unavailable(host, port, error, setting) from None
    return sock


def _unavailable(host: str, port: int, error: OSError | OverflowError, setting: str) -> ConfigError:
    where = f"{host}:{port} ({setting})" if setting else f"{host}:{port}"
    return ConfigError(f"cannot listen on {where}: {(getattr(error, 'strerror', None) or str(error)).lower()}")


def most_connections() -> int:
    """How many connections a listener of this process may have. Half of the files that it may open, once it may open all it can have: the
    others are for upstreams and for itself, which a crowd of callers must not starve."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return MANY if most == resource.RLIM_INFINITY else min(MANY, most // 2)
