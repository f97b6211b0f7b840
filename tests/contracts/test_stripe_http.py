"""The HTTP client below Stripe's SDK: what happens to one call happens to no other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.providers.stripe_http import StripeHttp


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"{}")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("connected", [False, True], ids=["connecting", "connected"])
async def test_a_call_that_is_broken_off_at_any_moment_breaks_no_later_one(url: str, connected: bool) -> None:
    """A drain, a lost lease and a time-out break calls off; whoever comes next would wait in vain, and every time."""
    for steps in range(200):
        http = StripeHttp(timeout_s=1)
        if connected:
            await http.request_async("GET", url, {})
        call = asyncio.create_task(http.request_async("GET", url, {}))
        for _ in range(steps):
            await asyncio.sleep(0)
        went_through = call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        body, status, _ = await http.request_async("GET", url, {})
        assert (body, status) == (b"{}", 200), f"after {steps} steps"
        await http.close_async()
        if went_through:
            return
    pytest.fail("the call never ended")
