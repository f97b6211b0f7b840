"""Refunds that end later than they begin, and the webhooks that tell of it."""

import asyncio
import hashlib
import hmac
import itertools
import json
import time

from local_stack.sandbox.clock import Clock
from local_stack.sandbox.journal import Journal
from local_stack.sandbox.stripe_books import Refund, StripeBooks, refund_record
from local_stack.sandbox.stripe_conventions import BEHAVIOURS, RefundStatus
from local_stack.sandbox.webhooks import Verdict, WebhookSender

# Stripe repeats for three days; the sandbox for half a minute, so that an end-point that restarts gets its events.
WEBHOOK_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Settling:
    """`settle_s`: the wait before a refund that settles later does, unless its payment intent says otherwise."""

    def __init__(
        self, books: StripeBooks, journal: Journal, webhooks: WebhookSender, clock: Clock, settle_s: float
    ) -> None:
        self._books = books
        self._journal = journal
        self._webhooks = webhooks
        self._clock = clock
        self._settle_s = settle_s
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._event_numbers = itertools.count(1)

    @property
    def open(self) -> int:
        return len(self._timers)

    def begin(self, refund: Refund) -> None:
        self._tell("refund.created", refund)
        self._schedule(refund)

    def resume(self) -> None:
        """Go on with what an earlier life of the sandbox left unsettled. Call it in the event loop."""
        for refund in self._books.refunds.values():
            self._schedule(refund)

    def settle(self, refund: Refund, status: RefundStatus, failure_reason: str | None) -> None:
        self._stop(refund.id)
        refund.status = status
        refund.failure_reason = failure_reason if status in ("failed", "canceled") else None
        self._journal.append([refund_record(refund)])
        self._tell("refund.updated", refund)
        if status == "failed":
            self._tell("refund.failed", refund)

    def stop(self) -> None:
        for refund_id in list(self._timers):
            self._stop(refund_id)

    def _stop(self, refund_id: str) -> None:
        if timer := self._timers.pop(refund_id, None):
            timer.cancel()

    def _schedule(self, refund: Refund) -> None:
        intent = self._books.payment_intents[refund.payment_intent]
        behaviour = BEHAVIOURS[intent.behaviour]
        if behaviour.then is None or refund.status != behaviour.first:
            return
        delay_s = self._settle_s if intent.settle_s is None else intent.settle_s
        self._timers[refund.id] = asyncio.get_running_loop().call_later(
            delay_s, self.settle, refund, behaviour.then, behaviour.failure_reason
        )

    def _tell(self, kind: str, refund: Refund) -> None:
        event = {
            "id": f"evt_sandbox{time.time_ns() // 1_000_000}_{next(self._event_numbers)}",
            "object": "event",
            "api_version": "2025-03-31.basil",
            "created": int(self._clock.now()),
            "data": {"object": refund.as_stripe()},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": refund.idempotency_key},
            "type": kind,
        }
        self._webhooks.send(json.dumps(event).encode())


def signed(body: bytes, secret: str) -> dict[str, str]:
    """Stripe's signature header, made anew for each delivery: HMAC-SHA256 over `timestamp.body`."""
    timestamp = int(time.time())
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={timestamp},v1={digest}"}


def judge_delivery(status: int | None) -> Verdict:
    return "delivered" if status is not None and 200 <= status < 300 else "retry"
