"""A worker process whose `ping` does what HOSTILE says: what no honest handler does, in an honest process."""

import asyncio
import os
import threading
import time
from typing import Any, cast

from shared.core.outcomes import Done, Outcome
from shared.process import run_process
from shared.settings import WorkerSettings
from worker_svc import handlers
from worker_svc.bootstrap import run_worker
from worker_svc.context import Handler, JobContext


async def exits(_: JobContext, __: Any) -> Outcome:
    os._exit(13)


async def blocks(_: JobContext, __: Any) -> Outcome:
    time.sleep(600)  # noqa: ASYNC251  # the event loop stands still
    return Done()


async def deaf(_: JobContext, __: Any) -> Outcome:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def threads(_: JobContext, __: Any) -> Outcome:
    await asyncio.to_thread(threading.Event().wait)
    return Done()


if __name__ == "__main__":
    behaviours: dict[str, Handler] = {"exit": exits, "block": blocks, "deaf": deaf, "thread": threads}
    cast(dict[str, Handler], handlers.HANDLERS)["ping"] = behaviours[os.environ["HOSTILE"]]
    run_process("worker", WorkerSettings, run_worker)
