"""The HTTP client that Stripe's SDK calls through: httpx, a connection to each client of it.

With one client for all calls, httpx looks at every connection of its pool for every request, and keeps 20 of them: at 50
calls at once that, and connecting anew, took about a third of a call's processor time.
"""

import asyncio
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NoReturn, cast

import httpx
import stripe

#: A connection that has rested for longer is not used again. Servers close theirs after 5 s and more: a request that leaves
#: at that very moment fails, and nobody knows what became of it.
KEEP_ALIVE_S = 2.0


class StripeHttp(stripe.HTTPClient):
    """As many connections as there are calls at once; the one that was used last is used first."""

    name = "httpx"

    def __init__(self, *, timeout_s: float) -> None:
        super().__init__()
        _look_for_sniffio_once()
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context(cafile=stripe.ca_bundle_path)
        self._resting: list[httpx.AsyncClient] = []

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        client = self._resting.pop() if self._resting else self._another()
        try:
            response = await client.request(method, url, headers=headers, content=post_data or None)
        except (Exception, asyncio.CancelledError) as error:
            # Not to be used again: broken off at some moments, it takes its one connection for one in use, for ever.
            with suppress(Exception):
                await client.aclose()
            if isinstance(error, Exception):
                self._handle_request_error(error)
            raise
        self._resting.append(client)
        return response.content, response.status_code, response.headers

    async def close_async(self) -> None:
        while self._resting:
            await self._resting.pop().aclose()

    def _another(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._tls,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE_S),
        )

    def _handle_request_error(self, error: Exception) -> NoReturn:
        text = f"network error: {type(error).__name__}"
        raise stripe.APIConnectionError(text) from error  # type: ignore[no-untyped-call]  # untyped in the SDK


def _look_for_sniffio_once() -> None:
    """httpcore tries to import it again and again. What is not installed is searched for on the whole path each
    time, a third of a call's processor time; an entry that is None ends the search at once."""
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        cast("dict[str, object]", sys.modules)["sniffio"] = None
