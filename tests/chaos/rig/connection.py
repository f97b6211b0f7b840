"""One connection through a link: what a process says goes to the server, what that answers comes back."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["requests", "answers"]
CHUNK = 65536
CONNECT_TIMEOUT_S = 5.0


@dataclass
class Course:
    """What a link does to data on its way. For the wires' thread alone."""

    delay_s: float = 0.0
    gates: dict[Direction, asyncio.Event] = field(
        default_factory=lambda: {"requests": asyncio.Event(), "answers": asyncio.Event()}
    )

    def clear(self) -> None:
        self.delay_s = 0.0
        for gate in self.gates.values():
            gate.set()

    async def passed(self, direction: Direction) -> None:
        """Returns when a piece of data may go on."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self.gates[direction].wait()


class Connection:
    """A process's connection (`near`), and ours to the server (`far`)."""

    def __init__(self, course: Course, target_port: int, near: asyncio.StreamWriter) -> None:
        self._course = course
        self._target_port = target_port
        self._near = near
        self._far: asyncio.StreamWriter | None = None
        self._carrying = asyncio.current_task()
        self._answering: asyncio.Task[None] | None = None
        self._half_closing = False

    async def carry(self, requests: asyncio.StreamReader) -> None:
        """Until both sides have ended. Where one cannot be reached or resets, the other one gets a reset, too."""
        try:
            await self._course.passed("requests")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                answers, self._far = await asyncio.open_connection("127.0.0.1", self._target_port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(requests, self._far, "requests"))
                self._answering = group.create_task(self._pump(answers, self._near, "answers"))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            self._abort()
        finally:
            for writer in (self._near, self._far):
                if writer is not None:
                    writer.close()

    def half_close(self) -> None:
        """Ends the answers in order; requests still arrive."""
        if self._answering is not None:
            self._half_closing = True
            self._answering.cancel()

    async def reset(self) -> None:
        """Returns when both sides have been reset."""
        self._abort()
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.wait([self._carrying])

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: Direction
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                await self._course.passed(direction)
                target.write(data)
                await target.drain()
            await self._course.passed(direction)
        except asyncio.CancelledError:
            if not (self._half_closing and direction == "answers"):
                raise
        target.write_eof()

    def _abort(self) -> None:
        """RST, not FIN."""
        for writer in (self._near, self._far):
            if writer is not None and not writer.transport.is_closing():
                no_lingering = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
                writer.transport.abort()
