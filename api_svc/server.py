"""uvicorn, started and stopped by our own process: its signals are ours."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from shared.core.errors import ConfigError

log = structlog.get_logger(__name__)

#: Requests under way at the end get this long; they are short.
GRACE_S = 3
MAX_CONNECTIONS = 1000


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A socket on the port, 0 for a free one. Raises ConfigError where it cannot be had."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"API_HOST: {host} is no address of this machine ({error.strerror})") from None
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()  # who reads in the log that we listen may call at once
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"API_PORT: {port} is taken; choose another, or 0 for a free one") from None
        raise ConfigError(f"API_HOST: cannot listen on {host}:{port} ({error.strerror})") from None
    return listener


async def serve(app: FastAPI, listener: socket.socket, stop: asyncio.Event) -> None:
    """Runs the application's lifespan and serves until `stop`; what is under way then is finished."""
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",  # run here, where an error in it (a setting, say) reaches the process
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    async with app.router.lifespan_context(app):
        host, port = listener.getsockname()[:2]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        log.info("api_listening", host=host, port=port)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await serving
