"""`/healthz`, `/readyz` and `/metrics` of a process without an HTTP API of its own."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.core.mask import mask
from shared.lifecycle import Component

log = structlog.get_logger(__name__)


class Readiness:
    """What a process needs in order to work, by name. Components report; `/readyz` tells."""

    def __init__(self, *names: str) -> None:
        self._checks: dict[str, str | None] = dict.fromkeys(names, "not started")

    def ok(self, name: str) -> None:
        if self._checks.get(name) is not None:
            log.info("ready_again", check=name)
        self._checks[name] = None

    def failed(self, name: str, why: str) -> None:
        why = mask(why)  # /readyz shows it to everybody
        if self._checks.get(name) != why:
            log.warning("not_ready", check=name, why=why)
        self._checks[name] = why

    def problems(self) -> dict[str, str]:
        """What is missing, and why; empty when ready."""
        return {name: why for name, why in self._checks.items() if why is not None}

    def body(self) -> dict[str, object]:
        return {
            "ready": not self.problems(),
            "checks": {name: why or "ok" for name, why in self._checks.items()},
        }


def describe(error: BaseException) -> str:
    """An error in one line; the driver's own words come first."""
    text = str(getattr(error, "orig", None) or error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def routes(readiness: Readiness) -> list[Route]:
    """The three end-points, for any Starlette application."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        return JSONResponse(readiness.body(), 503 if readiness.problems() else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


class _Server(uvicorn.Server):
    """Leaves signals to the process it is embedded in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Until it is cancelled. uvicorn's own loop goes round ten times a second, idle or not; once is enough for the Date
        header."""
        while True:
            await self.on_tick(0)
            await asyncio.sleep(1)


class HealthServer(Component):
    """Serves `routes` on a port; 0 picks a free one, and it is logged. A taken port is a warning, not the end."""

    name = "health"

    def __init__(self, readiness: Readiness, port: int | None, host: str = "127.0.0.1") -> None:
        self.port = port
        self._host = host
        app = Starlette(routes=routes(readiness))
        self._server = _Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        if self.port is None:
            return
        # Named in full: asyncio turns Nagle off only for sockets that say they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self.port))
            listener.listen()  # who reads in the log that we listen may call at once
        except OSError as error:
            listener.close()
            log.warning(
                "metrics_port_taken", port=self.port, error=errno.errorcode.get(error.errno or 0, str(error))
            )
            return
        self._socket = listener
        self.port = listener.getsockname()[1]
        log.info("metrics_listening", host=self._host, port=self.port)

    async def run(self) -> None:
        if self._socket is not None:
            await self._server.serve(sockets=[self._socket])

    async def stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
