"""`python -m benchmarks.mail_limit URL COUNT`: the same mails, rendering, batches and calls at once as the product's, by
Brevo's own SDK, and nothing else: no database, no queue, no record. What it reaches is the limit of one process.

Its last line is {"rate": mails a second, "mails": accepted}.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from brevo import AsyncBrevo

from shared.core.reminders import MAX_MEMBERS
from worker_svc.reminder_outbox import BATCHES_AT_ONCE
from worker_svc.rendering import TemplateRenderer

SENDER = {"email": "billing@example.com", "name": "CueBX"}


def rows(count: int) -> list[dict[str, Any]]:
    due_at = datetime.now(UTC) - timedelta(days=3, hours=1)
    return [
        {
            "email": f"customer{n}@example.com",
            "name": f"Customer {n}",
            "locale": "de_DE" if n % 2 else "en_US",
            "invoice": {
                "number": f"R-{n}",
                "amount_due": 1000 + n * 7919 % 900000,
                "currency": "eur",
                "due_at": due_at - timedelta(seconds=n % 1000),
            },
        }
        for n in range(1, count + 1)
    ]


async def send(brevo: AsyncBrevo, versions: Sequence[dict[str, Any]]) -> int:
    first = versions[0]
    response = await brevo.transactional_emails.send_transac_email(
        sender=SENDER,
        headers={"idempotencyKey": str(uuid4())},
        tags=[f"limit-{uuid4()}"],
        subject=first["subject"],
        html_content=first["htmlContent"],
        text_content=first["textContent"],
        message_versions=versions,
    )
    return len(response.message_ids or ())


def render(renderer: TemplateRenderer, row: dict[str, Any]) -> dict[str, Any]:
    values = {
        "customer_name": row["name"],
        "sender_name": SENDER["name"],
        "time_zone": "UTC",
        "days": 3,
        "invoice": row["invoice"],
    }
    mail = renderer.render("payment_reminder", values, locale=row["locale"])
    return {
        "to": [{"email": row["email"], "name": row["name"]}],
        "subject": mail.subject,
        "htmlContent": mail.html,
        "textContent": mail.text,
    }


async def main(url: str, count: int) -> None:
    everybody, renderer = rows(count), TemplateRenderer()
    places, accepted = asyncio.Semaphore(BATCHES_AT_ONCE), 0
    async with httpx.AsyncClient(timeout=60) as http, asyncio.TaskGroup() as calls:
        brevo = AsyncBrevo(api_key="xkeysib-limit", base_url=f"{url}/v3", httpx_client=http, max_retries=0)
        began = time.monotonic()

        async def call(versions: Sequence[dict[str, Any]]) -> None:
            nonlocal accepted
            try:
                accepted += await send(brevo, versions)
            finally:
                places.release()

        under_way = []
        for first in range(0, count, MAX_MEMBERS):
            versions = [render(renderer, row) for row in everybody[first : first + MAX_MEMBERS]]
            await places.acquire()
            under_way.append(calls.create_task(call(versions)))
        await asyncio.gather(*under_way)
        took_s = time.monotonic() - began
    print(json.dumps({"rate": count / took_s, "mails": accepted}))  # noqa: T201  # a script's output


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
