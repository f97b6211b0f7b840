"""Redis connections with every time-out set (rule 15)."""

import socket
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis import Redis as BlockingRedis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.retry import Retry as BlockingRetry

CONNECT_TIMEOUT_S = 2.0
#: Longer than any blocking wait (`Transport.wait`), shorter than a lease.
COMMAND_TIMEOUT_S = 5.0
#: A connection that nobody needed for so long is closed.
IDLE_S = 60.0

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def redis_options(
    url: str, *, max_connections: int = 20, command_timeout_s: float = COMMAND_TIMEOUT_S
) -> dict[str, Any]:
    """redis-py's options for `url`, whichever class makes the client."""
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": command_timeout_s,
        # No health checks: redis-py makes one while it connects, and when that times out it connects anew from within,
        # without end. A silent server would hold every command of the client, whatever the time-outs.
        "health_check_interval": 0,
        # One reconnect for a connection that the server closed meanwhile; a real outage is the caller's to wait out.
        "retry": Retry(NoBackoff(), 1),
        "retry_on_timeout": False,
        **_tls_options(url),
    }
    if not url.startswith("unix://"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    return options


def connect(
    url: str, *, client_name: str, max_connections: int = 20, command_timeout_s: float = COMMAND_TIMEOUT_S
) -> Redis:
    """A client of its own pool; connects when first used. The URL is parsed by redis-py, credentials decoded."""
    options = redis_options(url, max_connections=max_connections, command_timeout_s=command_timeout_s)
    client: Redis = Redis.from_pool(_Pool.from_url(url, client_name=client_name, **options))
    return client


class _Pool(ConnectionPool):
    """Shrinks again. redis-py's own pool keeps as many connections as its busiest moment ever needed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used_at: dict[AbstractConnection, float] = {}

    async def release(self, connection: AbstractConnection) -> None:
        now, free = time.monotonic(), self._available_connections
        self._used_at[connection] = now
        await super().release(connection)
        # Last used, next used: the first of those that are free is the one that has rested longest.
        if free and now - self._used_at[free[0]] > IDLE_S:
            idle = free.pop(0)
            del self._used_at[idle]
            await idle.disconnect(nowait=True)


def connect_blocking(url: str, *, timeout_s: float, client_name: str | None = None) -> BlockingRedis:
    """A blocking client for a single quick command at a time, without a second try; connects when first used."""
    client: BlockingRedis = BlockingRedis.from_url(
        url,
        client_name=client_name,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=BlockingRetry(NoBackoff(), 0),
        **_tls_options(url),
    )
    return client


def _tls_options(url: str) -> dict[str, Any]:
    """redis-py 5 checks that somebody trusted made the certificate, but not for which host, unless told so."""
    if not url.startswith("rediss://"):
        return {}
    unchecked = parse_qs(urlsplit(url).query).get("ssl_cert_reqs") == ["none"]
    return {"ssl_check_hostname": not unchecked}
