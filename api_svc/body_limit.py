"""No request body is larger than a megabyte, or takes longer than ten seconds to arrive."""

import asyncio

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
MAX_BODY_S = 10.0


class BodyLimit:
    """Counts what really arrives: a length that was announced is only a promise."""

    def __init__(self, app: ASGIApp, most: int = MAX_BODY_BYTES, within_s: float = MAX_BODY_S) -> None:
        self._app = app
        self._most = most
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._bounded(receive)
        await self._app(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        deadline = asyncio.get_running_loop().time() + self._within_s
        size, complete = 0, False

        async def bounded() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()  # waits for the client to leave, as long as that takes
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"body: did not arrive within {self._within_s:g} s") from None
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, f"body: is larger than {self._most} bytes")
            complete = not message.get("more_body", False)
            return message

        return bounded
