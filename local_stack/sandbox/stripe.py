"""The Stripe sandbox: refunds, payment intents and webhooks as Stripe's v1 API has them. README.md has the control API."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from local_stack.sandbox.answers import Answer, Call, RefusedError
from local_stack.sandbox.clock import Clock
from local_stack.sandbox.control import BadControlRequestError, control_route, control_routes
from local_stack.sandbox.credentials import Account, bearer_or_basic
from local_stack.sandbox.front import Front, Work, under_fault
from local_stack.sandbox.journal import Journal, Record
from local_stack.sandbox.misbehaviour import Faults, FaultSpec
from local_stack.sandbox.rate import Bucket
from local_stack.sandbox.stripe_api import StripeApi
from local_stack.sandbox.stripe_books import PaymentIntent, StripeBooks
from local_stack.sandbox.stripe_config import SeededIntent, SettledRefund, StripeSandboxConfig
from local_stack.sandbox.stripe_conventions import BEHAVIOURS, CURRENCIES
from local_stack.sandbox.stripe_errors import usual_error
from local_stack.sandbox.stripe_form import parse_form
from local_stack.sandbox.stripe_idempotency import IdempotencyKeys
from local_stack.sandbox.stripe_settling import WEBHOOK_BACKOFF_S, Settling, judge_delivery, signed
from local_stack.sandbox.webhooks import WebhookSender, WebhookSettings

KEY_PREFIXES = ("sk_test_", "rk_test_")


class StripeSandbox:
    """One account at one Stripe. Use it through `create_stripe_app`."""

    def __init__(self, config: StripeSandboxConfig) -> None:
        self.clock = Clock()
        self.faults = Faults(config.seed)
        self.account = Account(keys=config.keys)
        settings = WebhookSettings(url=config.webhook_url, secret=config.webhook_secret)
        self.webhooks = WebhookSender(settings, signed, judge_delivery, WEBHOOK_BACKOFF_S, config.seed)
        self._total = Bucket(config.rate)
        self._endpoint_rate = config.endpoint_rate
        self._endpoints: dict[str, Bucket] = {}
        self._request_numbers = itertools.count(1)
        self._books = StripeBooks()
        self._journal = Journal(config.data / "stripe.jsonl" if config.data else None)
        self._keys = IdempotencyKeys(self.clock.now, lambda record: self._journal.append([record]))
        self._settling = Settling(self._books, self._journal, self.webhooks, self.clock, config.settle_s)
        self._api = StripeApi(config, self._books, self._journal, self._settling, self.clock)
        self._front = Front(self, self.faults)
        for record in self._journal.replay():
            self._restore(record)

    def routes(self) -> list[Route]:
        route, api = self._front.route, self._api
        return [
            route("POST", "/v1/refunds", api.create_refund),
            route("GET", "/v1/refunds", api.list_refunds),
            route("GET", "/v1/refunds/{id}", api.read_refund),
            route("GET", "/v1/payment_intents/{id}", api.read_payment_intent),
            route("GET", "/v1/balance", api.read_balance),
            route("GET", "/v1/account", api.read_account),
            control_route("POST", "/_sandbox/payment_intents", self._seed_intents),
            control_route("POST", "/_sandbox/refunds/{id}", self._settle_refund),
            *control_routes(self),
        ]

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        self._settling.resume()
        yield
        self._settling.stop()
        await self.webhooks.close()
        self._journal.close()

    def admit(self, call: Call) -> dict[str, str]:
        if not self.account.accepts(bearer_or_basic(call.headers.get("authorization", "")), KEY_PREFIXES):
            raise RefusedError(usual_error(401))
        if self.account.forbidden:
            raise RefusedError(usual_error(403))
        template = call.route.partition(" ")[2]
        endpoint = self._endpoints.setdefault(template, Bucket(self._endpoint_rate))
        if not (endpoint.has() and self._total.has()):
            raise RefusedError(usual_error(429))
        endpoint.take()
        self._total.take()
        return {"Request-Id": f"req_sandbox{next(self._request_numbers)}"}

    def error(self, status: int, body: dict[str, Any] | None) -> Answer:
        return usual_error(status) if body is None else Answer.json(status, body)

    async def perform(self, call: Call, fault: FaultSpec | None, work: Work) -> Answer:
        key = call.headers.get("idempotency-key", "")
        if call.method != "POST" or not key:
            return await under_fault(self, fault, lambda: work(call))
        fingerprint = json.dumps([call.path, sorted(parse_form(call.body).items())])
        replayed = self._keys.begin(key, fingerprint)
        if replayed is not None:
            return replayed
        try:
            answer = await under_fault(self, fault, lambda: work(call))
        except RefusedError as refusal:
            if not refusal.ran:
                self._keys.abandon(key)
                raise
            answer = refusal.answer
        except BaseException:
            self._keys.abandon(key)
            raise
        self._keys.finish(key, answer)
        return answer

    def books(self, query: dict[str, str]) -> dict[str, Any]:
        audit = {"doubled": self._books.doubled(key)} if (key := query.get("metadata_key")) else {}
        return {
            **self._books.as_json(),
            **audit,
            "unsettled": self._settling.open,
            "requests": self._front.counters(),
            "webhooks": self.webhooks.stats(),
        }

    def forget(self) -> None:
        self._settling.stop()
        self._forget_books()
        self._journal.append([{"kind": "forget"}])

    def _forget_books(self) -> None:
        self._books.forget()
        self._keys.forget()

    def _restore(self, record: Record) -> None:
        if record["kind"] == "forget":
            self._forget_books()
        elif record["kind"] == "key":
            self._keys.restore(record)
        elif made := self._books.restore(record):
            # Killed between a refund and its key's record: the refund itself stands for the answer.
            self._keys.restore_made(made.idempotency_key, made.created, Answer.json(200, made.as_stripe()))

    def _seed_intents(self, _: Request, content: Any) -> Any:
        if not isinstance(content, list):
            raise BadControlRequestError("a JSON list of payment intents is needed")
        seeds = [SeededIntent.model_validate(item) for item in content]
        if strange := next((seed for seed in seeds if seed.behaviour not in BEHAVIOURS), None):
            raise BadControlRequestError(f"{strange.id}: behaviour is one of {', '.join(BEHAVIOURS)}")
        if known := [seed.id for seed in seeds if seed.id in self._books.payment_intents]:
            raise BadControlRequestError(f"known already: {', '.join(known[:5])}")
        records: list[Record] = []
        for seed in seeds:
            intent = PaymentIntent(**seed.model_dump(), created=self.clock.now())
            records += self._books.add_payment_intent(intent)
        self._journal.append(records)
        return {"created": len(seeds)}

    def _settle_refund(self, request: Request, content: Any) -> Any:
        refund = self._books.refunds.get(request.path_params["id"])
        if refund is None:
            raise BadControlRequestError(f"no refund {request.path_params['id']}")
        wanted = SettledRefund.model_validate(content)
        self._settling.settle(refund, wanted.status, wanted.failure_reason)
        return refund.as_stripe()


def create_stripe_app(config: StripeSandboxConfig | None = None) -> Starlette:
    """The application; its `state.sandbox` is the StripeSandbox. Run it by `serving`, which alone can cut connections.

    Raises ValueError for an unknown `auto_currency`.
    """
    config = config or StripeSandboxConfig()
    if config.auto_currency not in CURRENCIES:
        raise ValueError(f"auto_currency is one of {', '.join(sorted(CURRENCIES))}")
    sandbox = StripeSandbox(config)
    app = Starlette(routes=sandbox.routes(), lifespan=lambda _: sandbox.alive())
    app.state.sandbox = sandbox
    return app
