"""Run a sandbox: in this process until a signal, or in a thread for tests; with connections that can be reset."""

import asyncio
import json
import signal
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from local_stack.ports import free_port

STOP_S = 1
START_TIMEOUT_S = 20.0
# Somebody may take a free port before we bind it.
BIND_ATTEMPTS = 5


class AbortableProtocol(H11Protocol):
    """Uvicorn's protocol; the application finds its connection's transport in `scope["state"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def abort_connection(scope: Scope, receive: Receive) -> None:
    """Reset the client's connection: it gets RST, as if the server's host had died and come back."""
    transport = cast(asyncio.Transport | None, scope.get("state", {}).get("transport"))
    if transport is None:
        raise RuntimeError("cutting a connection needs a sandbox run by local_stack.sandbox.serving")
    no_lingering = struct.pack("ii", 1, 0)
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
    transport.abort()
    # Uvicorn expects an answer until it has seen the connection go.
    while (await receive())["type"] != "http.disconnect":
        pass


def bind(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes a free one. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempts_left in reversed(range(BIND_ATTEMPTS)):
        # asyncio sets TCP_NODELAY only where the protocol is spelled out; without it each answer waits 40 ms for an ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port or free_port()))
        except OSError:
            listener.close()
            if port or not attempts_left:
                raise
        else:
            return listener
    raise AssertionError("unreachable")


class AnnouncingServer(uvicorn.Server):
    """Calls `announce` once connections are accepted."""

    def __init__(self, app: ASGIApp, announce: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=AbortableProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


def run(app: ASGIApp, name: str, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Prints one JSON line when it listens:
    `{"event": "listening", "sandbox": "stripe", "host": "127.0.0.1", "port": 40123, "url": "http://127.0.0.1:40123"}`.
    """
    listener = bind(host, port)
    bound_host, bound_port = listener.getsockname()[:2]
    url = _url(bound_host, bound_port)
    line = {"event": "listening", "sandbox": name, "host": bound_host, "port": bound_port, "url": url}
    server = AnnouncingServer(app, lambda: print(json.dumps(line), flush=True))
    # Uvicorn raises the signal again once it has shut down; its work is done by then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    asyncio.run(server.serve(sockets=[listener]))


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class SandboxThread:
    """A sandbox in a thread of this process, on 127.0.0.1; `url` has no trailing slash. A context manager."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._listener = bind("127.0.0.1", port)
        self.port = int(self._listener.getsockname()[1])
        self.url = _url("127.0.0.1", self.port)
        self._started = threading.Event()
        self._server = AnnouncingServer(app, self._started.set)
        self._thread = threading.Thread(target=self._serve, name=f"sandbox-{self.port}", daemon=True)

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise RuntimeError("the sandbox did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_S + 10)
        self._listener.close()
