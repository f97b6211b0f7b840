"""`python -m benchmarks.stripe_limit URL REFUNDS AT_ONCE`: the two calls that a refund takes, by Stripe's own SDK, so many refunds
at once, and nothing else: no database, no queue, no record. What it reaches is the limit of one process.

Its last line is {"rate": refunds a second, "refunds": paid}.
"""

import asyncio
import json
import sys
import time
from itertools import count
from uuid import uuid4

import stripe


async def main(url: str, refunds: int, at_once: int) -> None:
    http = stripe.HTTPXClient(timeout=20)
    client = stripe.StripeClient(
        "sk_test_limit", base_addresses={"api": url}, max_network_retries=0, http_client=http
    )
    numbers, batch, paid = count(), uuid4().hex[:8], 0

    async def pay() -> None:
        nonlocal paid
        while (number := next(numbers)) < refunds:
            found = await client.v1.payment_intents.retrieve_async(f"pi_usd_a5000_limit{batch}{number}")
            refund = await client.v1.refunds.create_async(
                {"payment_intent": found.id, "amount": 1000, "metadata": {"refund_id": str(number)}},
                {"idempotency_key": str(uuid4())},
            )
            paid += refund.status == "succeeded"

    began = time.monotonic()
    await asyncio.gather(*(pay() for _ in range(at_once)))
    took_s = time.monotonic() - began
    print(json.dumps({"rate": refunds / took_s, "refunds": paid}))  # noqa: T201  # a script's output


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
