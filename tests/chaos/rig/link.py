"""A TCP link between one of our processes and one server, which a test cuts, delays, silences and heals."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self

from local_stack.ports import free_port
from tests.chaos.rig.connection import Connection, Course

BIND_ATTEMPTS = 20
CALL_TIMEOUT_S = 10.0
Call = Callable[[Coroutine[Any, Any, None]], None]


class Wires:
    """The thread that carries all links of a test. A context manager: at its end they are gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._links: list[Link] = []

    def link(self, target_port: int) -> "Link":
        """A new link to a port on 127.0.0.1, healthy."""
        link = Link(self._call, target_port)
        self._links.append(link)
        return link

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in self._links:
            link.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()


class Link:
    """Listens on `port` of 127.0.0.1 unless it is cut; the port stays the same, and ours, while it is.

    To be called from any thread but the wires' own; a method returns when the change is in force.
    """

    def __init__(self, call: Call, target_port: int) -> None:
        self._call = call
        self._target_port = target_port
        # Never listens: connections to a port that is only bound are refused.
        self._reserved = _reserve()
        self.port = int(self._reserved.getsockname()[1])
        self._course = Course()
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        call(self._heal())

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    def cut(self) -> None:
        """Refuses new connections and resets the open ones, until `heal`."""
        self._call(self._cut())

    def delay(self, seconds: float) -> None:
        """Each piece of data, in both directions, arrives this much later."""
        self._call(self._delay(seconds))

    def blackhole(self, direction: Literal["requests", "answers", "both"] = "both") -> None:
        """Nothing arrives any more in this direction, and nobody is told; new connections are silent, too.

        What is sent waits, as in a network that has lost a route, and arrives after `heal`. With `answers` the server
        gets what it is asked, and does it.
        """
        self._call(self._silence(direction))

    def half_close(self) -> None:
        """Ends the answers on the open connections in order (FIN), while what the process sends still arrives."""
        self._call(self._half_close())

    def reset_connections(self) -> None:
        """Resets the open connections, on both sides; new ones are welcome."""
        self._call(self._reset())

    def heal(self) -> None:
        """As if nothing had been wrong."""
        self._call(self._heal())

    def close(self) -> None:
        self.cut()
        self._reserved.close()

    # -------------------------------------------------------------------------------------------- in the wires' thread

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _delay(self, seconds: float) -> None:
        self._course.delay_s = seconds

    async def _silence(self, direction: Literal["requests", "answers", "both"]) -> None:
        for name, gate in self._course.gates.items():
            if direction in (name, "both"):
                gate.clear()

    async def _half_close(self) -> None:
        for connection in self._connections:
            connection.half_close()

    async def _reset(self) -> None:
        for connection in list(self._connections):
            await connection.reset()

    async def _heal(self) -> None:
        self._course.clear()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, sock=_bound(self.port))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self._course, self._target_port, writer)
        self._connections.add(connection)
        try:
            await connection.carry(reader)
        finally:
            self._connections.discard(connection)


def _reserve() -> socket.socket:
    for _ in range(BIND_ATTEMPTS - 1):
        try:
            return _bound(free_port())
        except OSError:  # somebody was faster
            continue
    return _bound(free_port())


def _bound(port: int) -> socket.socket:
    """Two sockets may be bound to one port while neither listens, if both say so."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound
