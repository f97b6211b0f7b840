"""Delivery of the providers' webhooks: retried within bounds; duplicated and disordered when asked."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

SENDERS = 8
TIMEOUT_S = 10.0

Verdict = Literal["delivered", "retry", "dropped"]


class WebhookSettings(BaseModel):
    """What `POST /_sandbox/webhooks` changes. `url` None or `enabled` false: events are dropped.

    `duplicate` is the probability of a second delivery; `disorder_s` the longest random delay before a delivery.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    url: str | None = None
    secret: str = ""
    enabled: bool = True
    duplicate: float = Field(default=0, ge=0, le=1)
    disorder_s: float = Field(default=0, ge=0, le=60)


class WebhookSender:
    """`headers(body, secret)` signs an attempt, `judge(status or None)` decides after it, `backoff_s` are the waits before
    retries: when they are used up, the event is given up. Senders start with the first event."""

    def __init__(
        self,
        settings: WebhookSettings,
        headers: Callable[[bytes, str], dict[str, str]],
        judge: Callable[[int | None], Verdict],
        backoff_s: tuple[float, ...],
        seed: int,
    ) -> None:
        self.settings = settings
        self._headers = headers
        self._judge = judge
        self._backoff_s = backoff_s
        self._random = random.Random(seed)
        self._queue: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._counts: Counter[str] = Counter()
        self._open = 0

    def send(self, body: bytes) -> None:
        """Queue one event. Call it in the sandbox's event loop."""
        if not self.settings.enabled or self.settings.url is None:
            self._counts["not_sent"] += 1
            return
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._deliver_all()) for _ in range(SENDERS)]
        for _ in range(2 if self._random.random() < self.settings.duplicate else 1):
            self._open += 1
            self._later(self._random.uniform(0, self.settings.disorder_s), body, 0)

    def stats(self) -> dict[str, Any]:
        """Deliveries by fate, and `open`: those still to be made."""
        return {
            **dict.fromkeys(("delivered", "retried", "dropped", "gave_up"), 0),
            **self._counts,
            "open": self._open,
        }

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _later(self, delay_s: float, body: bytes, attempt: int) -> None:
        if delay_s > 0:
            asyncio.get_running_loop().call_later(delay_s, self._queue.put_nowait, (body, attempt))
        else:
            self._queue.put_nowait((body, attempt))

    async def _deliver_all(self) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            while True:
                body, attempt = await self._queue.get()
                self._settle(self._judge(await self._post(client, body)), body, attempt)

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> int | None:
        """The status of the answer; None if there was none."""
        if self.settings.url is None:
            return None
        headers = {"content-type": "application/json", **self._headers(body, self.settings.secret)}
        try:
            return (await client.post(self.settings.url, content=body, headers=headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            return None

    def _settle(self, verdict: Verdict, body: bytes, attempt: int) -> None:
        if verdict == "retry" and attempt < len(self._backoff_s):
            self._counts["retried"] += 1
            self._later(self._backoff_s[attempt], body, attempt + 1)
            return
        self._counts["gave_up" if verdict == "retry" else verdict] += 1
        self._open -= 1
