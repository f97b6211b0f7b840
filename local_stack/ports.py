"""Free TCP ports on the loopback interface."""

import os
import random
import socket
from collections import deque
from pathlib import Path

#: How many of a process's last ports stay its own: a server has long begun to listen by then, and is back after a restart.
KEPT = 100
_claims: deque[int] = deque()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now, and that no other call is given soon, in no process: it will be a
    moment before the server listens, and a while when it is restarted. Strangers may be faster all the same: retry when the
    bind fails.

    It lies below the range of ports that outgoing connections get. In that range, a client that keeps reconnecting
    while its server is down can be given the server's own port: it then talks to itself and blocks the restart.
    """
    first_outgoing = _first_outgoing_port()
    candidates = range(10_240, first_outgoing)
    for port in random.sample(candidates, min(50, len(candidates))) if first_outgoing > 11_264 else []:
        if _claim(port) and _can_bind(port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _first_outgoing_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def _claim(port: int) -> bool:
    """UDP's port of the same number says that this one is given away; nobody here uses it, and it ends with its process."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim.detach())
    if len(_claims) > KEPT:
        os.close(_claims.popleft())
    return True


def _can_bind(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
