"""Brevo's webhooks: which events are told, when, in what form, and what becomes of a refused delivery."""

import asyncio
import itertools
import json
from datetime import UTC, datetime

from local_stack.sandbox.brevo_books import Occurrence
from local_stack.sandbox.webhooks import Verdict, WebhookSender

# Brevo repeats after 10 min, 1 h, 2 h and 8 h; the sandbox in the same number of steps, within seconds.
WEBHOOK_BACKOFF_S = (0.5, 2.0, 4.0, 16.0)


class Telling:
    """Sends the events of accepted mail `delay_s` after it was accepted."""

    def __init__(self, webhooks: WebhookSender, told: tuple[str, ...], delay_s: float) -> None:
        self._webhooks = webhooks
        self._told = frozenset(told)
        self._delay_s = delay_s
        self._numbers = itertools.count(1)
        self._timers: set[asyncio.TimerHandle] = set()

    def announce(self, occurrences: list[Occurrence]) -> None:
        """Call it in the event loop."""
        told = [occurrence for occurrence in occurrences if occurrence.event.name in self._told]
        if not told or not self._webhooks.settings.url:
            return

        def tell() -> None:
            self._timers.discard(timer)
            for occurrence in told:
                self._webhooks.send(self._body(occurrence))

        timer = asyncio.get_running_loop().call_later(self._delay_s, tell)
        self._timers.add(timer)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _body(self, occurrence: Occurrence) -> bytes:
        mail, event = occurrence.mail, occurrence.event
        content = {
            "event": event.name,
            "email": mail.email,
            "id": next(self._numbers),
            "date": datetime.fromtimestamp(occurrence.at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "ts": int(occurrence.at),
            "ts_event": int(occurrence.at),
            "ts_epoch": int(occurrence.at * 1000),
            "message-id": mail.messageId,
            "subject": mail.subject,
            "tag": json.dumps(mail.tags),
            "tags": list(mail.tags),
        }
        if event.reason:
            content["reason"] = event.reason
        return json.dumps(content).encode()


def bearer(_: bytes, token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def judge_delivery(status: int | None) -> Verdict:
    """No answer and 429 are repeated; every other refusal loses the event, as it does at Brevo."""
    if status is None or status == 429:
        return "retry"
    return "delivered" if 200 <= status < 300 else "dropped"
