"""The Brevo sandbox: transactional e-mail, its events and webhooks as Brevo's v3 API has them. README.md has the control API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from local_stack.sandbox.answers import Answer, Call, RefusedError
from local_stack.sandbox.brevo_api import BrevoApi
from local_stack.sandbox.brevo_books import BrevoBooks
from local_stack.sandbox.brevo_config import BrevoAccount, BrevoSandboxConfig
from local_stack.sandbox.brevo_errors import usual_error
from local_stack.sandbox.brevo_telling import WEBHOOK_BACKOFF_S, Telling, bearer, judge_delivery
from local_stack.sandbox.clock import Clock
from local_stack.sandbox.control import BadControlRequestError, control_route, control_routes
from local_stack.sandbox.front import Front, Work, under_fault
from local_stack.sandbox.journal import Journal
from local_stack.sandbox.misbehaviour import Faults, FaultSpec
from local_stack.sandbox.rate import Allowance, Window
from local_stack.sandbox.webhooks import WebhookSender, WebhookSettings


class BrevoSandbox:
    """One account at one Brevo. Use it through `create_brevo_app`."""

    def __init__(self, config: BrevoSandboxConfig) -> None:
        self._config = config
        self.clock = Clock()
        self.faults = Faults(config.seed)
        self.account = BrevoAccount(keys=config.keys)
        settings = WebhookSettings(url=config.webhook_url, secret=config.webhook_token)
        self.webhooks = WebhookSender(settings, bearer, judge_delivery, WEBHOOK_BACKOFF_S, config.seed)
        self._windows: dict[str, Window] = {}
        self._books = BrevoBooks(config.events_delay_s, config.contents_kept)
        self._journal = Journal(config.data / "brevo.jsonl" if config.data else None)
        self._telling = Telling(self.webhooks, config.webhook_events, config.events_delay_s)
        self._api = BrevoApi(
            config, self._books, self._journal, self.account, self.clock, self._telling.announce
        )
        self._front = Front(self, self.faults)
        for record in self._journal.replay():
            if record["kind"] == "forget":
                self._books.forget()
            else:
                self._books.restore(record)

    def routes(self) -> list[Route]:
        route, api = self._front.route, self._api
        return [
            route("POST", "/v3/smtp/email", api.send_mail),
            route("GET", "/v3/smtp/statistics/events", api.list_events),
            route("GET", "/v3/smtp/blockedContacts", api.list_blocked),
            route("DELETE", "/v3/smtp/blockedContacts/{email}", api.unblock),
            route("GET", "/v3/account", api.read_account),
            control_route("GET", "/_sandbox/mails/{id}", self._show_mail),
            *control_routes(self),
        ]

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        yield
        self._telling.stop()
        await self.webhooks.close()
        self._journal.close()

    def admit(self, call: Call) -> dict[str, str]:
        if not self.account.accepts(call.headers.get("api-key", ""), ("",)) or not call.headers.get(
            "api-key"
        ):
            raise RefusedError(usual_error(401))
        window = self._windows.setdefault(call.route, Window(self._config.rate, 1.0))
        allowance = window.take()
        headers = _rate_headers(allowance) if allowance.limit else {}
        if not allowance.allowed:
            raise RefusedError(usual_error(429).with_headers(headers))
        if self.account.forbidden:
            raise RefusedError(usual_error(403))
        return headers

    def error(self, status: int, body: dict[str, Any] | None) -> Answer:
        return usual_error(status) if body is None else Answer.json(status, body)

    async def perform(self, call: Call, fault: FaultSpec | None, work: Work) -> Answer:
        return await under_fault(self, fault, lambda: work(call))

    def books(self, _: dict[str, str]) -> dict[str, Any]:
        return {
            "mails": [mail.as_json() for mail in self._books.mails],
            "doubled": self._books.doubled(),
            "blocked": sorted(self._books.blocked),
            "sandbox_dropped": self._books.dropped,
            "requests": self._front.counters(),
            "webhooks": self.webhooks.stats(),
        }

    def forget(self) -> None:
        self._books.forget()
        self._journal.append([{"kind": "forget"}])

    def _show_mail(self, request: Request, _: Any) -> Any:
        message_id = request.path_params["id"]
        mails = [mail.as_json() for mail in self._books.mails if mail.messageId == message_id]
        if not mails:
            raise BadControlRequestError(f"no mail {message_id}")
        return {"mails": mails, "content": self._books.content(message_id)}


def _rate_headers(allowance: Allowance) -> dict[str, str]:
    return {
        "x-sib-ratelimit-limit": str(allowance.limit),
        "x-sib-ratelimit-remaining": str(allowance.remaining),
        "x-sib-ratelimit-reset": str(allowance.reset_s),
    }


def create_brevo_app(config: BrevoSandboxConfig | None = None) -> Starlette:
    """The application, whose API is under `/v3`; its `state.sandbox` is the BrevoSandbox. Run it by `serving`, which alone can
    cut connections."""
    sandbox = BrevoSandbox(config or BrevoSandboxConfig())
    app = Starlette(routes=sandbox.routes(), lifespan=lambda _: sandbox.alive())
    app.state.sandbox = sandbox
    return app
