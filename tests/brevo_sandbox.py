"""The Brevo sandbox in a thread, and its control API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from local_stack.sandbox.brevo import create_brevo_app
from local_stack.sandbox.brevo_config import BrevoSandboxConfig
from local_stack.sandbox.serving import SandboxThread
from shared.providers.brevo_mailer import BrevoMailer
from shared.settings import BrevoSettings

SEND = {"method": "POST", "path": "/v3/smtp/email"}


class BrevoSandbox:
    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url = url
        self._http = http

    def mailer(self, *, timeout_s: float = 10.0, url: str | None = None) -> BrevoMailer:
        return BrevoMailer(
            BrevoSettings(
                brevo_api_key=SecretStr("xkeysib-contract"),
                brevo_base_url=url or f"{self.url}/v3",
                brevo_sender_email="billing@example.com",
                brevo_timeout_s=timeout_s,
            )
        )

    def control(self, method: str, path: str, content: Any = None) -> Any:
        return self._http.request(method, f"/_sandbox/{path}", json=content).raise_for_status().json()

    def fault(self, mode: str, *, match: dict[str, str] | None = None, **spec: Any) -> None:
        self.control("POST", "faults", {"match": SEND if match is None else match, "mode": mode, **spec})

    def clear_faults(self) -> None:
        self.control("DELETE", "faults")

    def advance(self, seconds: float) -> None:
        self.control("POST", "clock", {"advance_s": seconds})

    def account(self, **changes: Any) -> None:
        self.control("POST", "account", changes)

    def books(self) -> dict[str, Any]:
        books: dict[str, Any] = self.control("GET", "books")
        return books

    def addresses(self) -> list[str]:
        """Of every mail accepted, sorted: an address as often as it got one."""
        return sorted(mail["email"] for mail in self.books()["mails"])

    def sends(self) -> dict[str, int]:
        """Requests to send, by status; `cut` for those without an answer."""
        counts: dict[str, int] = self.books()["requests"].get("POST /v3/smtp/email", {})
        return counts


@contextmanager
def brevo_sandbox(**settings: Any) -> Iterator[BrevoSandbox]:
    """Without rate limit, and with events that can be read at once, unless told otherwise."""
    app = create_brevo_app(
        BrevoSandboxConfig(**{"rate": 0, "batch_rate": 0, "events_delay_s": 0, **settings})
    )
    with SandboxThread(app) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        yield BrevoSandbox(server.url, http)
