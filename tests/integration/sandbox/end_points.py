"""The two ends of a sandbox in these tests: its control API, and somebody who gets its webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local_stack.sandbox.serving import SandboxThread


@dataclass(frozen=True)
class Control:
    url: str
    http: httpx.Client

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(f"/_sandbox/{path}", params=query).raise_for_status().json()

    def post(self, path: str, content: Any) -> Any:
        return self.http.post(f"/_sandbox/{path}", json=content).raise_for_status().json()

    def seed(self, *intents: dict[str, Any]) -> None:
        """Payment intents; amount 10 000, currency usd unless given."""
        self.post("payment_intents", [{"amount": 10_000, "currency": "usd", **intent} for intent in intents])

    def fault(self, **spec: Any) -> dict[str, Any]:
        fault: dict[str, Any] = self.post("faults", spec)
        return fault

    def books(self, **query: Any) -> dict[str, Any]:
        books: dict[str, Any] = self.get("books", **query)
        return books


@contextmanager
def running(app: Starlette) -> Iterator[Control]:
    with SandboxThread(app) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        yield Control(server.url, http)


@dataclass(frozen=True)
class Delivery:
    body: bytes
    headers: dict[str, str]


class WebhookReceiver:
    """Keeps what is posted to `url`. `answers` are given first, in order; then 200."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answers: list[int] = []
        self._server = SandboxThread(Starlette(routes=[Route("/hook", self._take, methods=["POST"])]))
        self.url = f"{self._server.url}/hook"

    async def _take(self, request: Request) -> Response:
        self.deliveries.append(Delivery(await request.body(), dict(request.headers)))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
