import asyncio

import pytest
from fastapi import HTTPException
from starlette.types import Message, Receive, Scope, Send

from api_svc.body_limit import BodyLimit

SCOPE: Scope = {"type": "http"}


async def read(messages: list[Message], *, most: int = 10, within_s: float = 5.0) -> bytes:
    """What an application reads through the limit; a client that has nothing left to send stays silent."""
    body = b""
    rest = iter(messages)

    async def receive() -> Message:
        return next(rest, None) or await asyncio.get_running_loop().create_future()

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        nonlocal body
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)

    async def send(_: Message) -> None: ...

    await BodyLimit(app, most, within_s)(SCOPE, receive, send)
    return body


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_up_to_the_limit_passes() -> None:
    assert await read([part(b"12345", True), part(b"67890", False)]) == b"1234567890"


async def test_a_body_over_the_limit_is_413_as_soon_as_it_is() -> None:
    with pytest.raises(HTTPException, match="larger than 10 bytes") as error:
        await read([part(b"12345", True), part(b"678901", True)])
    assert error.value.status_code == 413


async def test_a_body_that_does_not_arrive_is_408() -> None:
    with pytest.raises(HTTPException, match="did not arrive") as error:
        await read([part(b"12345", True)], within_s=0.05)
    assert error.value.status_code == 408


async def test_after_the_body_a_client_may_stay_as_long_as_it_likes() -> None:
    waited = asyncio.Event()

    async def receive() -> Message:
        if not waited.is_set():
            waited.set()
            return part(b"", False)
        await asyncio.sleep(0.06)
        return {"type": "http.disconnect"}

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    async def send(_: Message) -> None: ...

    await BodyLimit(app, 10, 0.05)(SCOPE, receive, send)
