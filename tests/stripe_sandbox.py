"""The Stripe sandbox in a thread, and its control API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from local_stack.sandbox.serving import SandboxThread
from local_stack.sandbox.stripe import create_stripe_app
from local_stack.sandbox.stripe_config import StripeSandboxConfig
from shared.providers.stripe_gateway import StripeGateway
from shared.settings import StripeSettings

CREATE = {"method": "POST", "path": "/v1/refunds"}


class StripeSandbox:
    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url = url
        self._http = http

    def gateway(self, *, timeout_s: float = 10.0, key: str = "sk_test_contract") -> StripeGateway:
        return StripeGateway(
            StripeSettings(
                stripe_api_key=SecretStr(key), stripe_api_base_url=self.url, stripe_timeout_s=timeout_s
            )
        )

    def control(self, method: str, path: str, content: Any = None) -> Any:
        return self._http.request(method, f"/_sandbox/{path}", json=content).raise_for_status().json()

    def add_intent(
        self, intent_id: str, amount: int = 10_000, currency: str = "usd", behaviour: str = "succeed"
    ) -> None:
        intent = {"id": intent_id, "amount": amount, "currency": currency, "behaviour": behaviour}
        self.control("POST", "payment_intents", [intent])

    def fault(self, mode: str, *, match: dict[str, str] | None = None, **spec: Any) -> None:
        self.control("POST", "faults", {"match": CREATE if match is None else match, "mode": mode, **spec})

    def clear_faults(self) -> None:
        self.control("DELETE", "faults")

    def settle(self, refund_id: str, status: str, failure_reason: str | None = None) -> None:
        self.control("POST", f"refunds/{refund_id}", {"status": status, "failure_reason": failure_reason})

    def advance(self, seconds: float) -> None:
        self.control("POST", "clock", {"advance_s": seconds})

    def books(self) -> dict[str, Any]:
        books: dict[str, Any] = self.control("GET", "books?metadata_key=refund_id")
        return books

    def refunds(self, intent_id: str | None = None) -> list[dict[str, Any]]:
        return [r for r in self.books()["refunds"] if intent_id in (None, r["payment_intent"])]

    def creates(self) -> int:
        """How many requests to create a refund have come, answered or not."""
        return sum(self.books()["requests"].get("POST /v1/refunds", {}).values())


@contextmanager
def stripe_sandbox(**settings: Any) -> Iterator[StripeSandbox]:
    """Without rate limit and without settling by itself, unless told otherwise."""
    app = create_stripe_app(StripeSandboxConfig(**{"rate": 0, "settle_s": 3600, **settings}))
    with SandboxThread(app) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        yield StripeSandbox(server.url, http)
