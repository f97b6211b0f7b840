"""arq, tuned, with one call to Brevo a mail: `arq_mail.py REDIS_URL BREVO_URL MAILS`.

200 jobs at once, polled every 10 ms, no results kept, one HTTP client for the worker. A job formats a short text and posts
it: less than our mails. The jobs are queued before the clock starts; it stops with the last answer. The last line of the
output is {"rate": mails a second, "mails": accepted}.
"""

import asyncio
import json
import sys
import time
from typing import Any

import httpx
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker


async def remind(ctx: dict[str, Any], number: int) -> None:
    response = await ctx["http"].post(
        "/v3/smtp/email",
        json={
            "sender": {"email": "billing@example.com", "name": "arq"},
            "to": [{"email": f"customer{number}@example.com", "name": f"Customer {number}"}],
            "subject": f"Invoice {number} is overdue",
            "htmlContent": f"<p>Hello Customer {number}, invoice {number} is overdue.</p>",
            "textContent": f"Hello Customer {number}, invoice {number} is overdue.",
        },
    )
    response.raise_for_status()
    ctx["answers"].append(time.monotonic())


async def main(redis_url: str, brevo_url: str, mails: int) -> None:
    settings = RedisSettings.from_dsn(redis_url)
    pool = await create_pool(settings)
    await pool.flushdb()
    for number in range(mails):
        await pool.enqueue_job("remind", number)
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(
        base_url=brevo_url, headers={"api-key": "xkeysib-arq"}, limits=limits, timeout=60, trust_env=False
    ) as http:
        answers: list[float] = []
        worker = Worker(
            [remind],
            redis_settings=settings,
            burst=True,
            max_jobs=200,
            poll_delay=0.01,
            keep_result=0,
            handle_signals=False,
            ctx={"http": http, "answers": answers},
        )
        began = time.monotonic()
        await worker.main()
        took_s = max(answers) - began
        await worker.close()
    await pool.aclose()
    print(json.dumps({"rate": len(answers) / took_s, "mails": len(answers)}))  # noqa: T201  # a script's output


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
