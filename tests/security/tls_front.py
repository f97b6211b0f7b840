"""TLS in front of the embedded servers, whose programs are built without it; what clients send is kept.

To a client it is a server that speaks TLS: Redis from the first byte, PostgreSQL after its SSLRequest.
"""

import asyncio
import ssl
import threading
from types import TracebackType
from typing import Literal, Self

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
_REFUSAL = b"SFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"

Protocol = Literal["redis", "postgresql"]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Front:
    """Listens on a free port of 127.0.0.1 and passes on what is decrypted. Without `context` it only knows plain text.

    `received` is what clients sent before anything was decrypted, `sessions` counts those that then said something.
    """

    def __init__(self, protocol: Protocol, port_behind: int, context: ssl.SSLContext | None) -> None:
        self._protocol = protocol
        self._port_behind = port_behind
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = 0
        self.received = b""
        self.sessions = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._encrypted(reader, writer):
                # libpq looks at the host name only after the handshake: what counts is whether it then says anything.
                first = await reader.read(65536)
                self.sessions += bool(first)
                behind = await asyncio.open_connection("127.0.0.1", self._port_behind)
                try:
                    behind[1].write(first)
                    await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
                finally:
                    behind[1].close()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _encrypted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._protocol == "postgresql":
            first = await reader.readexactly(8)
            self.received += first
            if self._context is None:
                writer.write(b"N")
                self.received += await reader.read(65536)
                return False
            if first != SSL_REQUEST:
                self.received += await reader.read(65536)
                writer.write(b"E" + (len(_REFUSAL) + 4).to_bytes(4) + _REFUSAL)
                await writer.drain()
                return False
            writer.write(b"S")
            await writer.drain()
        elif self._context is None:
            self.received += await reader.read(65536)
            return False
        assert self._context is not None
        await writer.start_tls(self._context)
        return True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends; then the other one learns of it."""
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
